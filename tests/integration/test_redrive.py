"""Messages out of quarantine, judged once more: the books move, history stays history, and a fire in it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from alerts.incident import TellReason
from ingest.inventory import Device, InventoryDelta, Site
from ingest.inventory_file import import_inventory
from ingest.journal import BEGINNING
from ingest.message import Kind
from ingest.quarantine import Wanted, drop_old, group_quarantine, list_quarantine, request_redrive
from ingest.readings import iso, to_datetime
from tests.support.system import System
from tests.support.writing import SOURCES, execute, standing, wall

pytestmark = pytest.mark.integration

D2 = "ember/v1/shed/d2/telemetry"
NEW = InventoryDelta(sites=[Site(id="shed")], devices=[Device(id="d2", site="shed")])


@pytest.fixture
def system(database: str, tmp_path: Path) -> Iterator[System]:
    with ExitStack() as stack:
        yield System(database, tmp_path, stack)


def test_what_an_unknown_device_said_is_taken_in_once_it_is_registered(system: System) -> None:
    said = iso(wall() - 5_000_000)
    system.log.say({"temperature": 20, "ts": said}, topic=D2)
    system.log.say({"smoke_alarm": True, "ts": said}, topic=D2)
    system.log.say({"temperature": 20}, topic="ember/v1/shed/d3/telemetry")
    assert system.settle() == {"quarantined": 3}
    group, _ = sorted(group_quarantine(system.connection), key=lambda group: group.device)
    assert (group.reason, group.site, group.device, group.count) == ("unknown_device", "shed", "d2", 2)
    import_inventory(system.connection, NEW)
    assert system.settle() == {"stored": 2, "quarantined": 1}
    found = standing(system.url).readings
    assert [(row[1], iso_of(row[2]), row[5]) for row in found] == [("d2", said, "back_fill")] * 2
    assert {row.device for row in list_quarantine(system.connection).rows} == {"d3"}
    late = [tell for tell in system.tells() if tell.reason is TellReason.LATE]
    assert [(tell.site, iso(tell.at)) for tell in late] == [("shed", said)]


def iso_of(moment: object) -> str:
    return str(moment).replace("+00:00", "").replace(" ", "T")[:23] + "Z"


def test_a_codec_that_learns_reads_what_it_could_not(system: System) -> None:
    system.log.say(b"20.5", topic=D2)
    import_inventory(system.connection, NEW)
    assert system.settle() == {"quarantined": 1}
    assert request_redrive(system.connection, Wanted(reason="undecodable"), limit=10) == 1
    assert system.settle() == {"quarantined": 1}  # still no reading, and still there
    assert [row.reason for row in list_quarantine(system.connection).rows] == ["undecodable"]
    mapped = SOURCES.replace("codec: ember-json", "codec: json-map, device: 'topic:4', fields: {temperature: $}")
    system.log.control(Kind.SOURCES, mapped.encode())
    assert request_redrive(system.connection, Wanted(device="d2"), limit=10) == 1
    assert system.settle() == {"stored": 1}
    assert [row[6] for row in standing(system.url).readings] == [20.5]


def test_a_record_carried_twice_moves_in_the_books_once(system: System) -> None:
    system.log.say({"temperature": 20}, topic=D2)
    system.settle()
    import_inventory(system.connection, NEW)
    assert system.relay.turn(system.connection) == 2
    execute(system.url, "UPDATE quarantine SET redrive = 'waiting'")  # as if the relay had died before it marked it
    assert system.settle() == {"stored": 1}
    kinds = [record.kind for record in system.log.journal.messages.read(BEGINNING, 100)]
    assert kinds.count(Kind.REDRIVE) == 2
    assert len(standing(system.url).readings) == 1


def test_a_message_never_overtakes_the_registration_of_its_device(system: System) -> None:
    system.log.say({"temperature": 20}, topic=D2)
    system.settle()
    import_inventory(system.connection, NEW)
    assert system.relay._redrives(system.connection, "main") == 0
    assert system.settle() == {"stored": 1}


def test_what_retention_forgets_still_stands_in_the_books(system: System) -> None:
    for device in ("d2", "d3", "d4"):
        system.log.say({"temperature": 20}, topic=f"ember/v1/shed/{device}/telemetry")
    system.settle()
    import_inventory(system.connection, NEW)
    system.settle()
    soon = to_datetime(wall()) + timedelta(seconds=1)
    assert drop_old(system.connection, before=soon - timedelta(days=1), settled_before=soon) == 1
    assert drop_old(system.connection, before=soon, settled_before=soon, limit=1) == 1
    assert system.settle() == {"stored": 1, "quarantined": 2}
    assert list_quarantine(system.connection).counts == {"unknown_device": 1}
