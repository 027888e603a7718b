"""The HTTP API over a real PostgreSQL, through a real socket."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from api.liveness import Watch
from ingest.errors import Unavailable
from ingest.readings import from_datetime, to_datetime
from tests.support.database import fresh_database
from tests.support.http import TOKEN, Served, clock, event_stream, served
from tests.support.rows import OPENED, Rows

pytestmark = pytest.mark.integration


@pytest.fixture
def api(database: str) -> Iterator[Served]:
    with served(database) as running:
        yield running


def problem(answer: httpx.Response, status: int) -> str:
    """The detail of a problem document of this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status and body["title"] and body["type"] and body["instance"]
    assert body["detail"] and "\n" not in body["detail"]
    return str(body["detail"])


def all_items(api: Served, path: str, **params: Any) -> list[dict[str, Any]]:
    """Every item of a list, page by page."""
    items: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = api.client.get(f"/api/v1/{path}", params=params | after).raise_for_status().json()
        items += page["items"]
        if page["next"] is None:
            return items
        after = {"after": page["next"]}


# --- who may come in


def test_without_a_token_only_probes_and_the_log_in_answer(api: Served) -> None:
    with httpx.Client(base_url=api.url) as stranger:
        for path in ("/healthz", "/metrics", "/login"):
            assert stranger.get(path).status_code == 200
        for path in ("/api/v1/sites", "/api/v1/nothing", "/openapi.json", "/page/board.js", "/", "/docs"):
            problem(stranger.get(path), 401)
        detail = problem(stranger.post(f"/api/v1/incidents/{uuid.uuid4()}/acknowledge"), 401)
        assert "Bearer" in detail


def test_a_wrong_token_is_refused(api: Served) -> None:
    for header in ("Bearer wrong", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"):
        answer = httpx.get(f"{api.url}/api/v1/sites", headers=[(b"Authorization", header.encode())])
        problem(answer, 401)
        given = header.startswith("Bearer ")
        assert answer.headers["www-authenticate"] == ('Bearer error="invalid_token"' if given else "Bearer")


def test_a_log_in_link_leaves_a_session_and_no_token_in_the_address_bar(api: Served) -> None:
    with httpx.Client(base_url=api.url) as browser:
        answer = browser.get("/login", params={"token": TOKEN})
        assert answer.status_code == 303 and answer.headers["location"] == "/"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and TOKEN not in cookie
        assert browser.get("/api/v1/sites").status_code == 200
        assert "text/html" in browser.get("/").headers["content-type"]
        assert browser.get("/login").headers["location"] == "/"
        assert browser.post("/logout").status_code == 303
        problem(browser.get("/api/v1/sites"), 401)


def test_a_browser_without_session_is_shown_the_form_and_the_form_lets_it_in(api: Served) -> None:
    with httpx.Client(base_url=api.url, headers={"Accept": "text/html"}) as browser:
        assert browser.get("/").headers["location"] == "/login"
        assert browser.get("/docs").headers["location"] == "/login?next=/docs"
        wrong = browser.post("/login", data={"token": "<b>wrong</b>"})
        assert wrong.status_code == 401 and "<b>" not in wrong.text and "令牌不正确" in wrong.text
        assert browser.post("/login?next=https://evil.example/", data={"token": TOKEN}).headers["location"] == "/"
        assert browser.post("/login?next=/docs", data={"token": TOKEN}).headers["location"] == "/docs"
        problem(browser.post("/login", content=b"token=" + b"x" * 5000), 413)


def test_a_session_runs_out_and_cannot_be_forged(database: str) -> None:
    time = [clock()]
    with served(database, now=lambda: time[0]) as api, httpx.Client(base_url=api.url) as browser:
        browser.get("/login", params={"token": TOKEN})
        assert browser.get("/api/v1/sites").status_code == 200
        value = browser.cookies["emberwatch_session"]
        until, _, signature = value.partition(".")
        for forged in (f"{int(until) + 1}.{signature}", f"{until}.", "", ".", "x.y", f"{until}.{'0' * 64}"):
            problem(httpx.get(f"{api.url}/api/v1/sites", headers={"Cookie": f"emberwatch_session={forged}"}), 401)
        time[0] += 13 * 3600 * 1_000_000
        problem(browser.get("/api/v1/sites"), 401)


def test_a_page_of_another_site_cannot_act_with_our_session(api: Served, rows: Rows) -> None:
    incident = rows.incident()
    with httpx.Client(base_url=api.url) as browser:
        browser.get("/login", params={"token": TOKEN})
        path = f"/api/v1/incidents/{incident}/acknowledge"
        problem(browser.post(path, headers={"Origin": "https://evil.example"}), 403)
        assert browser.post(path, headers={"Origin": api.url}).status_code == 202


def test_behind_a_proxy_the_public_address_is_ours_and_cookies_are_for_https_alone(database: str, rows: Rows) -> None:
    incident = rows.incident()
    with served(database, public_url="https://fire.example/") as api:
        link = httpx.get(f"{api.url}/login", params={"token": TOKEN})
        assert "secure" in link.headers["set-cookie"].lower()
        path = f"/api/v1/incidents/{incident}/acknowledge"
        assert api.client.post(path, headers={"Origin": "https://fire.example"}).status_code == 202
        problem(api.client.post(path, headers={"Origin": "https://other.example"}), 403)


# --- errors


def test_every_error_is_a_problem_document(api: Served) -> None:
    get = api.client.get
    assert "/api/v1/nothing" in problem(get("/api/v1/nothing"), 404)
    assert "GET" in problem(api.client.delete("/api/v1/sites"), 405)
    problem(get(f"/api/v1/incidents/{uuid.uuid4()}"), 404)
    problem(get(f"/api/v1/alerts/{uuid.uuid4()}"), 404)
    problem(get(f"/api/v1/acts/{uuid.uuid4()}"), 404)
    problem(api.client.post(f"/api/v1/incidents/{uuid.uuid4()}/acknowledge"), 404)
    problem(api.client.post(f"/api/v1/alerts/{uuid.uuid4()}/reset"), 404)
    assert "incident" in problem(get("/api/v1/incidents/not-a-uuid"), 422)
    problem(get("/page/..%2f..%2fauth.py"), 404)
    problem(api.client.post(f"/api/v1/incidents/{uuid.uuid4()}/close", content=b"{"), 422)
    problem(api.client.get("/api/v1/events", headers={"Last-Event-ID": "yesterday"}), 422)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sites?limit=0", "limit"),
        ("sites?limit=1001", "limit"),
        ("sites?limit=many", "limit"),
        ("sites?color=red", "color"),
        ("sites?after=xyz", "after"),
        ("sites?after=W10", "after"),
        ("sites?area=%00", "area"),
        ("incidents?state=burning", "state"),
        ("incidents?open=perhaps", "open"),
        ("incidents?class=blaze", "class"),
        ("incidents?after=WyJ4IiwieSJd", "after"),
        ("alerts?incident=7", "incident"),
        ("deliveries?state=lost", "state"),
        ("readings", "device"),
        ("readings?device=d&resolution=2h", "resolution"),
        ("readings?device=d&quantity=colour", "quantity"),
        ("readings?device=d&from=yesterday", "from"),
        ("readings?device=d&from=2026-03-01T08:00:00", "from"),
        ("readings?device=d&resolution=1h&quantity=smoke_alarm", "quantity"),
        ("readings/aggregate?device=d&resolution=raw", "resolution"),
    ],
)
def test_a_wrong_parameter_is_named(api: Served, query: str, says: str) -> None:
    assert says in problem(api.client.get(f"/api/v1/{query}"), 422)


def test_a_database_away_is_a_503_and_the_process_stays_alive() -> None:
    with served("postgresql://nobody@127.0.0.1:9/nothing") as api:
        assert api.client.get("/healthz").json() == {"status": "alive"}
        assert "database" in problem(api.client.get("/readyz"), 503)
        answer = api.client.get("/api/v1/incidents")
        assert "database" in problem(answer, 503) and answer.headers["retry-after"]
        problem(api.client.post(f"/api/v1/incidents/{uuid.uuid4()}/acknowledge"), 503)
        problem(api.client.get("/api/v1/events"), 503)
        assert api.client.get("/api/v1/teams").status_code == 200


def test_our_own_mistake_is_a_500_without_its_details(database: str) -> None:
    def broken() -> dict[str, Any]:
        raise ZeroDivisionError("secret detail")

    with served(database, read_ledger=broken) as api:
        answer = api.client.get("/api/v1/ledger")
        assert "secret" not in problem(answer, 500)


# --- ready


def test_ready_needs_migrations_and_readers_that_keep_up(api: Served, rows: Rows) -> None:
    detail = problem(api.client.get("/readyz"), 503)
    assert "writer" in detail and "recorder" in detail
    for reader in ("writer", "recorder"):
        rows.insert("cursors", reader=reader, shard="main")
    assert api.client.get("/readyz").json() == {"ready": True, "reasons": [], "probe": {}}
    rows.execute("UPDATE cursors SET changed_at = now() - interval '5 minutes' WHERE reader = 'recorder'")
    answer = api.client.get("/readyz")
    assert "recorder of shard main" in problem(answer, 503)
    assert len(answer.json()["errors"]) == 1


def test_ready_says_how_old_the_newest_probe_is_and_who_holds_it_up(database: str, rows: Rows) -> None:
    time, logged = [clock()], {"main": clock()}
    watch = Watch(shards=["main"], every=3, since=time[0] - 60_000_000, logged=lambda: logged)
    sent = from_datetime(rows.execute("SELECT now() - interval '2 seconds'")[0][0])
    for reader in ("writer", "recorder"):
        rows.insert("cursors", reader=reader, shard="main", probe_sent_at=to_datetime(sent))
    rows.insert("cursors", reader="writer", shard="recording", changed_at=to_datetime(sent))
    with served(database, now=lambda: time[0], watch=watch) as api:
        answer = api.client.get("/readyz").raise_for_status().json()
        assert answer["reasons"] == [] and set(answer["probe"]) == {"main"}
        assert answer["probe"]["main"]["log"] < 1 <= answer["probe"]["main"]["writer"] < 10
        time[0] += 20_000_000
        detail = problem(api.client.get("/readyz"), 503)
        assert "broker" in detail and "writer" not in detail and "recorder" not in detail
        logged["main"] = time[0]
        detail = problem(api.client.get("/readyz"), 503)
        assert "broker" not in detail and "writer of shard main" in detail and "recorder of shard main" in detail
        rows.execute("UPDATE cursors SET probe_sent_at = now() + interval '20 s', changed_at = now() + interval '20 s'")
        assert api.client.get("/readyz").json()["ready"] is True
        time[0] += 70_000_000  # a shard that is not probed is late after a minute
        logged["main"] = time[0]
        rows.execute(
            "UPDATE cursors SET probe_sent_at = now() + interval '90 s', changed_at = now() + interval '90 s'"
            " WHERE shard = 'main'"
        )
        assert problem(api.client.get("/readyz"), 503).startswith("writer of shard recording has written nothing")


def test_who_has_just_started_waits_for_the_first_probe(database: str, rows: Rows) -> None:
    time = [clock()]
    for reader in ("writer", "recorder"):
        rows.insert("cursors", reader=reader, shard="main")
    watch = Watch(shards=["main"], every=3, since=time[0], logged=lambda: {"main": None})
    with served(database, now=lambda: time[0], watch=watch) as api:
        assert api.client.get("/readyz").json()["probe"] == {"main": {"log": None, "writer": None, "evaluator": None}}
        time[0] += 15_000_000
        assert "no probe has come back" in problem(api.client.get("/readyz"), 503)


def test_a_log_that_cannot_be_read_is_a_reason(database: str, rows: Rows) -> None:
    def broken() -> dict[str, int | None]:
        raise Unavailable("disk I/O error")

    with served(database, watch=Watch(shards=["main"], every=3, logged=broken)) as api:
        assert "the log cannot be read: disk I/O error" in problem(api.client.get("/readyz"), 503)


def test_ready_names_migrations_not_applied(postgres: str) -> None:
    with fresh_database(postgres, template="template0") as empty, served(empty) as api:
        assert "emberwatch migrate" in problem(api.client.get("/readyz"), 503)


def test_metrics_count_requests(api: Served) -> None:
    api.client.get("/api/v1/sites")
    text = httpx.get(f"{api.url}/metrics").text
    assert 'emberwatch_api_requests_total{answer="2xx",method="GET"}' in text
    assert 'emberwatch_api_acts_total{kind="close"}' in text


# --- what is watched


def test_places_and_devices_are_listed_and_filtered(api: Served, rows: Rows) -> None:
    rows.insert("areas", id="city", name="市")
    rows.insert("areas", id="town", name="街道", parent="city")
    rows.insert("centres", id="c1", name="中心", parent="city")
    rows.site("s1", "一号车棚", "town")
    rows.site("s2", "二号车棚", "elsewhere")
    rows.device("s1", "d1")
    rows.device("s2", "d1")
    assert [row["id"] for row in all_items(api, "areas")] == ["city", "town"]
    assert [row["id"] for row in all_items(api, "areas", parent="city")] == ["town"]
    assert all_items(api, "centres")[0]["name"] == "中心"
    assert [row["id"] for row in all_items(api, "sites", area="city")] == ["s1"]
    assert [(row["site"], row["id"]) for row in all_items(api, "devices", limit=1)] == [("s1", "d1"), ("s2", "d1")]
    assert [row["site"] for row in all_items(api, "devices", site="s2")] == ["s2"]
    assert "credential" not in all_items(api, "devices")[0]
    teams = all_items(api, "teams")
    assert any(team["default"] for team in teams)
    assert all_items(api, "teams", limit=1) == teams
    rules = all_items(api, "rules", limit=1)
    assert {"id", "kind", "class", "severity", "version"} <= set(rules[0])


def test_pages_are_stable_while_rows_come_in(api: Served, rows: Rows) -> None:
    def incident(minutes: int) -> str:
        return str(rows.incident(opened_at=OPENED + timedelta(minutes=minutes)))

    before = [incident(minutes) for minutes in (5, 4, 3, 3, 3, 2, 1)]
    first = api.client.get("/api/v1/incidents", params={"limit": 3}).json()
    incident(10)
    incident(0)
    seen = [row["id"] for row in first["items"]]
    after = first["next"]
    while after:
        page = api.client.get("/api/v1/incidents", params={"limit": 2, "after": after}).json()
        seen += [row["id"] for row in page["items"]]
        after = page["next"]
    assert sorted(seen[:7]) == sorted(before) and len(seen) == len(set(seen)) == 8
    assert [row["opened_at"] for row in all_items(api, "incidents", limit=1)] == sorted(
        (row["opened_at"] for row in all_items(api, "incidents")), reverse=True
    )


# --- readings


@pytest.fixture
def measured(rows: Rows) -> Rows:
    """A day of a reading an hour for two heads of a site, from OPENED on; each at its own level."""
    rows.execute("UPDATE rollups SET kept_until = %s", OPENED)  # the maintenance job has not come by yet
    for name, level in (("d1", 20.0), ("d2", 40.0)):
        key = rows.device("s1", name)
        for hour in range(24):
            rows.insert(
                "readings",
                device=key,
                time=OPENED + timedelta(hours=hour, minutes=5),
                delay_ms=250,
                batch=1,
                temperature=level + hour,
                smoke_alarm=hour == 23,
                humidity=None if hour else 50.0,
            )
    return rows


def test_raw_readings_come_newest_first_with_what_was_reported(api: Served, measured: Rows) -> None:
    items = all_items(api, "readings", device="d1", limit=7)
    assert len(items) == 24
    assert items[0]["time"] == "2026-03-02T07:05:00.000000Z"
    assert items[0]["received_at"] == "2026-03-02T07:05:00.250000Z"
    assert items[0]["values"] == {"temperature": 43.0} and items[0]["states"] == {"smoke_alarm": True}
    assert items[-1]["values"] == {"temperature": 20.0, "humidity": 50.0}
    assert len(all_items(api, "readings", site="s1", limit=11)) == 48
    assert len(all_items(api, "readings", device="d1", quantity="humidity")) == 1
    assert all_items(api, "readings", device="d1", quantity="smoke_alarm")[0]["values"] == {}
    assert all_items(api, "readings", device="nobody") == []
    bounded = {"from": "2026-03-01T09:05:00Z", "to": "2026-03-01T19:05:00+08:00"}
    assert [row["values"]["temperature"] for row in all_items(api, "readings", device="d1", **bounded)] == [22.0, 21.0]
    assert len(all_items(api, "readings", **{"from": "2026-03-01T00:00:00Z"}, limit=10)) == 48


def test_readings_of_one_moment_are_all_shown_page_by_page(api: Served, rows: Rows) -> None:
    key = rows.device("s1", "d1")
    for number in range(9):
        rows.insert("readings", device=key, time=OPENED, delay_ms=0, batch=1, temperature=float(number))
    shown = [row["values"]["temperature"] for row in all_items(api, "readings", device="d1", limit=2)]
    assert sorted(shown) == [float(number) for number in range(9)]


@pytest.mark.parametrize(("resolution", "buckets"), [("1m", 24), ("1h", 24), ("1d", 2)])
def test_aggregates_over_minutes_hours_and_days(api: Served, measured: Rows, resolution: str, buckets: int) -> None:
    wanted = {"resolution": resolution, "from": "2026-03-01T00:00:00Z", "limit": 5}
    items = all_items(api, "readings", device="d1", **wanted)
    assert len(items) == buckets
    assert items == all_items(api, "readings/aggregate", device="d1", **wanted)
    temperature = items[-1]["quantities"]["temperature"]
    assert temperature["min"] == 20.0
    if resolution == "1d":
        assert temperature == {"min": 20.0, "max": 35.0, "avg": 27.5, "count": 16} and items[-1]["count"] == 16
    assert len(all_items(api, "readings/aggregate", site="s1", **wanted)) == buckets * 2
    assert all_items(api, "readings/aggregate", device="d1", quantity="co", **wanted) == []


def test_a_question_that_takes_too_long_says_how_to_ask_for_less(
    api: Served, measured: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.readings.LONGEST_QUERY", "1ms")
    measured.execute(
        "INSERT INTO readings (device, time, delay_ms, batch) SELECT 1, now(), 0, 1 FROM generate_series(1, 50000)"
    )
    assert "ask for less" in problem(api.client.get("/api/v1/readings?from=2026-01-01T00:00:00Z"), 503)


def test_aggregates_of_a_site_are_over_all_its_devices(api: Served, measured: Rows) -> None:
    items = all_items(api, "readings/aggregate", site="s1", by="site", resolution="1d", limit=1)
    assert [item["count"] for item in items] == [16, 32]
    assert items[1]["quantities"]["temperature"] == {"min": 20.0, "max": 55.0, "avg": 37.5, "count": 32}
    assert items[1]["device"] is None and items[1]["site"] == "s1"


# --- what happened


def test_an_incident_explains_everything(api: Served, rows: Rows) -> None:
    rows.site("shed-1", "金陵小区3号车棚", "town")
    incident = rows.incident(team="north")
    alert = rows.alert(incident)
    rows.insert(
        "transitions",
        shard="main",
        log_offset=rows.offset(),
        at=OPENED,
        rule="heat-fixed",
        rule_version="abc",
        signal_class="fire",
        severity="critical",
        site="shed-1",
        device="head-1",
        after="firing",
        value="61.5",
        limit=57.0,
        reason="hot",
        alert=alert,
        incident=incident,
        input_offset=17,
        evidence="[[1772352000000000, 55.5], [1772352010000000, 61.5]]",
    )
    rows.page(incident)
    rows.insert("timeline", shard="main", log_offset=1, incident=incident, at=OPENED, kind="incident", text="opened")
    answer = api.client.get(f"/api/v1/incidents/{incident}")
    found = answer.json()
    assert answer.headers["etag"] == f'"{found["version"]}"'
    assert found["site_name"] == "金陵小区3号车棚" and found["area"] == "town" and found["class"] == "fire"
    assert found["alerts"][0]["value"] == 61.5 and found["alerts"][0]["limit"] == 57.0
    assert found["pages"][0]["state"] == "accepted"
    assert found["pages"][0]["receipts"][0]["outcome"] == "accepted"
    assert found["timeline"][0]["text"] == "opened" and found["acts"] == []
    explained = api.client.get(f"/api/v1/alerts/{alert}").json()
    assert explained["transitions"][0]["evidence"][1] == {"at": "2026-03-01T08:00:10.000000Z", "value": 61.5}
    assert explained["transitions"][0]["input_offset"] == 17
    assert all_items(api, "incidents")[0]["pages"] == found["pages"]
    assert [row["incident"] for row in all_items(api, "deliveries", target="north")] == [str(incident)]


def test_lists_of_what_happened_are_filtered(api: Served, rows: Rows) -> None:
    fire, fault = rows.incident(), rows.incident("shed-2", state="closed", signal_class="fault")
    rows.alert(fire)
    rows.alert(fault, site="shed-2", device=None, signal_class="fault", state="cleared", value="true", limit=None)
    rows.page(fault, "refused")
    assert [row["id"] for row in all_items(api, "incidents", open=True)] == [str(fire)]
    assert [row["id"] for row in all_items(api, "incidents", open=False)] == [str(fault)]
    assert [row["id"] for row in all_items(api, "incidents", **{"class": "fault"})] == [str(fault)]
    assert [row["id"] for row in all_items(api, "incidents", site="shed-1", state="open")] == [str(fire)]
    assert [row["value"] for row in all_items(api, "alerts", site="shed-2")] == [True]
    assert [row["site"] for row in all_items(api, "alerts", state="firing", limit=1)] == ["shed-1"]
    assert [row["state"] for row in all_items(api, "deliveries")] == ["failed"]
    assert all_items(api, "deliveries", state="accepted") == []


def test_quarantine_shows_the_message_whole(api: Served, rows: Rows) -> None:
    for offset, payload in enumerate([b'{"temp', b"\xff\x00"]):
        rows.insert(
            "quarantine",
            shard="main",
            log_offset=offset,
            received_at=OPENED,
            topic="ember/v1/s/d/telemetry",
            payload=payload,
            reason="undecodable",
            batch=1,
        )
    shown = all_items(api, "quarantine", limit=1)
    assert [row["payload_text"] for row in shown] == [None, '{"temp']
    assert [row["payload_base64"] for row in shown] == ["/wA=", "eyJ0ZW1w"]
    assert all_items(api, "quarantine", reason="oversize") == []


def test_quarantine_is_shown_by_device_too_with_what_floods_only_counted(api: Served, rows: Rows) -> None:
    seen = {"first_seen": OPENED, "last_seen": OPENED + timedelta(minutes=5)}
    flood = {"shard": "main", "site": "s1", "device": "d1", "hour": OPENED, "detail": "device d1 sent 500 readings"}
    rows.insert("quarantine_floods", **flood, **seen, messages=5000, folded=4990)
    for offset, (device, reason) in enumerate([("d1", "rate"), ("d2", "undecodable"), ("d2", "undecodable")]):
        row = {"topic": "t", "payload": b"", "detail": "first", "batch": 1, "received_at": OPENED}
        rows.insert("quarantine", shard="main", log_offset=offset, site="s1", device=device, reason=reason, **row)
    shown = all_items(api, "quarantine/groups", limit=1)
    assert [(row["device"], row["reason"], row["count"], row["folded"]) for row in shown] == [
        ("d1", "rate", 4991, 4990),
        ("d2", "undecodable", 2, 0),
    ]
    assert shown[0]["detail"] == "device d1 sent 500 readings"
    assert shown[0]["first_seen"] < shown[0]["last_seen"]
    assert [row["device"] for row in all_items(api, "quarantine/groups", reason="undecodable")] == ["d2"]
    assert all_items(api, "quarantine/groups", reason="nonsense") == []


def test_a_device_shows_how_wrong_its_clock_is(api: Served, rows: Rows) -> None:
    key = rows.device("s1", "d1")
    rows.device("s1", "d2")
    rows.insert("device_clocks", device=key, shard="main", ahead_s=-90.5, learned_at=OPENED, heard_at=OPENED)
    assert [row["clock_skew_s"] for row in all_items(api, "devices")] == [-90.5, None]
    assert api.client.get("/api/v1/devices/s1/d1").json()["clock_skew_s"] == -90.5
    assert "no device d3 at site s1" in problem(api.client.get("/api/v1/devices/s1/d3"), 404)
    assert "credential" not in api.client.get("/api/v1/devices/s1/d1").json()


def test_the_ledger_is_passed_through(api: Served) -> None:
    assert api.client.get("/api/v1/ledger").json()["balanced"] is True


# --- what people do


def test_an_act_is_a_row_that_names_what_its_author_saw(api: Served, rows: Rows, database: str) -> None:
    incident = rows.incident()
    alert = rows.alert(incident, retriggers=2)
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("LISTEN emberwatch_acts")
        answer = api.client.post(f"/api/v1/incidents/{incident}/acknowledge", json={"comment": "在路上"})
        assert [notice.channel for notice in listener.notifies(timeout=5, stop_after=1)] == ["emberwatch_acts"]
    act = answer.json()
    assert answer.status_code == 202 and answer.headers["location"] == f"/api/v1/acts/{act['id']}"
    assert act["state"] == "pending" and act["kind"] == "acknowledge" and act["comment"] == "在路上"
    assert act["seen"] == {str(alert): 2} and act["incident"] == str(incident)
    rows.execute("UPDATE acts SET state = 'relayed'")
    assert api.client.get(f"/api/v1/acts/{act['id']}").json()["state"] == "pending"
    rows.execute("UPDATE acts SET state = 'refused', refusal = 'it came back'")
    refused = api.client.get(f"/api/v1/acts/{act['id']}").json()
    assert (refused["state"], refused["refusal"]) == ("refused", "it came back")
    assert api.client.get(f"/api/v1/incidents/{incident}").json()["acts"] == [refused]


def test_every_act_takes_what_it_needs(api: Served, rows: Rows) -> None:
    incident = rows.incident()
    alert = rows.alert(incident)
    path = f"/api/v1/incidents/{incident}"
    closing = {"verdict": "false_alarm", "cause": "steam", "summary": "no fire"}
    assert api.client.post(f"{path}/close", json=closing).json()["body"] == closing
    assert api.client.post(f"{path}/comment", json={"comment": "hello"}).status_code == 202
    assert api.client.post(f"{path}/acknowledge", json={"seen": {str(alert): 0}}).json()["seen"] == {str(alert): 0}
    reset = api.client.post(f"/api/v1/alerts/{alert}/reset", json={}).json()
    assert (reset["alert"], reset["incident"], reset["kind"]) == (str(alert), str(incident), "reset")
    assert "verdict" in problem(api.client.post(f"{path}/close", json={}), 422)
    assert "verdict" in problem(api.client.post(f"{path}/close", json={"verdict": "perhaps"}), 422)
    assert "comment" in problem(api.client.post(f"{path}/comment", json={"comment": ""}), 422)
    assert "mood" in problem(api.client.post(f"{path}/acknowledge", json={"mood": "good"}), 422)
    problem(api.client.post(f"{path}/acknowledge", json={"comment": "\x00"}), 422)
    problem(api.client.post(f"{path}/acknowledge", json={"comment": "x" * 5000}), 422)
    problem(api.client.post(f"{path}/acknowledge", json={"seen": {"x": 1}}), 422)
    assert rows.execute("SELECT count(*) FROM acts") == [(4,)]


def test_a_repeat_under_the_same_key_is_the_first_answer(api: Served, rows: Rows) -> None:
    incident, other = rows.incident(), rows.incident("shed-2")
    path = f"/api/v1/incidents/{incident}/acknowledge"
    key = {"Idempotency-Key": "k1"}
    first = api.client.post(path, headers=key, json={"comment": "a"})
    rows.execute("UPDATE acts SET state = 'applied'")
    rows.alert(incident)  # what one would see now is something else
    second = api.client.post(path, headers=key | {"If-Match": '"999"'}, json={"comment": "a"})
    assert (second.status_code, second.json()) == (202, first.json())
    assert rows.execute("SELECT count(*) FROM acts") == [(1,)]
    assert "key" in problem(api.client.post(path, headers=key, json={"comment": "b"}), 422)
    problem(api.client.post(f"/api/v1/incidents/{other}/acknowledge", headers=key, json={"comment": "a"}), 422)


def test_an_act_on_a_version_that_is_gone_is_refused(api: Served, rows: Rows) -> None:
    incident = rows.incident(version=41)
    path = f"/api/v1/incidents/{incident}/acknowledge"
    answer = api.client.post(path, headers={"If-Match": '"40"'})
    assert "41" in problem(answer, 412) and answer.headers["etag"] == '"41"'
    assert api.client.post(path, headers={"If-Match": '"41"'}).status_code == 202
    assert api.client.post(path, headers={"If-Match": "*"}).status_code == 202


# --- live


def test_events_arrive_as_they_happen_and_a_stream_resumes_by_number(api: Served, rows: Rows) -> None:
    rows.event("incident", note="before anybody listened")
    with event_stream(api.client) as events:
        hello = next(events)
        assert hello.kind == "hello"
        first = rows.event("incident", site="金陵", text="line\nbreak")
        event = next(events)
        assert (event.kind, event.id, event.body) == ("incident", first, {"site": "金陵", "text": "line\nbreak"})
    missed = [rows.event("page", number=number) for number in range(3)]
    with event_stream(api.client, last=first) as events:
        assert next(events).id == first
        assert [next(events).id for _ in missed] == missed
        newest = rows.event("receipt")
        assert next(events).id == newest


def test_a_resumed_stream_catches_up_over_many_batches(api: Served, rows: Rows) -> None:
    rows.execute(
        "INSERT INTO events (shard, log_offset, kind, body)"
        " SELECT 'x', number, 'alert', '{}' FROM generate_series(1, 1700) AS number"
    )
    with event_stream(api.client, last=0) as events:
        assert next(events).kind == "hello"
        numbers = [next(events).id for _ in range(1700)]
    assert numbers == sorted(set(numbers))


# --- how it describes itself


def test_openapi_describes_what_is_there(api: Served) -> None:
    described = api.client.get("/openapi.json").json()
    paths = described["paths"]
    lists = "areas centres sites devices teams readings readings/aggregate alerts incidents deliveries quarantine"
    for path in [*lists.split(), "ledger", "rules", "events", "acts/{act}", "alerts/{alert}", "incidents/{incident}"]:
        assert "get" in paths[f"/api/v1/{path}"], path
    for path in ("incidents/{incident}/acknowledge", "incidents/{incident}/close", "alerts/{alert}/reset"):
        responses = paths[f"/api/v1/{path}"]["post"]["responses"]
        assert "202" in responses and "200" not in responses
        assert list(responses["422"]["content"]) == ["application/problem+json"]
    assert "text/event-stream" in paths["/api/v1/events"]["get"]["responses"]["200"]["content"]
    assert described["security"] and paths["/healthz"]["get"]["security"] == []
    references = set(_references(described))
    assert {name.rpartition("/")[2] for name in references} <= set(described["components"]["schemas"])


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def test_pages_load_nothing_from_elsewhere(api: Served) -> None:
    for path in ("/", "/docs", "/login", "/page/board.js", "/page/board.css", "/page/docs.js"):
        answer = httpx.get(api.url + path, headers=dict(api.client.headers))
        assert answer.status_code == 200
        text = answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text and 'src="//' not in text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
