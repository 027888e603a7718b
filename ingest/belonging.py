"""Whether a device may speak here: known to the inventory, enrolled, or refused and why. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from ingest.admission import Reason
from ingest.inventory import Device, Inventory
from ingest.readings import Observation


class Refusal(NamedTuple):
    """A device's observation that is not admitted."""

    reason: Reason
    detail: str
    item: Observation


def find(
    item: Observation, inventory: Inventory, enrols: Callable[[str, str], bool] | None, gateway: str
) -> Device | Refusal:
    """The device that speaks; it registers itself where `enrols` lets it. `gateway`: the topic's, "" for none."""
    found = inventory.find(item.site, item.device)
    if found is not None:
        return _behind_another(found, item, gateway) if _strange(found, gateway) else found
    if enrols is not None and _can_enrol(item) and enrols(item.site or "", item.device):
        return inventory.enrol(item.site or "", item.device)
    return _stranger(item, inventory, listed=enrols is not None and _can_enrol(item))


def _strange(found: Device, named: str) -> bool:
    """Whether a topic's gateway speaks for a device of another one; it may speak for itself."""
    return bool(named and found.gateway) and named not in (found.gateway, found.id)


def _behind_another(found: Device, item: Observation, named: str) -> Refusal:
    item = msgspec.structs.replace(item, site=found.site)
    detail = f"device {found.id} is registered behind gateway {found.gateway}, and gateway {named} speaks for it"
    return Refusal(Reason.WRONG_GATEWAY, detail, item)


def _stranger(item: Observation, inventory: Inventory, *, listed: bool) -> Refusal:
    unlisted = ", and not on the allow-list of its source" if listed else ""
    sites = inventory.sites_of(item.device)
    if item.site is None:
        where = f"registered at {len(sites)} sites, and nothing says which" if sites else f"not registered{unlisted}"
        return Refusal(Reason.UNKNOWN_DEVICE, f"device {item.device} is {where}", item)
    if sites:
        detail = f"device {item.device} speaks for site {item.site} and is registered at {', '.join(sites[:3])}"
        return Refusal(Reason.WRONG_SITE, detail, item)
    return Refusal(Reason.UNKNOWN_DEVICE, f"device {item.device} is not registered at site {item.site}{unlisted}", item)


def _can_enrol(item: Observation) -> bool:
    """Names of the wire become inventory rows only when they can be keys there."""
    site, device = item.site or "", item.device
    return bool(site and device) and "/" not in site and site.isprintable() and device.isprintable()


def too_fast(found: Device, item: Observation, why: str) -> Refusal:
    """The refusal of what is beyond a limit; `why` names the limit."""
    item = msgspec.structs.replace(item, site=found.site, device=found.id)
    return Refusal(Reason.RATE, f"{why}; further ones are set aside", item)
