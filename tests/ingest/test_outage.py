"""How many minutes of our absence a broker's queue covers."""

from __future__ import annotations

import pytest

from ingest.brokerfinding import Grade
from ingest.outage import DISTRICT_RATE, Load, Room, load_of, outage_finding

DISTRICT = load_of(present=DISTRICT_RATE, inventory=None, bytes_=100.0)


def said(room: Room, load: Load = DISTRICT) -> tuple[Grade, str]:
    finding = outage_finding(room, load, seen_at_least=2_000)
    return finding.grade, str(finding)


@pytest.mark.parametrize(
    ("room", "grade", "minutes", "why"),
    [
        (Room(messages=1_000), Grade.LOSES, "0.0 minutes", "max_queued_messages 0"),
        (Room(messages=620_000 * 10), Grade.OK, "10 minutes", "its limit is about 6,200,000 messages"),
        (Room(memory=620_000 * 500 * 9), Grade.LOSES, "9.0 minutes", "more memory"),
        (Room(memory=620_000 * 500 * 12), Grade.OK, "12 minutes", "3.7 GB of memory are free"),
        (Room(memory=620_000 * 500 * 60, disk=620_000 * 420 * 5), Grade.LOSES, "5.0 minutes", "persistence_location"),
        (Room(messages=620_000 * 20, memory=620_000 * 500 * 15), Grade.OK, "15 minutes", "memory"),
    ],
)
def test_what_ends_first_decides(room: Room, grade: Grade, minutes: str, why: str) -> None:
    found, line = said(room)
    assert found is grade
    assert f"covers about {minutes} at 10,333 messages/s (the present rate)" in line
    assert why in line


def test_the_larger_of_the_present_rate_and_the_inventory_s_counts() -> None:
    assert load_of(present=5.0, inventory=20.0, bytes_=None).known_as == "what the inventory's devices send"
    assert load_of(present=50.0, inventory=20.0, bytes_=None).rate == 50.0


def test_while_both_are_idle_a_district_is_assumed_and_a_small_machine_is_no_fault() -> None:
    load = load_of(present=0.2, inventory=None, bytes_=None)
    assert (load.rate, load.assumed) == (DISTRICT_RATE, True)
    grade, line = said(Room(memory=1 << 30), load)
    assert grade is Grade.NOTE and "(a district)" in line
    assert said(Room(messages=1_000), load)[0] is Grade.LOSES


def test_a_queue_that_cannot_be_seen_is_said_to_be_so() -> None:
    grade, line = said(Room())
    assert grade is Grade.NOTE
    assert "cannot be seen from here; 2,000 messages are 0.2 s" in line and "a minute takes 0.31 GB" in line
