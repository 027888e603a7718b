"""The inventory's way into the database, on towards the log, and back out into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from ingest import inventory_file
from ingest.database import connect
from ingest.inventory import Area, Centre, Device, DeviceClass, Inventory, InventoryDelta, Site
from ingest.inventory_file import export_inventory, import_inventory, parse_inventory, write_inventory
from ingest.store import device_keys

pytestmark = pytest.mark.integration

TOWN = InventoryDelta(
    areas=[Area(id="a", name="区"), Area(id="a.b", parent="a", attributes={"n": [1, None]})],
    centres=[Centre(id="c", parent="a", lat=31.5, lon=118.25)],
    sites=[Site(id="s1", parent="a.b"), Site(id="s2", parent="a.b")],
    devices=[
        Device(id="d1", site="s1", gateway="g", expected_interval_s=60.0, credential="cert"),
        Device(id="d1", site="s2", device_class=DeviceClass.SIREN),
        Device(id="g", site="s1", device_class=DeviceClass.GATEWAY),
    ],
)


def queued(connection: psycopg.Connection[Any]) -> list[InventoryDelta]:
    rows = connection.execute("SELECT delta FROM inventory_changes ORDER BY id").fetchall()
    return [msgspec.msgpack.decode(row[0], type=InventoryDelta) for row in rows]


def ordered(delta: InventoryDelta) -> InventoryDelta:
    return msgspec.structs.replace(delta, devices=sorted(delta.devices, key=lambda device: (device.site, device.id)))


def test_import_and_export_are_each_others_inverse(database: str, tmp_path: Path) -> None:
    with connect(database) as connection:
        assert import_inventory(connection, TOWN) == TOWN
        assert export_inventory(connection) == ordered(TOWN)
        write_inventory(export_inventory(connection), tmp_path / "out.csv")
        assert ordered(parse_inventory(tmp_path / "out.csv")) == ordered(TOWN)


def test_what_the_log_gets_rebuilds_the_inventory_and_the_same_again_is_nothing(database: str) -> None:
    with connect(database) as connection:
        import_inventory(connection, TOWN)
        inventory = Inventory()
        for delta in queued(connection):
            inventory.apply(delta)
        assert ordered(inventory.snapshot()) == ordered(TOWN)
        before = len(queued(connection))
        assert import_inventory(connection, TOWN) == InventoryDelta()
        assert len(queued(connection)) == before


def test_only_what_changed_is_sent_and_the_key_of_a_device_stays(database: str) -> None:
    with connect(database) as connection:
        import_inventory(connection, TOWN)
        keys = device_keys(connection, [("s1", "d1")])
        moved = Device(id="d1", site="s1", name="new", expected_interval_s=30.0)
        import_inventory(connection, InventoryDelta(devices=[moved, TOWN.devices[1]]))
        assert queued(connection)[-1] == InventoryDelta(devices=[moved])
        assert device_keys(connection, [("s1", "d1")]) == keys
        assert len(export_inventory(connection).devices) == 3, "what a file does not name stays"


def test_a_device_that_enrolled_itself_becomes_registered_by_an_import(database: str) -> None:
    with connect(database) as connection:
        device_keys(connection, [("s1", "d1")])
        assert export_inventory(connection).devices == [Device(id="d1", site="s1", enrolled=True)]
        import_inventory(connection, InventoryDelta(devices=[Device(id="d1", site="s1")]))
        assert export_inventory(connection).devices == [Device(id="d1", site="s1")]


def test_many_devices_travel_in_pieces(database: str) -> None:
    many = [Device(id=f"d{n:05}", site="s") for n in range(12_001)]
    with connect(database) as connection:
        import_inventory(connection, InventoryDelta(sites=[Site(id="s")], devices=many))
        pieces = queued(connection)
        assert [len(piece.devices) for piece in pieces] == [0, 5000, 5000, 2001]
        assert export_inventory(connection).devices == many


def test_an_error_in_the_middle_changes_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr(inventory_file, "queue_changes", broken)
    with connect(database) as connection:
        with pytest.raises(psycopg.OperationalError):
            import_inventory(connection, TOWN)
        connection.rollback()
        assert export_inventory(connection) == InventoryDelta()
