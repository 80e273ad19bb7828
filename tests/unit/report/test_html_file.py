"""report.html: policy, escaping, first screen, size."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace

from fleet.model.finding import Evidence
from fleet.model.words import Reason, Word
from fleet.report.html_file import render_html
from tests.unit.report.sample import (
    CREATE,
    STOPPED,
    SUCCEEDED,
    make_report,
    make_result,
    make_unseen,
    varied_report,
)


def _sha(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_policy_names_exactly_the_script_and_style_it_carries() -> None:
    page = render_html(varied_report())
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert f"default-src 'none'; style-src '{_sha(style)}'; script-src '{_sha(script)}';" in page.replace(
        "&#39;", "'"
    )


def test_nothing_is_asked_of_a_network_and_no_host_text_becomes_markup() -> None:
    page = render_html(varied_report())
    tags = re.findall(r"<[a-z][^>]*>", page.split("<script")[0])
    assert [tag for tag in tags if re.search(r"\b(?:src|href|action)=(?![\"']#)", tag)] == []
    assert "<img" not in page
    assert page.count("<script") == 2
    assert not re.search(r"https?://", page)


def test_the_first_screen_needs_no_script() -> None:
    page = render_html(varied_report()).split('id="hosts"')[0]
    assert "33 of 38 hosts were observed. Nobody knows whether the other 5 are well." in page
    assert "db[01-04], web[11-13]" in page
    assert page.index("himds is not running") < page.index("Failed to create resource")
    titles = ("<h1", "Can this run be trusted?", "What hosts share", "What is wrong", "Not observed, and why")
    assert sorted(titles, key=page.index) == list(titles)
    assert "gone[0-2]" in page
    assert "Explains AZCM0042" in page
    assert page.count("2 hosts have one VM id") == 1


def test_code_in_a_rules_words_is_marked_after_all_else_is_escaped() -> None:
    told = replace(STOPPED, remediation="Run `a <b>` & `c`; a lone ` stays.", cause="`<i>`")
    page = render_html(make_report([make_result("a", Word.FAILING, told)])).split('id="hosts"')[0]
    assert "Run <code>a &lt;b&gt;</code> &amp; <code>c</code>; a lone ` stays." in page
    assert "<code>&lt;i&gt;</code>" in page


def test_what_a_host_said_is_never_marked() -> None:
    said = make_unseen("a", Reason.AUTH, None, "refused `<b>`")
    line = replace(CREATE, evidence=(Evidence(source="log", line=7, text="Error=`<u>`"),))
    page = render_html(make_report([said, make_result("b", Word.FAILING, line)]))
    assert "refused `&lt;b&gt;`" in page
    assert '<span class="place">b log:7</span> Error=`&lt;u&gt;`' in page


def test_a_cause_shows_the_newest_line_that_says_more_than_its_code() -> None:
    lines = tuple(Evidence(source="log", line=n, text=f"line {n}") for n in (1, 2))
    repeats = Evidence(source="log", line=3, text="Exit Code: AZCM0042")
    fact = Evidence(source="services", line=0, text="state = stopped")
    page = render_html(
        make_report([make_result("a", Word.FAILING, replace(CREATE, evidence=(*lines, repeats, fact)))])
    ).split('id="hosts"')[0]
    assert '<span class="place">a log:2</span> line 2' in page
    assert "Exit Code" not in page
    assert "state = stopped" not in page


def test_an_outcome_of_success_is_no_finding_to_read() -> None:
    page = render_html(make_report([make_result("a", Word.HEALTHY, SUCCEEDED)]))
    assert "AZCM0000" not in page


def test_a_run_of_which_nothing_was_observed_does_not_look_well() -> None:
    unseen = [make_unseen(f"a{n}", Reason.SKIPPED, None, "") for n in range(3)]
    page = render_html(make_report(unseen, has_ended=False))
    assert "Nothing was observed. This run says nothing about any of its 3 hosts." in page
    assert "Unknown: nobody looked." in page
    assert "The run did not end" in page


def test_the_data_is_json_that_cannot_leave_its_element() -> None:
    page = render_html(varied_report())
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert not re.search("[<>&\u2028\u2029]", data)
    document = json.loads(data)
    assert len(document["hosts"]) == 38
    assert "<script>window.pwned=1</script>" in document["strings"]


def test_ten_thousand_hosts_stay_below_five_megabytes() -> None:
    results = []
    for n in range(10_000):
        lines = tuple(Evidence(source="himds.log", line=n, text=f"{n} {k} " + "x" * 300) for k in range(5))
        finding = replace(CREATE, evidence=lines)
        word = Word.FAILING if n % 3 == 0 else Word.HEALTHY
        found = (finding,) if n % 3 == 0 else ()
        results.append(
            make_result(f"host{n:05}.example.com", word, *found, address=f"10.1.{n // 250}.{n % 250}")
        )
    page = render_html(make_report(results))
    assert len(page.encode()) < 5_000_000
    assert "Evidence is shortened here" in page
