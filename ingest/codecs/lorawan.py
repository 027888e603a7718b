"""What the uplinks of LoRaWAN servers have in common: whatever the server decoded, else the frame's bytes. Pure."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from ingest.codecs.contract import Decoded
from ingest.codecs.frames import FRAMES, frame_named
from ingest.codecs.frames.contract import ALIVE, Report, checked, observation
from ingest.codecs.json_text import shown
from ingest.codecs.lorawan_object import reports_of
from ingest.codecs.naming import placed
from ingest.errors import Undecodable
from ingest.readings import Micros, Observation

if TYPE_CHECKING:
    from ingest.sources import Source

NOTHING = Decoded()
#: Ports of LoRaWAN itself: 0 carries commands of the network, from 200 on clock, multicast, fragments and tests.
_FIRST_OWN, _FIRST_RESERVED = 1, 200
_LAST_SEQ = 2**63 - 1
_SIMULATED = Report(states={"test": True})


class Uplink(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One uplink as its server's envelope tells it, values of the payload still unjudged."""

    device: str
    names: tuple[object, ...] = ()  #: of the device profile and the device: what product it is
    time: Micros | None = None
    seq: object = None  #: the frame counter
    port: object = None
    data: object = None  #: the frame, base64
    data_path: str = "$"
    tree: object = None  #: what the server decoded
    tree_path: str = "$"
    spare: object = None  #: what the server says in a form of its own, for when nothing else says anything
    rssi: float | None = None  #: at the gateway that heard it best
    battery: float | None = None  #: % as the server remembers it
    simulated: bool = False


def decoded(uplink: Uplink, source: Source, topic: str, envelope: object) -> Decoded:
    """The observations of an uplink: now, and what the device had stored."""
    site, device = placed(source, topic, envelope, uplink.device)
    reports = (_SIMULATED,) if uplink.simulated else _reports(uplink, source)
    now = [report for report in reports if not report.historical] or [Report()]
    return Decoded(
        observations=(
            *(_now(report, uplink, site, device) for report in now),
            *(observation(report, site, device) for report in reports if report.historical),
        )
    )


def alive(source: Source, topic: str, envelope: object, device: str, time: Micros | None) -> Decoded:
    """A device that only shows that it lives, such as by joining."""
    site, device = placed(source, topic, envelope, device)
    return Decoded(observations=(Observation(device=device, site=site, observed_at=time, states=dict(ALIVE)),))


def best_rssi(gateways: object) -> float | None:
    """dBm at the gateway that received an uplink best; None where none says."""
    heard = (gateway.get("rssi") for gateway in _objects(gateways))
    return max(
        (float(dbm) for dbm in heard if (type(dbm) is int or type(dbm) is float) and abs(dbm) < 1000), default=None
    )


def percent(value: object) -> float | None:
    """A battery's charge; None for what is no number from 0 to 100."""
    return float(value) if (type(value) is int or type(value) is float) and 0 <= value <= 100 else None


def first_time(gateways: object) -> object:
    """What the first gateway that states a time says."""
    return next((gateway["time"] for gateway in _objects(gateways) if gateway.get("time")), None)


def _objects(items: object) -> Iterable[dict[str, object]]:
    return (item for item in items if type(item) is dict) if type(items) is list else ()


def _reports(uplink: Uplink, source: Source) -> tuple[Report, ...]:
    """What the server decoded counts; the bytes only where it says nothing that we know."""
    reports = reports_of(uplink.tree, uplink.tree_path, source)
    frame = "" if reports else _frame(uplink, source)
    return _read(uplink, frame) if frame else reports or reports_of(uplink.spare, uplink.tree_path, source)


def _frame(uplink: Uplink, source: Source) -> str:
    """The name of the frame in this uplink; "" where it carries none, or one of nobody knows what."""
    if not uplink.data or not _FIRST_OWN <= _port(uplink) < _FIRST_RESERVED:
        return ""
    if source.frame:
        return source.frame
    return next((found for name in uplink.names if type(name) is str and (found := frame_named(name))), "")


def _read(uplink: Uplink, frame: str) -> tuple[Report, ...]:
    read = FRAMES.get(frame)
    if read is None:
        raise Undecodable(f"frame {shown(frame)} of the source is not known; known: {', '.join(FRAMES)}")
    data = _bytes(uplink)
    try:
        return checked(read, data, _port(uplink))
    except Undecodable as error:
        raise Undecodable(f"{uplink.data_path}: as {frame}: {error}") from None


def _port(uplink: Uplink) -> int:
    """The LoRaWAN port; an envelope without one is believed to carry what the device itself sent."""
    port = uplink.port
    return port if type(port) is int else _FIRST_OWN


def _bytes(uplink: Uplink) -> bytes:
    data = uplink.data
    try:
        if type(data) is str:
            return binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        pass
    raise Undecodable(f"{uplink.data_path}: {shown(data)} is not base64")


def _now(report: Report, uplink: Uplink, site: str | None, device: str) -> Observation:
    states = report.states
    if not (report.values or states):
        states = dict(ALIVE)
    values = dict(report.values)
    if uplink.rssi is not None:
        values["rssi"] = uplink.rssi
    if uplink.battery is not None:
        values.setdefault("battery", uplink.battery)
    seq = uplink.seq
    return Observation(
        device=device,
        site=site,
        observed_at=report.at if uplink.time is None else uplink.time,
        seq=seq if type(seq) is int and 0 <= seq <= _LAST_SEQ else None,
        values=values,
        states=states,
    )
