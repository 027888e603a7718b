"""Probes among the records change nothing for those who read them, but for how far a probe has come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from alerts.backtest import backtest_journal, export_extras
from alerts.decisions import Decision, progress_of
from alerts.evaluator import Evaluator
from alerts.judge import Judge
from alerts.rulebook import parse_rulebook
from ingest.batch import Batch, States
from ingest.inventory import Device, InventoryDelta, Site
from ingest.journal import Entry, Record
from ingest.journal_export import export_journal
from ingest.journal_sqlite import SqliteJournal
from ingest.memory import Memory
from ingest.message import Kind, Message, Probe, Tick, encode
from ingest.readings import SECOND
from ingest.sources import Clock, Sources
from tests.support.feed import START

RULES = """
rules:
  - {id: hot, kind: level, quantity: temperature, above: 57, clear_below: 50, class: fire, severity: critical}
  - {id: smoke, kind: state, state: smoke_alarm, class: fire, severity: critical}
  - {id: silent, kind: absence, after: 1, class: fault, severity: warning}
"""
FILTER = "ember/v1/+/+/telemetry"
BEGINNING = [
    Entry(Kind.SOURCES, value=f'sources: [{{filter: "{FILTER}", codec: ember-json}}]'.encode()),
    Entry(Kind.RULEBOOK, value=RULES.encode()),
    Entry(
        Kind.INVENTORY,
        value=encode(
            InventoryDelta(sites=[Site(id="shed")], devices=[Device(id="d1", site="shed", expected_interval_s=3)])
        ),
    ),
]
PROBE = None

something = st.one_of(
    st.fixed_dictionaries({"temperature": st.sampled_from([20, 40, 58, 70])}),
    st.fixed_dictionaries({"smoke_alarm": st.booleans()}),
    st.just({"nobody": "knows this"}),
    st.just("tick"),
    st.just(PROBE),
)


def entries(steps: Sequence[object]) -> Iterator[tuple[int, Entry]]:
    """(second, entry) of each step, the beginning first; a probe was sent a second before its place."""
    yield from ((0, entry) for entry in BEGINNING)
    for second, step in enumerate(steps):
        at = START + second * SECOND
        if step is PROBE:
            yield second, Entry(Kind.PROBE, value=encode(Probe(sent_at=at - SECOND)))
        elif step == "tick":
            yield second, Entry(Kind.TICK, value=encode(Tick(listened=SECOND)))
        else:
            meta = Message(topic="ember/v1/shed/d1/telemetry", source=FILTER, received_at=at)
            yield second, Entry(Kind.MESSAGE, encode(meta), msgspec.json.encode(step))


def records(steps: Sequence[object]) -> list[Record]:
    return [
        Record(offset, START + second * SECOND, entry.kind, entry.meta, entry.value)
        for offset, (second, entry) in enumerate(entries(steps))
    ]


def judged(some: Sequence[Record]) -> tuple[list[Decision], Judge]:
    judge = Judge(shard="main", clock=Clock.RECEIVED, rulebook=parse_rulebook(RULES, "rules"))
    decisions: list[Decision] = []
    for record in some:
        assert judge.step(record) is None
        decisions += judge.take()
    return decisions, judge


@given(st.lists(something, max_size=40))
def test_with_or_without_probes_the_same_is_decided_and_written(steps: list[object]) -> None:
    everything = records(steps)
    without = [record for record in everything if record.kind != Kind.PROBE]
    (decided, judge), (expected, plain) = judged(everything), judged(without)
    assert decided == expected and judge.counts == plain.counts
    batches = []
    for some in (everything, without):
        batch = Batch()
        batch.take(some, Memory(Sources(sources=(), text="")), States())
        batches.append(batch)
    assert batches[0].counts == batches[1].counts and batches[0].items == batches[1].items
    sent = [START + second * SECOND - SECOND for second, step in enumerate(steps) if step is PROBE]
    assert judge.probe == batches[0].probe == (sent[-1] if sent else 0)
    assert plain.probe == batches[1].probe == 0


def test_the_evaluator_says_durably_which_probe_it_has_passed_and_an_export_is_judged_alike(tmp_path: Path) -> None:
    steps: list[object] = [{"smoke_alarm": True}, PROBE, "tick", {"temperature": 70}, PROBE, "tick"]
    with closing(SqliteJournal(tmp_path / "log", "main")) as journal:
        for second, entry in entries(steps):
            journal.messages.append([entry], now=START + second * SECOND)
        evaluator = Evaluator(journal, "main", Clock.RECEIVED, RULES, lambda: START + 60 * SECOND)
        while evaluator.turn():
            pass
        progress = progress_of(journal.decisions.read(journal.decisions.floor(), 100)[-1])
        assert progress is not None and progress.probe == START + 3 * SECOND
        file = tmp_path / "main.log"
        export_journal(journal, file, extras=export_extras(journal, Clock.RECEIVED))
    result = backtest_journal(file)
    assert {each.rule for each in result.transitions} >= {"smoke", "hot"} and result.counts == evaluator.judge.counts
