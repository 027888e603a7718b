"""The page of live incidents in a real Chromium, over a real API and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import INSTALL_LINE, Browser, chromium, find_chromium
from tests.support.http import TOKEN, Served, served
from tests.support.rows import Rows
from tests.support.skip import skip_or_fail

pytestmark = pytest.mark.integration

HOSTILE = """<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>'"&amp;"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not find_chromium():
        skip_or_fail(f"chromium is not installed: {INSTALL_LINE}")
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def board(browser: Browser, database: str, rows: Rows) -> Iterator[Served]:
    """The board, open in the browser, connected to the event stream."""
    with served(database) as api:
        browser.said.clear()
        browser.go(f"{api.url}/login?token={TOKEN}")
        browser.wait("location.pathname === '/' && document.getElementById('link')?.className === 'live'")
        yield api
        assert browser.said == []
        browser.go("about:blank")
        browser.wait("location.href === 'about:blank'")  # who is still there complains of the server that goes


def text_of(browser: Browser, selector: str) -> str:
    return str(browser.wait(f"document.querySelector({selector!r})?.textContent"))


def test_the_log_in_form_leads_to_the_board(browser: Browser, database: str) -> None:
    with served(database) as api:
        browser.call("Network.clearBrowserCookies")
        browser.go(api.url)
        browser.wait("location.pathname === '/login' && !!document.getElementById('token')")
        browser.eval(f"document.getElementById('token').value = {TOKEN!r}; document.forms[0].submit()")
        browser.wait("location.pathname === '/' && !!document.getElementById('board')")
        assert browser.eval("document.cookie") == ""  # no script can read the session
        assert TOKEN not in browser.eval("location.href")
        browser.eval("document.getElementById('logout').click()")
        browser.wait("location.pathname === '/login'")
        browser.go("about:blank")


def test_an_empty_board_says_so(browser: Browser, board: Served) -> None:
    browser.wait("document.querySelector('.quiet')?.textContent.startsWith('Nothing is open')")


def test_a_fire_appears_by_itself_with_who_was_told(browser: Browser, board: Served, rows: Rows) -> None:
    rows.site("shed-1", "金陵小区3号车棚", "town")
    incident = rows.incident(opened_at=datetime.now(UTC))
    rows.alert(incident)
    rows.page(incident, target="watch")
    rows.event("incident")
    assert text_of(browser, "article h2") == "金陵小区3号车棚"
    assert browser.eval("document.querySelector('article').className") == "fire open"
    assert text_of(browser, "article .class") == "FIRE"
    card = text_of(browser, "article")
    for shown in ("head-1", "61.5", "temperature 61.5 °C is at or above 57 °C", "limit 57", "值班队", "accepted"):
        assert shown in card
    assert browser.eval("document.title").startswith("(1)")
    first = text_of(browser, ".age")
    browser.wait(f"document.querySelector('.age').textContent !== {first!r}")


def test_acknowledging_sends_what_was_seen_and_shows_what_became_of_it(
    browser: Browser, board: Served, rows: Rows
) -> None:
    incident = rows.incident()
    alert = rows.alert(incident, retriggers=1)
    rows.event("incident")
    text_of(browser, ".act")
    browser.eval("document.querySelector('.act').click()")
    browser.wait("document.querySelector('.act').disabled")
    kind, seen = rows.wait("SELECT kind, seen FROM acts")
    assert (kind, seen) == ("acknowledge", {str(alert): 1})
    rows.execute("UPDATE acts SET state = 'refused', refusal = 'the fire came back'")
    assert "the fire came back" in text_of(browser, ".said")
    browser.eval("document.querySelector('.act').click()")
    rows.wait("SELECT 1 FROM acts WHERE state = 'pending'")
    rows.execute("UPDATE acts SET state = 'applied'")
    rows.execute("UPDATE incidents SET state = 'acknowledged', version = version + 1")
    rows.event("incident")
    browser.wait("document.querySelector('article')?.className === 'fire acknowledged'")
    assert browser.eval("document.querySelector('.act')") is None
    assert browser.eval("document.querySelector('.said')") is None


def test_nothing_that_comes_from_outside_becomes_markup(browser: Browser, board: Served, rows: Rows) -> None:
    rows.site("shed-1", HOSTILE, HOSTILE)
    incident = rows.incident(reason=HOSTILE, next_action=HOSTILE, state="open")
    rows.alert(incident, device=HOSTILE, reason=HOSTILE, rule=HOSTILE)
    rows.page(incident, "refused", target=HOSTILE, channel=HOSTILE, reason=HOSTILE)
    rows.event("incident", text=HOSTILE)
    assert text_of(browser, "article h2") == HOSTILE
    assert browser.eval("document.querySelectorAll('main img, main script').length") == 0
    assert browser.eval("document.title") == "(1) FIRE · Emberwatch"


def test_fires_stand_above_faults_and_old_ones_below_new_ones(browser: Browser, board: Served, rows: Rows) -> None:
    wanted: dict[str, dict[str, Any]] = {
        "fault": {"signal_class": "fault"},
        "handled": {"state": "acknowledged"},
        "older": {"opened_at": datetime(2026, 2, 1, tzinfo=UTC)},
        "newer": {"opened_at": datetime(2026, 2, 2, tzinfo=UTC)},
        "over": {"state": "closed"},
    }
    for name, columns in wanted.items():
        rows.incident(name, **columns)
    rows.event("incident")
    browser.wait("document.querySelectorAll('article').length === 4")
    shown = browser.eval("[...document.querySelectorAll('article h2')].map((title) => title.textContent)")
    assert shown == ["newer", "older", "handled", "fault"]


def test_the_words_change_to_chinese_and_back(browser: Browser, board: Served, rows: Rows) -> None:
    rows.incident()
    rows.event("incident")
    text_of(browser, "article")
    browser.eval("document.getElementById('language').click()")
    assert text_of(browser, "article .class") == "火警" and text_of(browser, ".act") == "确认接警"
    browser.eval("document.getElementById('language').click()")
    assert text_of(browser, ".act") == "Acknowledge"


def test_the_description_of_the_api_draws_itself(browser: Browser, board: Served) -> None:
    browser.go(f"{board.url}/docs")
    browser.wait("document.querySelectorAll('article').length > 20")
    drawn = text_of(browser, "main")
    assert "/api/v1/incidents/{incident}/acknowledge" in drawn and "IncidentDetail" in drawn


def test_a_lost_connection_is_shown_and_comes_back(browser: Browser, database: str, tmp_path: Path) -> None:
    with served(database) as api:
        browser.go(f"{api.url}/login?token={TOKEN}")
        browser.wait("document.getElementById('link')?.className === 'live'")
    browser.wait("document.getElementById('link').className === 'away'")
    browser.go("about:blank")
