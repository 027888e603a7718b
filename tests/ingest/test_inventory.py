"""The inventory in memory: what is kept of it for a checkpoint follows every change."""

from __future__ import annotations

import msgspec
import pytest

from ingest.inventory import Device, Inventory, InventoryDelta, Site

LAMP = Device(id="d1", site="shed", expected_interval_s=60)
CHANGES = {
    "a device comes": lambda inventory: inventory.apply(InventoryDelta(devices=[Device(id="d2", site="shed")])),
    "a device changes": lambda inventory: inventory.apply(InventoryDelta(devices=[Device(id="d1", site="shed")])),
    "a device goes": lambda inventory: inventory.apply(InventoryDelta(removed_devices=["shed/d1"])),
    "a site comes": lambda inventory: inventory.apply(InventoryDelta(sites=[Site(id="barn")])),
    "a stranger enrols": lambda inventory: inventory.enrol("barn", "d9"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_encoded_is_what_is_known_after_every_change(change: str) -> None:
    inventory = Inventory()
    inventory.apply(InventoryDelta(sites=[Site(id="shed")], devices=[LAMP]))
    before = inventory.encoded()
    CHANGES[change](inventory)
    assert inventory.encoded() != before
    assert msgspec.msgpack.decode(inventory.encoded(), type=InventoryDelta) == inventory.snapshot()


def test_a_delta_written_with_every_field_is_read_alike() -> None:
    whole = {"areas": [], "centres": [], "sites": [], "devices": [msgspec.structs.asdict(LAMP)], "removed_devices": []}
    told = msgspec.msgpack.decode(msgspec.msgpack.encode(whole), type=InventoryDelta)
    assert told == InventoryDelta(devices=[LAMP])
