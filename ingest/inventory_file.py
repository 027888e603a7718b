"""The inventory CSV: areas, centres, sites and devices in one file; and its way into and out of the database."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import psycopg
from psycopg.rows import TupleRow

from ingest.credentials import NONE, checked_credential
from ingest.errors import ConfigError, OperatorError
from ingest.inventory import Area, Centre, Device, DeviceClass, InventoryDelta, Site
from ingest.inventory_store import load_inventory, lock_inventory, queue_changes, upsert_inventory
from ingest.permissions import attribute_problems
from ingest.quarantine import request_for_devices

Connection = psycopg.Connection[TupleRow]

COLUMNS = ("kind", "id", "parent", "name", "class", "lat", "lon", "expected_interval_s", "credential", "attributes")
KINDS = ("area", "centre", "site", "device")
_CLASSES = ", ".join(DeviceClass)


class _Row:
    """One line of the file, and where it stands; problems are collected in `problems`."""

    def __init__(self, cells: dict[str, str], where: str, problems: list[str]) -> None:
        self._cells = cells
        self._problems = problems
        self.where = where
        self.kind, self.id, self.parent = self["kind"], self["id"], self["parent"]

    def __getitem__(self, column: str) -> str:
        return self._cells[column].strip()

    def wrong(self, what: str) -> None:
        self._problems.append(f"{self.where}: {what}")

    def number(self, column: str, low: float, high: float) -> float | None:
        """A cell as a number within these bounds; None when it is empty (or wrong)."""
        text = self[column]
        if not text:
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            self.wrong(f"{column} {text!r} is no number from {low:g} to {high:g}")
            return None
        return number

    def attributes(self) -> dict[str, object]:
        text = self["attributes"]
        try:
            value = json.loads(text) if text else {}
            json.dumps(value, allow_nan=False)
        except ValueError as error:
            self.wrong(f'attributes are not JSON ({error}); write an object such as {{"floor": 1}}')
            return {}
        if not isinstance(value, dict):
            self.wrong('attributes must be a JSON object, such as {"floor": 1}')
            return {}
        return value

    def device_class(self) -> DeviceClass:
        text = self["class"]
        try:
            return DeviceClass(text)
        except ValueError:
            self.wrong(f"{f'unknown class {text!r}' if text else 'class is empty'}; give one of {_CLASSES}")
            return DeviceClass.SMOKE_HEAT_HEAD

    def credential(self) -> str:
        try:
            return checked_credential(self["credential"])
        except ValueError as error:
            self.wrong(str(error))
            return NONE

    def empty(self, *columns: str) -> None:
        for column in columns:
            if self[column]:
                self.wrong(f"a {self.kind} has no {column}; leave it empty")


def parse_inventory(path: Path, known: InventoryDelta | None = None) -> InventoryDelta:
    """Everything the file says. ConfigError with every problem at once, each as `file:line: …`.

    Parents may stand in the file or in `known`, which is what the database has already.
    """
    problems: list[str] = []
    known = known or InventoryDelta()
    rows = _rows(_text(path), str(path), problems)
    by_kind = {kind: [row for row in rows if row.kind == kind] for kind in KINDS}
    _check_unique(by_kind)
    areas = {area.id for area in known.areas} | {row.id for row in by_kind["area"]}
    for kind in ("area", "centre", "site"):
        for row in by_kind[kind]:
            if row.parent and row.parent not in areas:
                row.wrong(f"parent {row.parent!r} is no area of this file; add the area or correct the name")
    _check_loops(by_kind["area"])
    delta = InventoryDelta(
        areas=msgspec.convert([_place(row) for row in by_kind["area"]], list[Area]),
        centres=msgspec.convert([_place(row) for row in by_kind["centre"]], list[Centre]),
        sites=msgspec.convert([_place(row) for row in by_kind["site"]], list[Site]),
        devices=_devices(by_kind, known),
    )
    if problems:
        raise ConfigError(problems)
    return delta


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: {(error.strerror or str(error)).lower()}; name an existing file"]) from None
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ConfigError([f"{path}:1: this is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)"])
    try:
        return content.decode("utf-8-sig")  # Excel marks UTF-8 with a BOM: harmless
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        guess = " (it looks like GBK)" if _is_gbk(content) else ""
        raise ConfigError([f"{path}:{line}: not UTF-8 text{guess}; save it as UTF-8 (in Excel: CSV UTF-8)"]) from None


def _is_gbk(content: bytes) -> bool:
    try:
        content.decode("gb18030")
    except UnicodeDecodeError:
        return False
    return True


def _rows(text: str, name: str, problems: list[str]) -> list[_Row]:
    """The lines that have a known kind and an id; the others are problems."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[_Row] = []
    begin = 1
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, name)
        begin = reader.line_num + 1
        for cells in reader:
            where, begin = f"{name}:{begin}", reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                problems.append(f"{where}: {len(cells)} cells, the header has {len(header)}; quote cells with commas")
                continue
            row = _Row(dict(zip(header, cells, strict=True)), where, problems)
            if _is_named(row):
                rows.append(row)
    except csv.Error as error:
        problems.append(f"{name}:{begin}: not CSV: {error}; a quote inside a quoted cell is written twice")
    return rows


def _check_header(header: list[str], name: str) -> None:
    missing = [column for column in COLUMNS if column not in header]
    unknown = [column for column in header if column not in COLUMNS]
    twice = sorted({column for column in header if header.count(column) > 1})
    problems = [
        f"{name}:1: {what} {', '.join(columns) or '(empty)'}; the header is {','.join(COLUMNS)}"
        for what, columns in (("missing column", missing), ("unknown column", unknown), ("column twice:", twice))
        if columns
    ]
    if problems:
        raise ConfigError(problems)


def _is_named(row: _Row) -> bool:
    if row.kind not in KINDS:
        row.wrong(f"unknown kind {row.kind!r}; give one of {', '.join(KINDS)}")
    elif not row.id:
        row.wrong(f"this {row.kind} has no id")
    elif not row.id.isprintable() or (row.kind != "device" and "/" in row.id):
        row.wrong(f"id {row.id!r} has a character that no id may have (control characters; / but for devices)")
    else:
        return True
    return False


def _check_unique(by_kind: dict[str, list[_Row]]) -> None:
    """Ids are unique among their kind; a device's among those with its parent."""
    for kind in KINDS:
        first: dict[tuple[str, str], _Row] = {}
        for row in by_kind[kind]:
            other = first.setdefault((row.id, row.parent if kind == "device" else ""), row)
            if other is not row:
                row.wrong(f"{kind} {row.id!r} stands already at {other.where}; keep one")


def _check_loops(areas: list[_Row]) -> None:
    by_id = {row.id: row for row in areas}
    done: set[str] = set()
    for row in areas:
        path: list[str] = []
        here: str = row.id
        while here in by_id and here not in done and here not in path:
            path.append(here)
            here = by_id[here].parent
        if here in path:
            loop = [*path[path.index(here) :], here]
            by_id[here].wrong(
                f"areas are parents of each other: {' → '.join(loop)}; one of them must have another parent"
            )
        done.update(path)


def _place(row: _Row) -> dict[str, object]:
    row.empty("class", "expected_interval_s", "credential")
    return {
        "id": row.id,
        "name": row["name"],
        "parent": row.parent,
        "lat": row.number("lat", -90, 90),
        "lon": row.number("lon", -180, 180),
        "attributes": row.attributes(),
    }


class _Standing:
    """Where devices stand: at the site they name, or at that of the gateway they name."""

    def __init__(self, by_kind: dict[str, list[_Row]], known: InventoryDelta) -> None:
        self.sites = {site.id for site in known.sites} | {row.id for row in by_kind["site"]}
        self._rows: dict[str, list[_Row]] = {}
        for row in by_kind["device"]:
            self._rows.setdefault(row.id, []).append(row)
        self._known: dict[str, set[str]] = {}
        for device in known.devices:
            self._known.setdefault(device.id, set()).add(device.site)

    def of(self, row: _Row) -> tuple[str, str]:
        """Site and gateway of this device; problems are noted on its row."""
        if not row.parent:
            row.wrong("a device needs a parent: its site, or the gateway it speaks through")
            return "", ""
        if row.parent in self.sites:
            return row.parent, ""
        seen = [row]
        while True:
            parent = seen[-1].parent
            if parent in self.sites:
                return parent, row.parent
            gateways = self._rows.get(parent, [])
            if not gateways and len(self._known.get(parent, ())) == 1:
                return next(iter(self._known[parent])), row.parent
            if len(gateways) != 1:
                many = len(gateways) or len(self._known.get(parent, ()))
                how = f"{many} devices of that id" if many else "no site and no device of that id"
                row.wrong(f"parent {parent!r}: {how} in this file; a device's parent is one site or one gateway")
                return "", ""
            if gateways[0] in seen:
                row.wrong(f"device {row.id!r} is behind itself: gateways are parents of each other")
                return "", ""
            seen.append(gateways[0])


def _devices(by_kind: dict[str, list[_Row]], known: InventoryDelta) -> list[Device]:
    standing = _Standing(by_kind, known)
    devices: dict[tuple[str, str], Device] = {}
    for row in by_kind["device"]:
        site, gateway = standing.of(row)
        device = Device(
            id=row.id,
            site=site,
            name=row["name"],
            gateway=gateway,
            device_class=row.device_class(),
            expected_interval_s=row.number("expected_interval_s", 1, 31_622_400),
            credential=row.credential(),
            lat=row.number("lat", -90, 90),
            lon=row.number("lon", -180, 180),
            attributes=row.attributes(),
        )
        for problem in attribute_problems(device):
            row.wrong(problem)
        other = devices.setdefault((site, row.id), device)
        if site and other.gateway != gateway:  # by another parent; by the same one was noticed before
            row.wrong(f"device {row.id!r} of site {site!r} stands twice; keep one")
    return list(devices.values())


def write_inventory(delta: InventoryDelta, path: Path) -> None:
    """The file that `parse_inventory` reads as this delta (devices that enrolled themselves count as registered)."""
    text = io.StringIO(newline="")
    usual = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (COLUMNS, *_cells(delta)):
        # Python leaves a lone carriage return unquoted, and reads it as the end of a line
        (quoted if any("\r" in cell for cell in row) else usual).writerow(row)
    try:
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
    except OSError as error:
        raise OperatorError(
            f"{path}: {(error.strerror or str(error)).lower()}; name a file that can be written"
        ) from None


def _cells(delta: InventoryDelta) -> Iterator[tuple[str, ...]]:
    for kind, places in (("area", delta.areas), ("centre", delta.centres), ("site", delta.sites)):
        for place in places:
            where = (_cell(place.lat), _cell(place.lon))
            yield (kind, place.id, place.parent, place.name, "", *where, "", "", _json(place.attributes))
    for device in delta.devices:
        yield (
            "device",
            device.id,
            device.gateway or device.site,
            device.name,
            device.device_class.value,
            _cell(device.lat),
            _cell(device.lon),
            _cell(device.expected_interval_s),
            device.credential,
            _json(device.attributes),
        )


def _cell(number: float | None) -> str:
    return "" if number is None else repr(number).removesuffix(".0")


def _json(attributes: dict[str, object]) -> str:
    return json.dumps(attributes, ensure_ascii=False, sort_keys=True) if attributes else ""


# into and out of the database


def import_inventory(connection: Connection, delta: InventoryDelta) -> InventoryDelta:
    """Put the rows into the database and on their way into the log, in one transaction; what was new or different.

    Rows that the delta does not name stay as they are.
    """
    with connection.transaction():
        lock_inventory(connection)
        fresh = difference(delta, export_inventory(connection))
        upsert_inventory(connection, fresh)
        queue_changes(connection, fresh)
        request_for_devices(connection, [device.id for device in fresh.devices])
    return fresh


def difference(wanted: InventoryDelta, there: InventoryDelta) -> InventoryDelta:
    """What of `wanted` is not `there` in the same form."""
    devices = {(device.site, device.id): device for device in there.devices}
    return InventoryDelta(
        areas=_differing(wanted.areas, there.areas),
        centres=_differing(wanted.centres, there.centres),
        sites=_differing(wanted.sites, there.sites),
        devices=[device for device in wanted.devices if devices.get((device.site, device.id)) != device],
    )


_Place = TypeVar("_Place", Area, Centre, Site)


def _differing(wanted: list[_Place], there: list[_Place]) -> list[_Place]:
    known = {place.id: place for place in there}
    return [place for place in wanted if known.get(place.id) != place]


def export_inventory(connection: Connection) -> InventoryDelta:
    """Everything in the database, in an order that a file can keep."""
    return load_inventory(connection)
