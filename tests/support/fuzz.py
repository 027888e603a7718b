"""One family of payloads under fire: golden conversations with most messages changed, told to a codec or to admit.

What counts as a finding: any exception but Undecodable, an answer that breaks a codec's promises, more than LIMIT_MS
of CPU for one payload (the best of three more tries, because a busy machine adds some), a memory that a checkpoint
cannot carry or that outgrows its bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import msgspec

from ingest.admission import Outcome, Reason
from ingest.admit import admit
from ingest.codecs import CODECS
from ingest.codecs.contract import CodecMemory
from ingest.codecs.gb26875_frame import END, HEAD, START, TAIL, checksum
from ingest.errors import Undecodable
from ingest.inventory import Inventory
from ingest.journal import Record
from ingest.memory import Memory
from ingest.message import Kind, Message, encode
from ingest.sources import Sources
from tests.support.letters import UPLINK, Conversation, Letter, conversations, enveloped
from tests.support.mutation import ODD, Words, mutated
from tests.support.promises import check_decoded, check_memory, check_reason

LIMIT_MS = 50.0
#: On the wall: worth three more tries on the clock of the CPU, which is too dear to ask each time.
_LOOK_AGAIN_MS = 5.0
_CHECKPOINT = 1_000  #: messages from one checkpoint to the next
#: Of one codec's memory, encoded: a shard's checkpoint carries some dozen of them.
MEMORY_LIMIT = 32 * 1024 * 1024
_ADMITTED = 0.25  #: the share of conversations that goes through admit


Clock = Callable[[], int]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A payload that breaks a promise, with what is needed to see it again."""

    family: str
    what: str
    letter: Letter
    memory: bytes  #: the codec's memory as of the last checkpoint
    admitted: bool


class Tally(msgspec.Struct, kw_only=True):
    """What one family's run comes to."""

    family: str
    payloads: int = 0
    decoded: int = 0
    slowest_ms: float = 0.0
    memory_bytes: int = 0  #: the largest checkpoint of the codec's memory
    slowest: bytes = b""
    findings: list[Finding] = []


class Trial:
    """Tells one family what devices might say, and watches."""

    def __init__(self, family: str, seed: int) -> None:
        self.tally = Tally(family=family, findings=[])
        self.conversations = conversations(family)
        self.words = Words.of(letter.payload for told in self.conversations for letter in told)
        self._codec = "chirpstack" if family.startswith(UPLINK) else family
        self._wrap = enveloped if family.startswith(UPLINK) else bytes
        self._mend = _MENDS.get(family.removeprefix(UPLINK), _as_it_is)
        self._random = Random(f"{family} {seed}")
        self.begin_life()

    def begin_life(self) -> None:
        """As after a start without a checkpoint."""
        self._memory: CodecMemory = {}
        self._checkpoint = b"\x80"
        self._desks: dict[int, Memory] = {}
        self._told = 0

    def run(self, payloads: int) -> None:
        """Tell conversations until this many more changed payloads were heard."""
        until = self.tally.payloads + payloads
        while self.tally.payloads < until and len(self.tally.findings) < 20:
            number = int(self._random.random() * len(self.conversations))
            desk = self._desk(number) if self._random.random() < _ADMITTED else None
            self._converse(self.conversations[number], desk)

    def _converse(self, conversation: Conversation, desk: Memory | None) -> None:
        for letter in conversation:
            change = len(conversation) == 1 or self._random.random() < 0.8
            self.hear(self.changed(letter) if change else letter, desk, counts=change)

    def changed(self, letter: Letter) -> Letter:
        """The letter with a changed payload, seldom another topic, content type or property."""
        random = self._random
        payload = self.mended(mutated(random, letter.payload, self.words))
        topic, properties, kind = letter.topic, letter.properties, letter.content_type
        if random.random() < 0.06:
            topic = _other_topic(random, topic)
        if properties and random.random() < 0.2:
            properties = {**properties, random.choice(list(properties)): random.choice(_TEXTS)}
        if kind and random.random() < 0.1:
            kind = random.choice(_TEXTS)
        return Letter(topic=topic, payload=payload, source=letter.source, properties=properties, content_type=kind)

    def mended(self, payload: bytes) -> bytes:
        """With lengths and sums put right, mostly, where the format has some."""
        return self._mend(self._random, payload)

    def hear(self, letter: Letter, desk: Memory | None, *, counts: bool) -> None:
        """One message, watched."""
        self._told += 1
        letter = msgspec.structs.replace(letter, payload=self._wrap(letter.payload))
        try:
            took, understood = self._admit(letter, desk) if desk is not None else self._decode(letter, self._memory)
            if took > _LOOK_AGAIN_MS and took > self.tally.slowest_ms:
                self._look_again(letter, desk is not None)
            if self._told % _CHECKPOINT == 0:
                self._take_checkpoint()
        except Exception as error:
            self._note(letter, f"{type(error).__name__}: {error}"[:300], desk is not None)
            understood = False
        self.tally.payloads += counts
        self.tally.decoded += counts and understood

    def _decode(self, letter: Letter, memory: CodecMemory, clock: Clock = time.perf_counter_ns) -> tuple[float, bool]:
        """Milliseconds by this clock, and whether it could be decoded."""
        message = _message(letter)
        decode = CODECS[self._codec]
        began = clock()
        try:
            found = decode(message, letter.payload, letter.source, memory)
        except Undecodable as error:
            took = clock() - began
            check_reason(str(error))
            return took / 1e6, False
        took = clock() - began
        check_decoded(found)
        return took / 1e6, True

    def _admit(self, letter: Letter, desk: Memory, clock: Clock = time.perf_counter_ns) -> tuple[float, bool]:
        record = Record(0, 0, int(Kind.MESSAGE), encode(_message(letter)), letter.payload)
        began = clock()
        said = admit(record, desk)
        took = clock() - began
        assert said.detail.isprintable() and len(said.detail) < 1200, f"the detail is {said.detail!r}"
        assert bool(said.readings) == (said.outcome is Outcome.STORED)
        return took / 1e6, said.reason not in (Reason.UNDECODABLE, Reason.OVERSIZE)

    def _look_again(self, letter: Letter, admitted: bool) -> None:
        """The best of three more tries from the last checkpoint: what else ran on the core does not count."""
        best = min(self._again(letter, admitted) for _ in range(3))
        if best > self.tally.slowest_ms:
            self.tally.slowest_ms, self.tally.slowest = best, letter.payload
        if best > LIMIT_MS:
            self._note(letter, f"{best:.0f} ms of CPU", admitted)

    def _again(self, letter: Letter, admitted: bool) -> float:
        if admitted:
            return self._admit(letter, _desk((letter,)), time.thread_time_ns)[0]
        return self._decode(letter, msgspec.msgpack.decode(self._checkpoint), time.thread_time_ns)[0]

    def _take_checkpoint(self) -> None:
        self._checkpoint = check_memory(self._memory)
        size = len(self._checkpoint)
        self.tally.memory_bytes = max(self.tally.memory_bytes, size)
        assert size < MEMORY_LIMIT, f"the codec remembers {size} bytes"
        for desk in list(self._desks.values())[:1]:
            assert Memory.load(desk.dump()).dump() == desk.dump(), "admit's memory is another one after a checkpoint"

    def _note(self, letter: Letter, what: str, admitted: bool) -> None:
        finding = Finding(
            family=self.tally.family, what=what, letter=letter, memory=self._checkpoint, admitted=admitted
        )
        self.tally.findings.append(finding)

    def _desk(self, number: int) -> Memory:
        if number not in self._desks:
            self._desks[number] = _desk(self.conversations[number])
        return self._desks[number]


def see_again(finding: Finding) -> str:
    """What is wrong with this payload now; "" when nothing is."""
    trial = Trial(finding.family, 0)
    trial._wrap = bytes
    trial._checkpoint = finding.memory
    trial._memory = msgspec.msgpack.decode(finding.memory)
    trial.hear(finding.letter, _desk((finding.letter,)) if finding.admitted else None, counts=True)
    return trial.tally.findings[0].what if trial.tally.findings else ""


def _desk(conversation: Conversation) -> Memory:
    """admit's memory for these sources, which enrol whom they do not know: else few would get past the inventory."""
    sources = {
        letter.source.filter: msgspec.structs.replace(
            letter.source, enrol=True, site="shed" if letter.source.site in ("", "inventory") else letter.source.site
        )
        for letter in conversation
    }
    return Memory(Sources(sources=tuple(sources.values()), text=""), Inventory())


def _message(letter: Letter) -> Message:
    return Message(
        topic=letter.topic,
        source=letter.source.filter,
        received_at=0,
        properties=letter.properties,
        content_type=letter.content_type,
    )


_TEXTS = [text for text in ODD if isinstance(text, str)]


def _other_topic(random: Random, topic: str) -> str:
    levels = topic.split("/")
    at = int(random.random() * len(levels))
    levels[at : at + int(random.random() * 2)] = [random.choice([*_TEXTS, *levels, "x" * 600, "a/b", "$state"])]
    return "/".join(levels).replace("+", "-").replace("#", "-") or "-"


def _as_it_is(random: Random, payload: bytes) -> bytes:
    return payload


def _panel_frame(random: Random, payload: bytes) -> bytes:
    """Mostly with its length, end and sum put right: else little gets past them."""
    if not payload.startswith(START) or len(payload) < HEAD + TAIL or random.random() < 0.2 or payload.count(START) > 1:
        return payload
    unit = payload[HEAD:-TAIL]
    summed = payload[2 : HEAD - 3] + len(unit).to_bytes(4, "little")[:2] + payload[HEAD - 1 : HEAD] + unit
    return START + summed + bytes((checksum(summed),)) + END


def _summed_frame(random: Random, payload: bytes) -> bytes:
    """A GS524N's frame, mostly with its last byte making the sum 0."""
    if not payload or random.random() < 0.2:
        return payload
    return payload[:-1] + bytes((-sum(payload[:-1]) % 256,))


_MENDS: dict[str, Callable[[Random, bytes], bytes]] = {"gb26875": _panel_frame, "milesight-gs524n": _summed_frame}
