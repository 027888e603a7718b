"""What a source is: a topic filter that is taken in, by which codec, into which shard. Pure words.

sources.yaml is read by ingest/sources_file.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from fnmatch import translate

import msgspec


class Clock(StrEnum):
    """Whose clock a shard runs on."""

    RECEIVED = "received"  #: log time; device time is trusted within a bound
    OBSERVED = "observed"  #: a recording: the log clock follows the feed


PUSH = "push"  #: first level of the topics of what platforms push to the API
#: Readings. A head reports once a minute and a charging pile once a second; a device that says fifty things a second
#: all the time is half a percent of a district's load. A gateway may bring a tenth of that load.
DEVICE_PER_MINUTE = 3_000
GATEWAY_PER_MINUTE = 60_000

#: First levels of the topics of what reaches us without a broker: the fire panels' transmitters that our own server
#: listens to, and what is pushed. Nothing below them is subscribed to, so nobody can send it by MQTT.
OWN_SERVERS = frozenset({"gb26875", PUSH})


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of sources.yaml. `site`, `device` and `gateway` say how they are found: see
    deploy/config/sources.yaml."""

    filter: str
    codec: str
    shard: str = ""  #: filled by the loader: "main", or "recording" for clock: observed, where none is named
    urgent: bool = False
    clock: Clock = Clock.RECEIVED
    enrol: bool | tuple[str, ...] = False  #: all unknown devices, none, or those on this allow-list
    site: str = ""
    device: str = ""
    time: str = ""
    zone: str = "UTC"  #: for device times that state no zone
    fields: dict[str, str | None] = {}
    gateway: str = ""  #: the gateway that speaks on the topic; "" = the topic tells of none
    rate_per_minute: int = DEVICE_PER_MINUTE  #: readings of one device; 0 = no limit
    gateway_rate_per_minute: int = GATEWAY_PER_MINUTE  #: of all devices behind one gateway
    frame: str = ""  #: device frames inside LoRaWAN uplinks: the codec's name, "" = by the device profile's name
    secret_file: str = ""  #: of push/NAME: what the platform proves itself with; read by the API, never by the log

    @property
    def pushed(self) -> str:
        """The name it has in `POST /api/v1/push/{source}`; "" for one that is not pushed."""
        first, _, name = self.filter.partition("/")
        return name if first == PUSH else ""

    @property
    def by_broker(self) -> bool:
        """Whether a broker hands it to us."""
        return self.filter.partition("/")[0] not in OWN_SERVERS


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """All sources; `text` is the YAML they came from, which the log carries as Kind.SOURCES."""

    sources: tuple[Source, ...]
    text: str

    def shards(self) -> dict[str, Clock]:
        """Every shard named, with its one clock."""
        return {source.shard: source.clock for source in self.sources}

    def of(self, shard: str) -> tuple[Source, ...]:
        """The sources of one shard, in the order of the file."""
        return tuple(source for source in self.sources if source.shard == shard)


def allow_list(enrol: bool | tuple[str, ...]) -> Callable[[str, str], bool] | None:
    """Whether an unknown device (site, id) may register itself; None where none may.

    A pattern with a slash is compared with `site/id`, one without with the id alone; `*`, `?` and `[…]` as in file
    names, but `*` also stands for slashes, and letters count as they are written.
    """
    if isinstance(enrol, bool):
        return (lambda site, device: True) if enrol else None
    placed, plain = _any([each for each in enrol if "/" in each]), _any([each for each in enrol if "/" not in each])
    return lambda site, device: bool(plain(device) or placed(f"{site}/{device}"))


def _any(patterns: list[str]) -> Callable[[str], object]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)").match
