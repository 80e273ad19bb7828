"""report.html in a real browser: quiet, inert to host text, and usable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

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
    (path,) = HtmlWriter().write(varied_report(), Path(tmp_path_factory.mktemp("report")))
    return path.as_uri()


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
