"""How many wrong tokens an address may send. Holds back guessing and its cost, never somebody with a good token."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from ingest.readings import SECOND

BURST = 10  #: wrong tokens at once
REFILL = 6 * SECOND  #: then one each
ADDRESSES = 10_000  #: remembered; the one that failed longest ago is forgotten first


class Failures:
    """Wrong tokens by address, in bounded memory. An address is one IPv4 host or one IPv6 network (/64)."""

    def __init__(self) -> None:
        #: when all of an address's failures will be forgiven (µs)
        self._forgiven: OrderedDict[str, int] = OrderedDict()

    def note(self, address: str, now: int) -> None:
        """One more wrong token; more than are allowed do not add up."""
        key = _network(address)
        forgiven = max(self._forgiven.pop(key, now), now)
        self._forgiven[key] = min(forgiven, now + (BURST - 1) * REFILL) + REFILL
        if len(self._forgiven) > ADDRESSES:
            self._forgiven.popitem(last=False)

    def wait(self, address: str, now: int) -> int:
        """Seconds until this address may be wrong again; 0: now."""
        over = self._forgiven.get(_network(address), now) - (now + (BURST - 1) * REFILL)
        # more than one refill ahead means that the clock was set back: nobody waits for that
        return -(-over // SECOND) if 0 < over <= REFILL else 0

    def __len__(self) -> int:
        return len(self._forgiven)


def _network(address: str) -> str:
    try:
        host = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(host, ipaddress.IPv6Address):
        if host.ipv4_mapped:
            return str(host.ipv4_mapped)
        return str(ipaddress.ip_network((int(host), 64), strict=False))
    return address
