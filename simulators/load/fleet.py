"""The devices of a load: who they are, whose turn it is, and their inventory. Pure but for the inventory file."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from simulators.options import os_errors
from simulators.town.inventory import HEADER

#: The first seq, so that all have as many digits.
FIRST_SEQ = 100_000_000
#: Different readings of one device, sent in turn.
VARIANTS = 8
OPENING = b'{"ts":%d,"seq":%d'
#: Numbers in ids are so wide, so that all messages of a kind are equally long.
MOST_SITES, MOST_DEVICES = 99_999, 9_999_999
#: So many devices in a row share a connection, so that what is due at once goes out over few of many connections.
NEIGHBOURS = 16

Numbers = npt.NDArray[np.int64]


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The devices of a load, spread evenly over its sites.

    `gateways`: each site has one, which speaks for all there.
    """

    devices: int
    sites: int
    gateways: bool = False

    @property
    def speakers(self) -> int:
        """How many publish for themselves: gateways or devices; gateway `n` stands at site `n`."""
        return self.sites if self.gateways else self.devices

    @property
    def together(self) -> int:
        """How many readings are in a message."""
        return self.devices // self.sites if self.gateways else 1

    def site(self, number: int) -> str:
        """The site of device `number`, from 0."""
        return f"load-s{number % self.sites + 1:05d}"

    def device(self, number: int) -> str:
        """The id of device `number`."""
        return f"load-d{number + 1:07d}"

    def gateway(self, number: int) -> str:
        """The id of the gateway of device `number`."""
        return f"load-g{number % self.sites + 1:05d}"


class Turns:
    """Whose turn it is on which connection. All speakers take turns, and each has one connection, so that its messages
    stay in order.
    """

    def __init__(self, speakers: int, connections: int) -> None:
        """At most as many connections as speakers."""
        self._speakers = speakers
        self._row = max(1, min(NEIGHBOURS, speakers // connections))
        self._round = self._row * connections
        self._first = np.arange(connections) * self._row  # of a round, for each connection
        self.sizes = self._among(speakers)  #: how many speakers each connection has

    def due(self, total: int) -> Numbers:
        """How many of the first `total` messages each connection sends."""
        turns, rest = divmod(total, self._speakers)
        return turns * self.sizes + self._among(rest)

    def whose(self, connections: Numbers, positions: Numbers) -> tuple[Numbers, Numbers]:
        """Who sends the messages at these positions of these connections, and in which turn, from 0."""
        turns, places = np.divmod(positions, self.sizes[connections])
        rounds, within = np.divmod(places, self._row)
        return rounds * self._round + self._first[connections] + within, turns

    def numbers(self, speakers: Numbers, turns: Numbers) -> Numbers:
        """Which messages of all these are, from 0."""
        return turns * self._speakers + speakers

    def connection(self, speaker: int) -> int:
        """Over which one this speaker's messages go."""
        return speaker % self._round // self._row

    def _among(self, first: int) -> Numbers:
        rounds, rest = divmod(first, self._round)
        return rounds * self._row + np.clip(rest - self._first, 0, self._row)


def write_inventory(path: str, fleet: Fleet) -> None:
    """What `emberwatch inventory import` reads, for all devices of the load."""
    with (
        os_errors(f"--inventory {path}", "name a file to write to"),
        Path(path).open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER.split(","))
        writer.writerow(("area", "load", "", "load test", "", "", "", "", "", ""))
        writer.writerow(("centre", "load-centre", "load", "load test", "", "", "", "", "", ""))
        for number in range(fleet.sites):
            writer.writerow(("site", fleet.site(number), "load", "", "", "", "", "", "", ""))
        writer.writerows(_device_rows(fleet))


def _device_rows(fleet: Fleet) -> Iterator[tuple[str, ...]]:
    for number in range(fleet.sites if fleet.gateways else 0):
        yield "device", fleet.gateway(number), fleet.site(number), "", "gateway", "", "", "", "", ""
    for number in tqdm(range(fleet.devices), desc="inventory", unit=" devices", disable=None, leave=False):
        parent = fleet.gateway(number) if fleet.gateways else fleet.site(number)
        yield "device", fleet.device(number), parent, "", "smoke_heat_head", "", "", "60", "", ""


def tails(seed: int) -> list[bytes]:
    """The readings sent in turn, all of one length. They differ by less than any rule minds, however fast they come."""
    chance = random.Random(f"load/{seed}")
    usual_c = chance.uniform(15, 35)
    return [
        b',"temperature":%.1f,"humidity":%.1f,"smoke":%.3f,"smoke_alarm":false}'
        % (usual_c + chance.uniform(-0.5, 0.5), chance.uniform(40, 80), chance.uniform(0, 0.02))
        for _ in range(VARIANTS)
    ]
