"""Areas, centres, sites, devices: what is watched, and where. Pure words and the in-memory index.

The inventory reaches writer and evaluator as InventoryDelta records of the log, so both know the same at the same
offset, and a back-test can repeat it.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class DeviceClass(StrEnum):
    """What a device is; decides its default expected interval and which rules apply."""

    SMOKE_HEAD = "smoke_head"
    HEAT_HEAD = "heat_head"
    SMOKE_HEAT_HEAD = "smoke_heat_head"
    SURFACE_PROBE = "surface_probe"
    GATEWAY = "gateway"
    CHARGING_PILE = "charging_pile"
    MANUAL_CALL_POINT = "manual_call_point"
    SIREN = "siren"
    CAMERA = "camera"


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What areas, centres and sites have in common; `parent` is the id of the area it hangs on, "" for none."""

    id: str
    name: str = ""
    parent: str = ""
    lat: float | None = None
    lon: float | None = None
    attributes: dict[str, object] = {}


class Area(Place, frozen=True, kw_only=True):
    """A node of the tree city → street → community → compound → grid; `parent` is "" at the root.

    An area id may be written as a dotted path (`yuhua.daishan`), but the parent link alone decides the tree.
    """


class Centre(Place, frozen=True, kw_only=True):
    """A fire-safety centre 智慧消防服务中心; `parent` is the area it is responsible for."""


class Site(Place, frozen=True, kw_only=True):
    """A shed or other watched place; `parent` is its area."""


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sensor or gateway. `site` is where it stands; `gateway` the device it speaks through, "" for none.

    `expected_interval_s`: it reports at least this often; None: nobody knows, absence is not judged.
    """

    id: str
    site: str
    name: str = ""
    gateway: str = ""
    device_class: DeviceClass = DeviceClass.SMOKE_HEAT_HEAD
    expected_interval_s: float | None = None
    credential: str = ""
    enrolled: bool = False
    lat: float | None = None
    lon: float | None = None
    attributes: dict[str, object] = {}


class InventoryDelta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Full content of what was added or changed, and the keys of what was removed (devices as "site/device")."""

    areas: list[Area] = []
    centres: list[Centre] = []
    sites: list[Site] = []
    devices: list[Device] = []
    removed_devices: list[str] = []


class Inventory:
    """What is known at one offset of the log. Changed only by `apply` and `enrol`."""

    def __init__(self) -> None:
        self.areas: dict[str, Area] = {}
        self.centres: dict[str, Centre] = {}
        self.sites: dict[str, Site] = {}
        self.devices: dict[tuple[str, str], Device] = {}
        self._sites_of: dict[str, list[str]] | None = None  #: by device id, once somebody asked
        self._encoded: bytes | None = None

    def apply(self, delta: InventoryDelta) -> None:
        """Take over a delta; the same delta twice changes nothing."""
        self._encoded = None
        self.areas.update((area.id, area) for area in delta.areas)
        self.centres.update((centre.id, centre) for centre in delta.centres)
        self.sites.update((site.id, site) for site in delta.sites)
        for key in delta.removed_devices:
            site, _, device = key.partition("/")
            self._drop(site, device)
        for device_row in delta.devices:
            self._keep(device_row)

    def enrol(self, site: str, device: str) -> Device:
        """Register an unknown device of a source that says `enrol: true`."""
        self._encoded = None
        if site not in self.sites:
            self.sites[site] = Site(id=site)
        row = Device(id=device, site=site, enrolled=True)
        self._keep(row)
        return row

    def find(self, site: str | None, device: str) -> Device | None:
        """The device of this site; without a site the only one of that id (None when there are two)."""
        if site is not None:
            return self.devices.get((site, device))
        sites = self.index().get(device, ())
        return self.devices[(sites[0], device)] if len(sites) == 1 else None

    def sites_of(self, device: str) -> list[str]:
        """Every site that has a device of this id."""
        return list(self.index().get(device, ()))

    def index(self) -> dict[str, list[str]]:
        """The sites that have a device of each id. Built when it is first asked for, which takes a moment where there
        are many devices: who must not stop then asks early."""
        if self._sites_of is None:
            self._sites_of = {}
            for site, device in self.devices:
                self._sites_of.setdefault(device, []).append(site)
        return self._sites_of

    def path(self, area: str) -> list[str]:
        """The area and all above it, nearest first; stops at a loop or an unknown parent."""
        seen: list[str] = []
        while area and area not in seen:
            seen.append(area)
            area = self.areas[area].parent if area in self.areas else ""
        return seen

    def snapshot(self) -> InventoryDelta:
        """Everything, as one delta that rebuilds this inventory."""
        return InventoryDelta(
            areas=list(self.areas.values()),
            centres=list(self.centres.values()),
            sites=list(self.sites.values()),
            devices=list(self.devices.values()),
        )

    def encoded(self) -> bytes:
        """The snapshot as msgpack. Kept until something changes: a district's takes a third of a second to make, and
        a checkpoint wants it twice a minute."""
        if self._encoded is None:
            self._encoded = msgspec.msgpack.encode(self.snapshot())
        return self._encoded

    def _keep(self, device: Device) -> None:
        key = (device.site, device.id)
        if self._sites_of is not None and key not in self.devices:
            self._sites_of.setdefault(device.id, []).append(device.site)
        self.devices[key] = device

    def _drop(self, site: str, device: str) -> None:
        if self.devices.pop((site, device), None) is not None and self._sites_of is not None:
            self._sites_of[device].remove(site)
