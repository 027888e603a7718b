"""The devices of a load, and their messages encoded beforehand. Pure but for the inventory file."""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ingest.errors import OperatorError
from ingest.topics import EmberKind, ember_topic
from simulators.town.inventory import HEADER
from simulators.wire.packets import publish_head

#: The first seq, so that all have as many digits.
FIRST_SEQ = 100_000_000
#: Different readings of one device, sent in turn.
VARIANTS = 8
OPENING = b'{"ts":%d,"seq":%d'


class Template(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The message of one device, but for packet id, time, seq and reading."""

    device: str
    topic: str
    head: bytes


#: What to send: template, reading, seq.
Planned = tuple[Template, bytes, int]


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The devices of a load, spread evenly over its sites."""

    devices: int
    sites: int

    def site(self, number: int) -> str:
        """The site of device `number`, from 0."""
        return f"load-s{number % self.sites + 1:05d}"

    def device(self, number: int) -> str:
        """The id of device `number`."""
        return f"load-d{number + 1:07d}"

    def messages(self, share: int, shares: int, seed: int) -> Iterator[Planned]:
        """Without end: the messages of every device of one of `shares` shares, each device in its turn.

        A device belongs to one share, so that its messages stay in order on one connection.
        """
        endings = tails(seed)
        size = len(OPENING % (1_700_000_000_000, FIRST_SEQ)) + len(endings[0])
        templates = [self._template(number, size) for number in range(share, self.devices, shares)]
        for turn in itertools.count():
            for number, template in enumerate(templates):
                yield template, endings[(turn + number) % VARIANTS], FIRST_SEQ + turn

    def _template(self, number: int, payload_size: int) -> Template:
        device = self.device(number)
        topic = ember_topic(kind=EmberKind.TELEMETRY, site=self.site(number), device=device)
        return Template(device=device, topic=topic, head=publish_head(topic=topic, payload_size=payload_size))


def write_inventory(path: str, fleet: Fleet) -> None:
    """What `emberwatch inventory import` reads, for all devices of the load."""
    try:
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER.split(","))
            writer.writerow(("area", "load", "", "load test", "", "", "", "", "", ""))
            writer.writerow(("centre", "load-centre", "load", "load test", "", "", "", "", "", ""))
            for number in range(fleet.sites):
                writer.writerow(("site", fleet.site(number), "load", "", "", "", "", "", "", ""))
            for number in range(fleet.devices):
                row = (fleet.device(number), fleet.site(number), "", "smoke_heat_head")
                writer.writerow(("device", *row, "", "", "60", "", ""))
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise OperatorError(f"--inventory {path}: {what}; name a file to write to") from None


def tails(seed: int) -> list[bytes]:
    """The readings sent in turn, all of one length."""
    chance = random.Random(f"load/{seed}")
    return [
        b',"temperature":%.1f,"humidity":%.1f,"smoke":%.3f,"smoke_alarm":false}'
        % (chance.uniform(15, 35), chance.uniform(40, 80), chance.uniform(0, 0.02))
        for _ in range(VARIANTS)
    ]
