"""The recorder against a real PostgreSQL: each decision once, whatever the batches, restarts and refusals."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection
from psycopg.rows import TupleRow, dict_row
from psycopg_pool import ConnectionPool

from alerts import store
from alerts.alert import AlertState
from alerts.decisions import Progress
from alerts.incident import IncidentState, Notice
from alerts.outbox import DeliveryOutcome
from alerts.recorder import ALIVE_EVERY, Recorder
from alerts.timeline import Word
from ingest.database import open_pool
from ingest.errors import Fenced, Unavailable
from ingest.journal import Entry
from ingest.message import Act, ActKind, Kind, encode
from ingest.readings import SECOND, to_datetime
from tests.support import decisions as some
from tests.support.acts import insert_act
from tests.support.decisions import NOON, log_entry, uid
from tests.support.memory_log import MemoryJournal

Pool = ConnectionPool[Connection[TupleRow]]
pytestmark = pytest.mark.integration


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    with open_pool(database, name="recorder test") as pool:
        yield pool


COPIED = (
    "transitions", "alerts", "incidents", "timeline", "tells", "hushes", "pages", "receipts", "notices", "unrecorded",
    "acts", "events",
)  # fmt: skip


def now() -> int:
    return NOON


def a_log(*words: Word | None) -> MemoryJournal:
    journal = MemoryJournal()
    journal.decisions.append([log_entry(word) for word in words], now=NOON)
    return journal


def a_recorder(journal: MemoryJournal, pool: Pool, now: Callable[[], int] = now) -> Recorder:
    recorder = Recorder(journal, "main", pool, now)
    recorder.own()
    return recorder


def record_all(journal: MemoryJournal, pool: Pool) -> None:
    recorder = a_recorder(journal, pool)
    while recorder.turn():
        pass


def rows(pool: Pool, sql: str) -> list[dict[str, Any]]:
    with pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql).fetchall()


def tables(pool: Pool) -> dict[str, list[Any]]:
    """Everything the recorder wrote, but for the sequence and the time of events."""
    dump = {}
    with pool.connection() as connection:
        for table in COPIED:
            sql = f"SELECT to_jsonb({table}) - ARRAY['seq']"
            sql += " - ARRAY['at']" if table == "events" else ""
            dump[table] = [row[0] for row in connection.execute(f"{sql} FROM {table} ORDER BY 1").fetchall()]
    return dump


def empty(pool: Pool) -> None:
    with pool.connection() as connection:
        connection.execute(f"TRUNCATE {', '.join(COPIED)}, cursors")
        for name in ("c1", "c2"):
            act = Act(id=uid(name), kind=ActKind.ACKNOWLEDGE, author="li", at=NOON, incident=uid("i1"))
            insert_act(connection, shard="main", act=act)


@given(
    words=st.lists(some.words, max_size=25),
    sizes=st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["go on", "restart", "rewind", "crash"])), max_size=30),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_batch_sizes_and_restarts_give_the_tables_of_one_pass(
    pool: Pool, words: list[Word | None], sizes: list[tuple[int, str]]
) -> None:
    empty(pool)
    record_all(a_log(*words), pool)
    expected = tables(pool)
    empty(pool)
    journal = a_log(*words)
    recorder = a_recorder(journal, pool)
    for size, event in sizes:
        recorder.turn(size)
        if event == "restart":
            recorder = a_recorder(journal, pool)
        elif event == "rewind":
            with pool.connection() as connection:
                connection.execute("UPDATE cursors SET log_offset = -1")
            recorder = a_recorder(journal, pool)
        elif event == "crash":
            crash_before_commit(recorder, size)
            recorder = a_recorder(journal, pool)
    record_all(journal, pool)
    assert tables(pool) == expected


def crash_before_commit(recorder: Recorder, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def die(connection: Connection[Any]) -> None:
            raise KeyboardInterrupt

        patch.setattr(store, "announce_events", die)
        with contextlib.suppress(KeyboardInterrupt):
            recorder.turn(size)


def test_an_alert_has_its_first_time_its_first_firing_and_its_end(pool: Pool) -> None:
    record_all(
        a_log(
            some.transition(at=NOON, after=AlertState.PENDING, incident_id=""),
            some.transition(at=NOON + 1, before=AlertState.PENDING),
            some.transition(at=NOON + 2, before=AlertState.FIRING, retriggers=1, value=70.0),
            some.transition(at=NOON + 3, before=AlertState.FIRING, after=AlertState.RESET, retriggers=1),
        ),
        pool,
    )
    [alert] = rows(pool, "SELECT * FROM alerts")
    times = [(alert[name] - alert["started_at"]).microseconds for name in ("fired_at", "ended_at")]
    assert times == [1, 3]
    assert (alert["state"], alert["retriggers"], str(alert["incident"])) == ("reset", 1, uid("i1"))


@pytest.mark.parametrize(
    ("words", "told", "reason"),
    [
        ((), "pending", ""),
        ((some.tell(),), "pending", "told, no page made yet"),
        ((some.tell(), some.page()), "pending", "page on its way"),
        ((some.hush(),), "suppressed", "already_told"),
        ((some.tell(), some.page(), some.receipt()), "notified", "accepted: north by hook"),
        ((some.hush(), some.tell(), some.page(), some.receipt()), "notified", "accepted: north by hook"),
        ((some.tell(), some.page(), some.receipt(), some.hush()), "notified", "accepted: north by hook"),
        ((some.tell(), some.page(), some.receipt(outcome=DeliveryOutcome.REFUSED)), "pending", "every page failed"),
        ((some.tell(alerts=("a2",)), some.page(), some.receipt()), "pending", ""),
    ],
)
def test_told_says_whether_anybody_knows_of_an_alert(
    pool: Pool, words: tuple[Word, ...], told: str, reason: str
) -> None:
    record_all(a_log(some.transition(), *words), pool)
    assert rows(pool, "SELECT told, told_reason FROM alerts") == [{"told": told, "told_reason": reason}]


def test_a_page_is_waiting_until_accepted_or_given_up(pool: Pool) -> None:
    again = some.receipt(attempt=1, outcome=DeliveryOutcome.RETRY, final=False)
    journal = a_log(some.page(), again)
    record_all(journal, pool)
    assert rows(pool, "SELECT state FROM pages") == [{"state": "waiting"}]
    journal.decisions.append([log_entry(some.receipt(attempt=2, outcome=DeliveryOutcome.UNKNOWN))], now=NOON)
    record_all(journal, pool)
    assert rows(pool, "SELECT state FROM pages") == [{"state": "failed"}]


def test_a_copy_of_a_receipt_under_another_offset_adds_nothing(pool: Pool) -> None:
    record_all(a_log(some.page(), some.receipt(), some.page(), some.receipt()), pool)
    assert len(rows(pool, "SELECT 1 FROM receipts")) == 1
    assert [row["kind"] for row in rows(pool, "SELECT kind FROM timeline ORDER BY log_offset")] == ["page", "receipt"]
    assert len(rows(pool, "SELECT 1 FROM events")) == 2


def test_the_newest_change_of_an_incident_counts_and_a_reopened_one_has_no_end(pool: Pool) -> None:
    journal = a_log(some.incident(), some.incident(state=IncidentState.CLOSED, changed_at=NOON + 5, verdict="test"))
    record_all(journal, pool)
    [closed] = rows(pool, "SELECT state, closed_at - opened_at AS open, verdict, version FROM incidents")
    assert (closed["state"], closed["open"].microseconds, closed["verdict"]) == ("closed", 5, "test")
    assert closed["version"] == journal.decisions.head()
    journal.decisions.append([log_entry(some.incident(changed_at=NOON + 9))], now=NOON)
    record_all(journal, pool)
    assert rows(pool, "SELECT state, closed_at FROM incidents") == [{"state": "open", "closed_at": None}]


def test_an_older_change_read_again_does_not_undo_a_newer_one(pool: Pool) -> None:
    journal = a_log(
        some.incident(), some.incident(state=IncidentState.CLOSED), some.transition(before=AlertState.FIRING)
    )
    record_all(journal, pool)
    with pool.connection() as connection:
        connection.execute("UPDATE cursors SET log_offset = -1")
    a_recorder(journal, pool).turn(1)
    assert rows(pool, "SELECT state FROM incidents") == [{"state": "closed"}]


def test_a_timeline_reads_like_a_report(pool: Pool) -> None:
    acknowledged = some.incident(
        state=IncidentState.ACKNOWLEDGED, author="王芳", comment="on my way", reason="on my way", act_id=uid("c1")
    )
    words = (some.transition(), some.incident(), some.tell(), some.page(), some.receipt(), some.hush("a2"))
    record_all(a_log(*words, acknowledged, some.refusal()), pool)
    lines = rows(pool, "SELECT kind, author, text, body FROM timeline ORDER BY log_offset")
    assert [(line["kind"], line["text"]) for line in lines] == [
        ("alert", "d1: heat-fixed (fire) fires: 61.5 °C is above 57 °C"),
        ("incident", "Open: fire at d1"),
        ("tell", "Fire at s1: 61.5 °C at d1"),
        ("page", "Page to north by hook, step 1: opened"),
        ("receipt", "Page to north by hook: attempt 1 accepted"),
        ("hush", "No page of its own: its incident was told before at this class"),
        ("incident", "Acknowledged by 王芳: on my way"),
        ("refusal", "Not done: it is closed"),
    ]
    assert lines[6]["author"] == "王芳"
    assert lines[0]["body"]["at"] == "2024-11-21T12:00:00.000Z"
    assert lines[1]["body"]["opened_at"] == "2024-11-21T12:00:00.000Z"


def test_acts_are_answered_once_applied_or_refused_with_the_reason(pool: Pool) -> None:
    empty(pool)
    record_all(a_log(some.incident(act_id=uid("c1")), some.refusal("c2"), some.refusal("c1")), pool)
    answers = {str(row["id"]): (row["state"], row["refusal"]) for row in rows(pool, "SELECT * FROM acts")}
    assert answers == {uid("c1"): ("applied", ""), uid("c2"): ("refused", "it is closed")}


def test_events_wake_listeners_in_the_transaction_that_writes_them(pool: Pool) -> None:
    with psycopg.connect(str(pool.conninfo), autocommit=True) as listener:
        listener.execute("LISTEN emberwatch_events")
        record_all(a_log(some.transition(), some.incident(), some.hush(), None), pool)
        [notice] = listener.notifies(timeout=5, stop_after=1)
        events = listener.execute("SELECT seq, kind, body ->> 'site' FROM events ORDER BY seq").fetchall()
    assert [event[1:] for event in events] == [("alert", "s1"), ("incident", "s1")]
    assert notice.payload == str(events[-1][0])


def test_an_older_owner_is_fenced_and_writes_nothing(pool: Pool) -> None:
    journal = a_log(some.transition())
    older, newer = a_recorder(journal, pool), a_recorder(journal, pool)
    older.turn(1)
    newer.turn(1)
    journal.decisions.append([log_entry(some.incident())], now=NOON)
    with pytest.raises(Fenced, match="a newer recorder"):
        older.turn()
    assert rows(pool, "SELECT 1 FROM incidents") == []
    with pytest.raises(Fenced):
        Recorder(journal, "main", pool, now).turn()  # never became owner: epoch 0
    newer.turn()
    assert len(rows(pool, "SELECT 1 FROM incidents")) == 1


def test_progress_moves_the_cursor_once_a_second_and_writes_nothing_else(pool: Pool) -> None:
    clock = [NOON]
    journal = a_log(None)
    recorder = a_recorder(journal, pool, lambda: clock[0])
    while recorder.turn():
        pass
    assert rows(pool, "SELECT log_offset FROM cursors") == [{"log_offset": -1}]
    clock[0] += 1_000_000
    recorder.turn()
    assert rows(pool, "SELECT log_offset FROM cursors") == [{"log_offset": 0}]
    assert journal.decisions.holds == {"recorder": 0}
    assert not any(tables(pool).values())


def test_what_no_table_can_hold_is_set_aside_loudly_and_the_rest_goes_on(pool: Pool) -> None:
    journal = MemoryJournal()
    odd = [
        log_entry(some.transition(alert_id="no uuid")),
        log_entry(some.incident(changed_at=10**18 * 9)),
        log_entry(some.transition("a2", retriggers=2**40)),
        log_entry(some.page("p2", incident="")),
        log_entry(some.incident("i2", site="长" * 9_000_000)),
        Entry(Kind.TELL, value=b"\xc1 no msgpack"),
    ]
    sound = [log_entry(some.transition()), log_entry(some.tell(text="NUL \0 here")), log_entry(some.page())]
    journal.decisions.append([sound[0], *odd, *sound[1:]], now=NOON)
    record_all(journal, pool)
    assert len(rows(pool, "SELECT 1 FROM alerts")) == len(rows(pool, "SELECT 1 FROM pages")) == 1
    assert rows(pool, "SELECT text FROM tells") == [{"text": "NUL ␀ here"}]
    aside = rows(pool, "SELECT log_offset, value, error FROM unrecorded ORDER BY log_offset")
    kept = {
        record.offset: record.value for record in journal.decisions.records if record.value in [e.value for e in odd]
    }
    assert {row["log_offset"]: bytes(row["value"]) for row in aside} == kept
    assert len(rows(pool, "SELECT 1 FROM notices")) == len(odd)
    assert "could not be recorded (IncidentChange" in " ".join(
        row["text"] for row in rows(pool, "SELECT text FROM timeline WHERE kind = 'unrecorded'")
    )


def test_a_log_that_lost_its_beginning_is_said_and_the_rest_recorded(pool: Pool) -> None:
    journal = a_log(some.transition(), some.incident(), some.tell())
    journal.decisions.lost_below = 1
    record_all(journal, pool)
    assert [row["text"] for row in rows(pool, "SELECT text FROM notices")] == [
        "The log of main begins after offset 1; decisions after -1 up to there are missing"
    ]
    assert (len(rows(pool, "SELECT 1 FROM incidents")), len(rows(pool, "SELECT 1 FROM tells"))) == (0, 1)


def test_the_database_may_go_away_and_come_back(pool: Pool) -> None:
    journal = a_log(some.transition())
    stop = threading.Event()
    thread = threading.Thread(target=Recorder(journal, "main", pool, now).run, args=(stop,))
    thread.start()
    try:
        eventually(lambda: len(rows(pool, "SELECT 1 FROM transitions")) == 1)
        with psycopg.connect(str(pool.conninfo), autocommit=True) as admin:
            admin.execute("ALTER TABLE incidents RENAME TO incidents_away")
            journal.decisions.append([log_entry(some.incident()), log_entry(some.hush())], now=NOON)
            eventually(lambda: kill_others(admin) > 0)
            assert rows(pool, "SELECT 1 FROM hushes") == []
            admin.execute("ALTER TABLE incidents_away RENAME TO incidents")
        eventually(lambda: len(rows(pool, "SELECT 1 FROM hushes")) == 1)
        assert len(rows(pool, "SELECT 1 FROM incidents")) == 1
    finally:
        stop.set()
        thread.join(2)
    assert not thread.is_alive()


def kill_others(admin: Connection[Any]) -> int:
    sql = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return len(admin.execute(sql).fetchall())


def eventually(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except (psycopg.OperationalError, Unavailable):
            pass
        time.sleep(0.02)
    raise AssertionError("it did not come true")


def test_a_notice_belongs_to_no_incident(pool: Pool) -> None:
    record_all(a_log(Notice(id=uid("n1"), at=NOON, text="blind since 12:00")), pool)
    assert rows(pool, "SELECT text FROM notices") == [{"text": "blind since 12:00"}]
    assert rows(pool, "SELECT 1 FROM timeline") == []
    assert rows(pool, "SELECT kind FROM events") == [{"kind": "notice"}]


def test_the_cursor_says_which_probe_the_evaluator_has_passed_and_that_the_recorder_is_there(pool: Pool) -> None:
    time = [NOON]
    journal = a_log(None)
    recorder = a_recorder(journal, pool, lambda: time[0])

    def turn(probe: int) -> dict[str, Any]:
        if probe:
            entry = Entry(Kind.PROGRESS, encode(Progress(cursor=0, probe=probe)))
            journal.decisions.append([log_entry(some.refusal("c1")), entry, log_entry(some.page("p1", "t1"))], now=NOON)
        time[0] += SECOND
        recorder.turn()
        return rows(pool, "SELECT probe_sent_at, changed_at FROM cursors WHERE reader = 'recorder'")[0]

    assert turn(0)["probe_sent_at"] is None
    assert turn(NOON)["probe_sent_at"] == to_datetime(NOON)
    still = turn(0)
    assert still["probe_sent_at"] == to_datetime(NOON), "no news is no step back"
    time[0] += ALIVE_EVERY
    assert turn(0)["changed_at"] > still["changed_at"], "with nothing to copy it says that it is there"
