"""What answers to brokers need of the inventory, in memory: a district's devices in some 130 MB. No database, no clock.

A plain head is one entry, its name and the digest of its secret; only gateways and devices with filters of their own
are kept as devices.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import msgspec

from ingest.credentials import CERTIFICATE, NONE, secret_digest
from ingest.inventory import Device, DeviceClass, InventoryDelta
from ingest.permissions import Action, Permission, permission, user_name
from ingest.topics import parse_ember

#: What stands in the index for a device without a secret, in place of the 32 bytes of a digest.
NO_SECRET, BY_CERTIFICATE = b"", b"cert"

_OWN = tuple(action.value for action in Action)  #: the attributes that are filters of its own


class BrokerIndex:
    """Devices by their user name at the broker, SITE/DEVICE. Changed by one thread, asked by another."""

    def __init__(self, devices: Iterable[Device] = ()) -> None:
        self._credentials: dict[str, bytes] = {}
        self._gateways: dict[str, str] = {}  #: id of the gateway it speaks through, at the same site
        self._special: dict[str, Device] = {}
        for device in devices:
            self._keep(device)

    def __len__(self) -> int:
        return len(self._credentials)

    def apply(self, delta: InventoryDelta) -> None:
        """Take over a change of the inventory; the same one twice changes nothing."""
        for key in delta.removed_devices:
            for held in (self._credentials, self._gateways, self._special):
                held.pop(key, None)
        for device in delta.devices:
            self._keep(device)

    def credential(self, user: str) -> bytes | None:
        """The SHA-256 of the device's secret, NO_SECRET or BY_CERTIFICATE; None for a user that is no device."""
        return self._credentials.get(user)

    def device(self, user: str) -> Device | None:
        """The device of this name, with as much of it as permissions depend on."""
        if (special := self._special.get(user)) is not None:
            return special
        return self._plain(user) if user in self._credentials else None

    def permission(self, device: Device, topic: str) -> Permission:
        """What this device may do, as far as it matters for this topic: a gateway speaks for hundreds, the topic
        names one of them."""
        named = parse_ember(topic)
        child = f"{named.site}/{named.device}" if named else ""
        return permission(device, (self._plain(child),) if child in self._gateways else ())

    def devices(self) -> Iterator[Device]:
        """Everything in it, as devices that make the same index."""
        for user, credential in self._credentials.items():
            device = self._special.get(user) or self._plain(user)
            yield msgspec.structs.replace(device, credential=_text(credential))

    def _plain(self, user: str) -> Device:
        site, _, id = user.partition("/")
        return Device(site=site, id=id, gateway=self._gateways.get(user, ""))

    def _keep(self, device: Device) -> None:
        user = user_name(device)
        self._credentials[user] = _bytes(device.credential)
        if device.gateway:
            self._gateways[user] = sys.intern(device.gateway)  # many have the same
        else:
            self._gateways.pop(user, None)
        filters = {name: device.attributes[name] for name in _OWN if name in device.attributes}
        if filters or device.device_class is DeviceClass.GATEWAY:
            self._special[user] = Device(
                id=device.id,
                site=device.site,
                gateway=device.gateway,
                device_class=device.device_class,
                attributes=filters,
            )
        else:
            self._special.pop(user, None)


def _bytes(credential: str) -> bytes:
    return secret_digest(credential) or (BY_CERTIFICATE if credential == CERTIFICATE else NO_SECRET)


def _text(credential: bytes) -> str:
    if credential in (NO_SECRET, BY_CERTIFICATE):
        return CERTIFICATE if credential else NONE
    return f"sha256:{credential.hex()}"
