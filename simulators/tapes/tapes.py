"""What can be replayed: recordings of original messages, and readings files. Pure but for opening the file."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ingest.errors import OperatorError
from ingest.readings import FIRE_STATES, SECOND
from ingest.readings_file import FileRow, read_readings
from ingest.topics import EmberKind, ember_topic, valid_topic
from simulators.tapes.fields import Fields, change, date_of, like, look_up
from simulators.tapes.recording import Recorded, Recording
from simulators.tapes.times import TimeMap
from simulators.town.report import Report
from simulators.town.single import battery_fire_reports
from simulators.wire.messages import Outgoing

RAW_TOPIC = "recording/{device_id}"
FIRE_TOPIC = "recording/{site}/{device_id}"
FIRE_FIELDS = Fields(id_field="device_id", time_field="ts")
#: How much of a fire is in the mix: s before the first vapour, s after it.
FIRE_BEFORE_S, FIRE_AFTER_S = 120, 600

_FIELD = re.compile(r"\{([^{}]*)\}")
_encode = msgspec.json.Encoder().encode


class Tape(Protocol):
    """A recording that can be played again and again, in its own order."""

    def __len__(self) -> int:
        """Messages in one round; 0 when nobody has counted."""

    def span(self) -> tuple[int, int]:
        """Earliest and latest recorded time, µs."""

    def messages(self, times: TimeMap) -> Iterator[Outgoing]:
        """One round, with times as the map says."""


class Fires(msgspec.Struct, frozen=True, kw_only=True):
    """Battery fires to mix into a recording: one for each of `sites`."""

    sites: Sequence[str]
    topic: str
    seed: int

    def over(self, first: int, last: int) -> list[Recorded]:
        """Their messages in order of time, spread evenly from `first` to `last` (µs)."""
        found: list[Recorded] = []
        for number, site in enumerate(self.sites, start=1):
            start = first + (last - first) * number // (len(self.sites) + 1)
            reports = battery_fire_reports(
                site=site,
                start_at=start - start % 1000,
                prefix=f"fire-{number}",
                seed=self.seed,
                before_s=FIRE_BEFORE_S,
                after_s=FIRE_AFTER_S,
            )
            found += [_recorded(report) for report in reports if first <= report.at <= last]
        return sorted(found, key=lambda message: message.at)


def _recorded(report: Report) -> Recorded:
    """A report in the form of the iot_telemetry recording."""
    values = {"temp": "temperature", "humidity": "humidity", "smoke_dbm": "smoke"}
    data: dict[str, object] = {name: report.values[quantity] for name, quantity in values.items()}
    body = {
        "data": data | report.states,
        "device_id": report.device,
        "site": report.site,
        "ts": report.at / SECOND,
        "device": "battery_fire",
    }
    return Recorded(at=report.at, raw=_encode(body), body=body)


class RawTape:
    """Original messages, each on the topic its template makes of its fields."""

    def __init__(self, path: Path, *, topic: str, ids: dict[str, str], fields: Fields, fires: Fires) -> None:
        self._recording = Recording(path, time_field=fields.time_field)
        self._topic, self._fire_topic = topic, fires.topic
        self._ids, self._fields = ids, fields
        self._span = self._recording.span()
        self._fires = fires.over(*self._span)

    def __len__(self) -> int:
        return len(self._recording) + len(self._fires)

    def span(self) -> tuple[int, int]:
        return self._span

    def messages(self, times: TimeMap) -> Iterator[Outgoing]:
        own = ((message, self._topic, self._fields) for message in self._recording)
        fires = ((message, self._fire_topic, FIRE_FIELDS) for message in self._fires)
        for message, topic, fields in heapq.merge(own, fires, key=lambda item: item[0].at):
            yield self._outgoing(message, topic, fields, times)

    def _outgoing(self, message: Recorded, topic: str, fields: Fields, times: TimeMap) -> Outgoing:
        body, payload = message.body, message.raw
        device = str(look_up(body, fields.id_field) or "")
        renamed = device in self._ids
        if renamed:
            device = self._ids[device]
            change(body, fields.id_field, device)
        if times.changes:
            change(body, fields.time_field, like(look_up(body, fields.time_field), times.stated(message.at)))
        if times.changes or renamed:
            payload = _encode(body)
        return Outgoing(
            at=times.due(message.at),
            topic=fill(topic, body),
            payload=payload,
            site=str(body.get("site", "")),
            device=device,
        )


def fill(template: str, body: dict[str, Any]) -> str:
    """The topic of a message: `{field}` or `{data.field}` replaced; OperatorError when that gives no topic."""

    def value(found: re.Match[str]) -> str:
        field = look_up(body, found[1])
        if field is None or isinstance(field, dict | list):
            raise OperatorError(f"--topic {template}: a message has no {found[1]}; it has {', '.join(body)}")
        if any(sign in str(field) for sign in "/+#"):
            raise OperatorError(f"--topic {template}: {found[1]} is {field}, but / + # cannot be in a topic level")
        return str(field)

    topic = _FIELD.sub(value, template)
    wrong = valid_topic(topic)
    if wrong:
        raise OperatorError(f"--topic {template}: {wrong}")
    return topic


class ReadingsTape:
    """A readings file as ember-json; rows in file order."""

    def __init__(self, path: Path, *, topic: str, ids: dict[str, str]) -> None:
        self._path, self._topic, self._ids = path, topic, ids
        self._count, first, last = 0, 0, 0
        for self._count, row in enumerate(read_readings(path), start=1):
            first = row.at if self._count == 1 else min(first, row.at)
            last = row.at if self._count == 1 else max(last, row.at)
        if not self._count:
            raise OperatorError(f"{path}: no readings in it; nothing to replay")
        self._span = first, last

    def __len__(self) -> int:
        return self._count

    def span(self) -> tuple[int, int]:
        return self._span

    def messages(self, times: TimeMap) -> Iterator[Outgoing]:
        fire: dict[tuple[str, str], dict[str, bool]] = {}
        for row in read_readings(self._path):
            device = self._ids.get(row.device, row.device)
            told = fire.setdefault((row.site, device), {})
            states = {name: on for name, on in row.states.items() if name in FIRE_STATES}
            urgent = any(told.get(name, False) != on for name, on in states.items())
            told.update(states)
            yield self._outgoing(row, device, urgent, times)

    def _outgoing(self, row: FileRow, device: str, urgent: bool, times: TimeMap) -> Outgoing:
        ts = date_of(times.stated(row.at)).isoformat().removesuffix("+00:00") + "Z"
        return Outgoing(
            at=times.due(row.at),
            topic=self._topic_of(row, device, urgent),
            payload=_encode({"ts": ts, **row.values, **row.states}),
            site=row.site,
            device=device,
        )

    def _topic_of(self, row: FileRow, device: str, urgent: bool) -> str:
        if self._topic:
            return fill(self._topic, {"site": row.site, "device": device})
        try:
            kind = EmberKind.ALARM if urgent else EmberKind.TELEMETRY
            return ember_topic(kind=kind, site=row.site, device=device)
        except ValueError as error:
            raise OperatorError(f"{self._path}:{row.line}: {error}; rename it, devices with --id-map") from None
