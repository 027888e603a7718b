"""The messages of a load as ready packets: a matrix of bytes, in which what differs is written by columns. Pure.

Numbers have as many digits in all messages of a form, so that all its packets are equally long.
"""

from __future__ import annotations

import numpy as np

from ingest.topics import EmberKind, ember_topic
from simulators.load.fleet import FIRST_SEQ, OPENING, VARIANTS, Fleet, Numbers, tails
from simulators.wire.packets import publish_head
from simulators.wire.raw import Rows

#: A time with as many digits as any of ours, in ms.
_SOME_TS = 1_700_000_000_000
_FOURS = np.frombuffer(b"".join(b"%04d" % number for number in range(10_000)), np.uint8).reshape(-1, 4)


class Form:
    """The readings of a fleet: one of each device, or those of a gateway's devices together in an array."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self._fleet = fleet
        self._tails = np.frombuffer(b"".join(tails(seed)), np.uint8).reshape(VARIANTS, -1)
        opening = OPENING % (_SOME_TS, FIRST_SEQ)
        if fleet.gateways:
            topic = ember_topic(kind=EmberKind.GATEWAY_TELEMETRY, site=fleet.site(0))
            opening = b'{"device":"%s",' % fleet.device(0).encode() + opening[1:]
        else:
            topic = ember_topic(kind=EmberKind.TELEMETRY, site=fleet.site(0), device=fleet.device(0))
        self._reading = _row(opening + self._tails[0].tobytes() + b"," * fleet.gateways)
        self._ts, self._seq, self._tail = opening.index(b"1700"), opening.index(b"1000"), len(opening)
        self._before = int(fleet.gateways)  # the bracket
        size = self._before + self._fleet.together * self._reading.shape[1]
        self._heads = self._made_heads(publish_head(topic=topic, payload_size=size))
        self.payload_at = self._heads.shape[1] + 2  #: the column at which payloads begin
        self.topic = slice(self._heads.shape[1] - len(topic), self._heads.shape[1])  #: the columns of topics
        self._length = self.payload_at + size

    def rows(self, *, speakers: Numbers, turns: Numbers, ids: Numbers, ts: int) -> Rows:
        """One packet a row: what these say in these turns, with these packet ids, at `ts` (ms)."""
        rows = np.empty((len(speakers), self._length), np.uint8)
        rows[:, : self.payload_at - 2] = self._heads[speakers]
        rows[:, self.payload_at - 2 : self.payload_at] = ids.astype(">u2").view(np.uint8).reshape(-1, 2)
        if self._fleet.gateways:
            self._fill_arrays(rows, speakers, turns, ts)
        else:
            self._fill(rows[:, self.payload_at :], speakers, turns, ts)
        return rows

    def _fill_arrays(self, rows: Rows, gateways: Numbers, turns: Numbers, ts: int) -> None:
        devices = (gateways[:, None] + self._fleet.sites * np.arange(self._fleet.together)).ravel()
        readings = np.empty((len(devices), self._reading.shape[1]), np.uint8)
        self._fill(readings, devices, np.repeat(turns, self._fleet.together), ts)
        _put(readings[:, self._reading.tobytes().index(b"load-d") + 6 :][:, :7], devices + 1)
        rows[:, self.payload_at] = ord("[")
        rows[:, self.payload_at + 1 :] = readings.reshape(len(rows), -1)
        rows[:, -1] = ord("]")

    def _fill(self, readings: Rows, devices: Numbers, turns: Numbers, ts: int) -> None:
        readings[:, : self._tail] = self._reading[:, : self._tail]
        readings[:, self._ts : self._ts + 13] = np.frombuffer(b"%013d" % ts, np.uint8)
        _put(readings[:, self._seq : self._seq + 9], FIRST_SEQ + turns)
        readings[:, self._tail : self._tail + self._tails.shape[1]] = self._tails[(turns + devices) % VARIANTS]
        readings[:, self._tail + self._tails.shape[1] :] = ord(",")

    def _made_heads(self, head: bytes) -> Rows:
        """The packet of each speaker, up to its packet id."""
        speakers = np.arange(self._fleet.speakers)
        heads = np.repeat(_row(head), len(speakers), axis=0)
        site = head.index(b"load-s") + len(b"load-s")
        _put(heads[:, site : site + 5], speakers % self._fleet.sites + 1)
        if not self._fleet.gateways:
            device = head.index(b"load-d") + len(b"load-d")
            _put(heads[:, device : device + 7], speakers + 1)
        return heads


class FireForm:
    """The first device of a site says fire, on its alarm topic and without seq, as buttons and panels do."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def row(self, *, site: int, packet_id: int, ts: int) -> tuple[str, bytes, Rows]:
        """Topic, payload and packet of the fire at site `site`, from 0."""
        topic = ember_topic(kind=EmberKind.ALARM, site=self._fleet.site(site), device=self._fleet.device(site))
        payload = b'{"ts":%d,"smoke_alarm":true}' % ts
        head = publish_head(topic=topic, payload_size=len(payload))
        return topic, payload, _row(head + packet_id.to_bytes(2, "big") + payload)


def _row(packet: bytes) -> Rows:
    """Writable: some versions of numpy send no read-only memory."""
    return np.array([np.frombuffer(packet, np.uint8)])


def _put(columns: Rows, numbers: Numbers) -> None:
    """Write numbers with as many digits as there are columns."""
    for end in range(columns.shape[1], 0, -4):
        rest = numbers // 10_000
        first = max(0, end - 4)
        columns[:, first:end] = _FOURS[numbers - rest * 10_000][:, first - end :]
        numbers = rest
