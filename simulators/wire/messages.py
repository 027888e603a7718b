"""Reports as messages of the native codec `ember-json`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from ingest.readings import iso
from ingest.topics import EmberKind, ember_topic
from simulators.town.heads import Report

_encode = msgspec.json.Encoder().encode


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One message to publish. `device`, `seq` and `ts` are those of its (first) report."""

    at: int
    topic: str
    payload: bytes
    site: str
    device: str
    seq: int | None = None
    ts: str | int | float | None = None
    retain: bool = False


def messages(reports: Iterable[Report], gateways: dict[str, str]) -> Iterator[Outgoing]:
    """Reports as messages, in order. `gateways`: site → gateway that speaks for its heads, those sites alone.

    What a gateway's devices say at the same time is one message; a change of a fire state is a message of its own,
    on the alarm topic.
    """
    for (_, site, urgent), group in groupby(reports, key=lambda report: (report.at, report.site, report.urgent)):
        if urgent or site not in gateways:
            yield from (_single(report) for report in group)
        else:
            yield _together(list(group))


def _single(report: Report) -> Outgoing:
    kind = EmberKind.ALARM if report.urgent else EmberKind.TELEMETRY
    topic = ember_topic(kind=kind, site=report.site, device=report.device)
    return _outgoing(report, topic, _encode(_body(report)))


def _together(reports: list[Report]) -> Outgoing:
    topic = ember_topic(kind=EmberKind.GATEWAY_TELEMETRY, site=reports[0].site)
    return _outgoing(reports[0], topic, _encode([{"device": report.device} | _body(report) for report in reports]))


def _outgoing(report: Report, topic: str, payload: bytes) -> Outgoing:
    return Outgoing(
        at=report.at,
        topic=topic,
        payload=payload,
        site=report.site,
        device=report.device,
        seq=report.seq,
        ts=iso(report.at),
    )


def _body(report: Report) -> dict[str, object]:
    return {"ts": iso(report.at), "seq": report.seq, **report.values, **report.states}


def status(*, site: str, device: str, at: int, online: bool) -> Outgoing:
    """The retained status of a device or gateway."""
    topic = ember_topic(kind=EmberKind.STATUS, site=site, device=device)
    payload = b"online" if online else b"offline"
    return Outgoing(at=at, topic=topic, payload=payload, site=site, device=device, retain=True)
