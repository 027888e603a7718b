"""`emberwatch check`, the broker's doors: whether somebody may come in and publish who is not known."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import msgspec

from ingest.brokerfinding import Finding, Grade
from ingest.brokerprobe import Probe, Refused
from ingest.localbroker import LocalMosquitto, is_loopback, local_mosquitto
from ingest.mqtt import BrokerAddress

_CHANGE = (
    "mosquitto: allow_anonymous false and the rest of deploy/config/mosquitto-devices.conf; elsewhere ask for names, "
    "or let the broker ask Emberwatch's HTTP hook"
)


def door_findings(address: BrokerAddress, connect: Callable[[BrokerAddress], Probe]) -> list[Finding]:
    """Doors open and closed, as far as they can be seen from here. `connect` raises as Probe does."""
    if is_loopback(address.host):
        local = local_mosquitto(address)
        return [_listeners(local)] if local else []
    return [*([] if address.tls else [_plain(address)]), _nobody(address, connect)]


def _listeners(local: LocalMosquitto) -> Finding:
    if listeners := local.open_listeners():
        seen = f"{local.path}: listener {', '.join(listeners)} lets anybody on the network in without a name"
        return Finding(grade=Grade.OPEN, about="anonymous", seen=seen, change=_CHANGE)
    seen = f"{local.path}: no listener lets the network in without a name"
    return Finding(grade=Grade.OK, about="anonymous", seen=seen)


def _nobody(address: BrokerAddress, connect: Callable[[BrokerAddress], Probe]) -> Finding:
    if what := _may_nobody(address, connect):
        seen = f"who gives no name {what} at {address}, and can play any device"
        return Finding(grade=Grade.OPEN, about="anonymous", seen=seen, change=_CHANGE)
    return Finding(grade=Grade.OK, about="anonymous", seen="who gives no name may not publish")


def _plain(address: BrokerAddress) -> Finding:
    return Finding(
        grade=Grade.NOTE,
        about="TLS",
        seen=f"we speak with {address.host} in the clear: who listens on the way learns our password and every message",
        change="mqtts:// in MQTT_URL, unless that way is private",
    )


def _may_nobody(address: BrokerAddress, connect: Callable[[BrokerAddress], Probe]) -> str:
    """What a client may do that shows nothing of who it is; "" when it may not publish."""
    nobody = msgspec.structs.replace(address, user="", password="", cert="", key="")
    try:
        probe = connect(nobody)
    except (Refused, OSError):
        return ""
    try:
        if not probe.answer.limits.get("v5"):
            return "comes in"  # MQTT 3.1.1 does not say whether a publish was refused
        taken = probe.publish(f"emberwatch/probe/{secrets.token_hex(16)}", 1, until=0.0)
        return "may publish" if taken and not probe.refusals else ""
    finally:
        probe.leave(forget=True)
