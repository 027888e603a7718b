"""A record that ends the evaluator's process three times is set aside; what follows it is judged."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec

from alerts.alert import Transition
from alerts.backtest import backtest_journal, export_extras
from alerts.crashes import MOST_CRASHES, Crashes
from alerts.decisions import decode
from ingest.inventory import Device, InventoryDelta
from ingest.journal import BEGINNING, Entry
from ingest.journal_export import export_journal
from ingest.journal_sqlite import SqliteJournal
from ingest.message import EngineError, Kind, Message, encode
from ingest.sources import Clock
from tests.support.feed import START

ROOT = Path(__file__).resolve().parents[2]
RULES = "rules: [{id: smoke, kind: state, state: smoke_alarm, class: fire, severity: critical}]"
SOURCES = 'sources: [{filter: "ember/v1/+/+/alarm", codec: ember-json}]'


def alarm(site: str) -> Entry:
    message = Message(topic=f"ember/v1/{site}/d1/alarm", source="ember/v1/+/+/alarm", received_at=START)
    return Entry(Kind.MESSAGE, encode(message), b'{"smoke_alarm":true}')


def test_a_record_that_kills_the_evaluator_three_times_is_set_aside_and_its_fire_told(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    sites = ("before", "deadly", "after")
    with closing(SqliteJournal(folder, "main")) as journal:
        inventory = InventoryDelta(devices=[Device(id="d1", site=site) for site in sites])
        texts = [Entry(Kind.SOURCES, value=SOURCES.encode()), Entry(Kind.RULEBOOK, value=RULES.encode())]
        entries = [*texts, Entry(Kind.INVENTORY, value=encode(inventory)), *map(alarm, sites)]
        journal.messages.append(entries, now=START)
        head = journal.messages.head()
        codes = [
            subprocess.run(
                [sys.executable, "-m", "tests.support.evaluator_child", str(folder), RULES, str(head)],
                cwd=ROOT,
                timeout=60,
                capture_output=True,
            ).returncode
            for _ in range(MOST_CRASHES + 1)
        ]
        assert codes == [9] * MOST_CRASHES + [0]
        words = [decode(record) for record in journal.decisions.read(BEGINNING, 1_000)]
        fired = [(word.rule, word.site) for word in words if isinstance(word, Transition)]
        assert fired == [("smoke", "before"), ("unregistered-fire", "deadly"), ("smoke", "after")]
        record = journal.messages.last(Kind.ENGINE_ERROR)
        assert record is not None
        aside = msgspec.msgpack.decode(record.value, type=EngineError)
        assert aside.deadly and aside.error == "it ended the evaluator several times in a row"
        export_journal(journal, tmp_path / "log.ember", extras=export_extras(journal, Clock.RECEIVED))
    again = backtest_journal(tmp_path / "log.ember").transitions
    assert sorted((each.rule, each.site) for each in again) == sorted(fired)


def test_an_end_between_records_suspects_nobody(tmp_path: Path) -> None:
    for _ in range(MOST_CRASHES + 2):
        crashes = Crashes(tmp_path / "crashes")
        crashes.judging(7)
        crashes.done()
        crashes.close()
    assert Crashes(tmp_path / "crashes").deadly == -1


def test_crashes_at_different_records_do_not_add_up(tmp_path: Path) -> None:
    for offset in (7, 8, 7, 8, 7, 7):
        crashes = Crashes(tmp_path / "crashes")
        assert crashes.deadly == -1
        crashes.judging(offset)
        crashes.close()
    again = Crashes(tmp_path / "crashes")
    assert again.deadly == -1
    again.judging(7)
    again.close()
    assert Crashes(tmp_path / "crashes").deadly == 7
