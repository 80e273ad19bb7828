"""report.html in a real browser: quiet, inert to host text, and usable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from fleet.report.files import save_reports
from fleet.report.html_file import HtmlWriter
from tests.unit.report.sample import varied_report

pytestmark = pytest.mark.system

_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("chromium is not installed")
    if found is None:
        pytest.skip("chromium is not installed")
    return found


@pytest.fixture(scope="module")
def report_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    (path,) = save_reports(varied_report(), [HtmlWriter()], Path(tmp_path_factory.mktemp("report")))
    return path.as_uri()


@pytest.fixture(scope="module")
def demo_url() -> str:
    return (Path(__file__).parents[2] / "reports/sample/report.html").as_uri()


@pytest.fixture
def page(chromium: str, report_url: str) -> Iterator[Page]:
    """The opened report; afterwards it must have said nothing and asked for nothing but itself."""
    said: list[str] = []
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_ARGS))
        opened = browser.new_page()
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(report_url)
        yield opened
        browser.close()
    assert said == []
    assert asked == [report_url]


def _names(page: Page) -> list[str]:
    return page.locator("#rows .open").all_text_contents()


def test_host_text_is_text(page: Page) -> None:
    for button in page.locator("#rows .open").all():
        button.click()
    assert page.evaluate("window.pwned") is None
    assert page.locator("main img").count() == 0
    assert page.locator(".evidence", has_text="<script>window.pwned=1</script>").count() > 0


def test_filters_narrow_the_table(page: Page) -> None:
    assert len(_names(page)) == 38
    page.select_option("#verdict", "NOT_OBSERVED")
    assert sorted(_names(page)) == ["gone0", "gone1", "gone2", "locked", "swapped"]
    page.fill("#text", "refused gone1")
    assert _names(page) == ["gone1"]
    assert page.locator("#rows .badge").text_content() == "? NOT OBSERVED"
    page.get_by_role("button", name="Clear").click()
    page.select_option("#group", "db")
    assert len(_names(page)) == 4
    assert page.locator("#status").text_content() == "1–4 of 4 matching hosts, 38 in all"


def test_a_cause_shows_its_hosts(page: Page) -> None:
    page.locator(".group", has_text="himds is not running").get_by_role("button").click()
    page.wait_for_selector("#chip:visible")
    assert _names(page) == ["web20", "web21"]
    page.locator("#chip").click()
    assert len(_names(page)) == 38


def test_columns_sort_both_ways(page: Page) -> None:
    head = page.locator("th", has_text="Host")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    names = _names(page)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert _names(page) == names[::-1]
    assert names[0] == "app1"


def test_evidence_opens_by_keyboard(page: Page) -> None:
    row = page.get_by_role("button", name="db02", exact=True)
    row.focus()
    page.keyboard.press("Enter")
    assert row.get_attribute("aria-expanded") == "true"
    details = page.locator(f"#{row.get_attribute('aria-controls')}")
    assert "azcmagent.log:120" in (details.locator(".evidence").first.text_content() or "")
    page.keyboard.press("Enter")
    assert details.count() == 0


def test_symptoms_stand_under_their_cause_and_have_no_remedy(page: Page) -> None:
    page.get_by_role("button", name="web20", exact=True).click()
    (cause,) = page.locator(".details td > .finding").all()
    assert "himds is not running" in (cause.locator("p").first.text_content() or "")
    symptom = cause.locator(".symptoms .finding").text_content() or ""
    assert "AZCM0042" in symptom
    assert "azcmagent.log:120" in symptom
    assert "Remedy" not in symptom


def test_who_lives_with_a_finding_is_told(page: Page) -> None:
    page.get_by_role("button", name="ok15", exact=True).click()
    told = page.locator(".details .finding").first.text_content() or ""
    assert "warning, accepted" in told
    assert "Accepted: CHG-7 until 2026-05-31: It moves in May." in told


def test_a_row_shows_its_cause_and_what_was_not_read(page: Page) -> None:
    page.fill("#text", "db01")
    row = page.locator("#rows tr").first.text_content() or ""
    assert "AZCM0042" in row
    assert "observed in part" in row
    assert "not read: log.himds (denied)" in row


def test_the_table_is_filtered_and_sorted_by_keyboard_alone(page: Page) -> None:
    page.locator("#text").focus()
    page.keyboard.type("ok0")
    assert len(_names(page)) == 9
    page.locator("th", has_text="Host").get_by_role("button").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert _names(page)[0] == "ok09"
    assert page.locator("th[aria-sort=descending]").text_content() == "Host"


def test_code_in_a_rules_words_is_drawn_as_code(page: Page) -> None:
    page.get_by_role("button", name="web20", exact=True).click()
    details = page.locator("#rows .details").first
    assert set(details.locator("code").all_text_contents()) == {"systemctl start himdsd"}
    assert "`" not in (details.locator(".action").first.text_content() or "")


# How many of these elements' words run over more than one line.
_BROKEN = """(selector) => Array.from(document.querySelectorAll(selector)).filter((cell) => {
  const text = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), range = document.createRange();
  for (let node = text.nextNode(); node; node = text.nextNode())
    for (const word of node.data.matchAll(/\\S+/g)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set(Array.from(range.getClientRects(), (box) => box.top)).size > 1) return true;
    }
  return false;
}).map((cell) => cell.textContent)"""


@pytest.mark.parametrize("width", [1600, 1280, 800, 390])
def test_the_page_is_as_wide_as_the_window_and_breaks_no_word(
    chromium: str, demo_url: str, width: int
) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_ARGS))
        opened = browser.new_page(viewport={"width": width, "height": 900})
        opened.goto(demo_url)
        opened.get_by_role("button", name="db01", exact=True).click()
        assert opened.evaluate("document.documentElement.scrollWidth") == width
        wide = opened.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.scroll'))")
        assert wide == 0
        assert opened.evaluate(_BROKEN, "#rows tr:not(.details) > td:not(:nth-child(3))") == []
        browser.close()
