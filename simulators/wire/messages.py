"""Reports as messages of the native codec `ember-json`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from ingest.readings import iso
from ingest.topics import EmberKind, ember_topic
from simulators.tapes.tapefile import Properties
from simulators.town.report import Report

_encode = msgspec.json.Encoder().encode
#: An array has at most so many reports. The codec takes 3,000.
AT_ONCE = 500


class Outgoing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message to publish at `at` (µs). `device` is that of its (first) report."""

    at: int
    topic: str
    payload: bytes
    site: str
    device: str
    qos: int = 1
    retain: bool = False
    properties: Properties | None = None


def messages(reports: Iterable[Report]) -> Iterator[Outgoing]:
    """Reports as messages, in order.

    What a gateway's devices say at the same time is one message, and what was kept is sent in arrays; a change of a
    fire state is a message of its own, on the alarm topic.
    """
    for _, group in groupby(reports, key=_together):
        told = list(group)
        first = told[0]
        if first.online is not None:
            yield status(site=first.site, device=first.device, at=first.at, online=first.online)
        elif first.urgent or not (first.gateway or first.late):
            yield from (_single(report) for report in told)
        else:
            yield from (_array(told[start : start + AT_ONCE]) for start in range(0, len(told), AT_ONCE))


def _together(report: Report) -> tuple[object, ...]:
    """What may be one message."""
    speaker = report.gateway or report.device
    return report.at, speaker, report.urgent, report.late, report.online is not None


def _single(report: Report) -> Outgoing:
    kind = EmberKind.ALARM if report.urgent else EmberKind.TELEMETRY
    topic = ember_topic(kind=kind, site=report.site, device=report.device)
    return _outgoing(report, topic, _encode(_body(report)))


def _array(reports: list[Report]) -> Outgoing:
    first = reports[0]
    if first.gateway:
        topic = ember_topic(kind=EmberKind.GATEWAY_TELEMETRY, site=first.site)
        return _outgoing(first, topic, _encode([{"device": report.device} | _body(report) for report in reports]))
    topic = ember_topic(kind=EmberKind.TELEMETRY, site=first.site, device=first.device)
    return _outgoing(first, topic, _encode([_body(report) for report in reports]))


def _outgoing(report: Report, topic: str, payload: bytes) -> Outgoing:
    return Outgoing(at=report.at, topic=topic, payload=payload, site=report.site, device=report.device)


def _body(report: Report) -> dict[str, object]:
    return {"ts": iso(report.stated_at), "seq": report.seq, **report.values, **report.states}


def status(*, site: str, device: str, at: int, online: bool) -> Outgoing:
    """The retained status of a device or gateway."""
    topic = ember_topic(kind=EmberKind.STATUS, site=site, device=device)
    payload = b"online" if online else b"offline"
    return Outgoing(at=at, topic=topic, payload=payload, site=site, device=device, retain=True)
