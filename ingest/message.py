"""What the log's `messages` stream carries: raw messages and control records, with their encoding. Pure.

A record of the log has a `kind`, a log time, `meta` (its headers) and `value` (its body, the raw payload for a
message). On Kafka, kind and meta become record headers and value the record's value; nothing else changes.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec


class Kind(IntEnum):
    """Kinds of records. Numbers are on disk: never reuse one."""

    # the messages stream
    MESSAGE = 0  #: what a broker, a socket or a push handed us: Message
    TICK = 1  #: the intake listened until now: Tick
    INTAKE = 2  #: the intake came back after being away: Intake
    ACT = 3  #: a person did something: Act
    INVENTORY = 4  #: areas, sites, devices changed: ingest.inventory.InventoryDelta
    RULEBOOK = 5  #: the rulebook from here on: value is the YAML text
    TEAMS = 6  #: teams.yaml from here on: value is the YAML text
    SOURCES = 7  #: sources.yaml from here on: value is the YAML text
    ENGINE_ERROR = 8  #: a record of this stream was set aside: EngineError
    REDRIVE = 9  #: a message out of quarantine, to be judged once more: Redrive; its payload is the value
    PROBE = 10  #: our own probe came back through the broker: Probe
    DUTY_CHECK = 11  #: somebody asks whether a fire panel's room is manned: DutyCheck
    DUTY_OUTCOME = 12  #: what came of it: DutyOutcome
    # the decisions stream
    TRANSITION = 32  #: alerts.alert.Transition
    INCIDENT = 33  #: alerts.incident.IncidentChange
    TELL = 34  #: alerts.incident.Tell
    HUSH = 35  #: alerts.incident.Hush
    REFUSAL = 36  #: alerts.incident.Refusal
    PROGRESS = 37  #: the evaluator is here and decided nothing: empty
    PAGE = 38  #: alerts.outbox.Page, copied by the dispatcher
    RECEIPT = 39  #: alerts.outbox.Receipt, copied by the dispatcher
    NOTICE = 40  #: a sentence for the centre (restart difference, blind …): alerts.incident.Notice


#: By far the most frequent kind, asked of every record: in Python 3.11 a look-up in an enumeration takes 0.2 µs.
MESSAGE = Kind.MESSAGE


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, omit_defaults=True):
    """The headers of a raw message; its payload is the record's value, byte for byte.

    `received_at` (µs) is the wall clock at receipt; the log time may be a little later, never earlier than the
    record before it. `connection` counts the receiver's connections, so that packet ids are comparable only
    within one. `backlog` marks what waited in the broker while we were away; it was published before `held_until`
    (µs; 0 = not known), which keeps the order of publishing: what states no time of its own is judged by it.
    """

    topic: str
    source: str  #: the filter of sources.yaml it came in by
    received_at: int
    qos: int = 1
    dup: bool = False
    retain: bool = False
    packet_id: int = 0
    connection: int = 0
    backlog: bool = False
    properties: dict[str, str] = {}
    content_type: str = ""
    held_until: int = 0


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """The receiver published this to itself at `sent_at` (µs, wall clock) and the broker delivered it."""

    sent_at: int


class DutyCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the transmitter of this address (查岗) to have its key pressed within `minutes`; `by` asked, `at` (µs)."""

    address: str
    minutes: int
    by: str = ""
    id: str = ""
    at: int = 0


class DutyState(StrEnum):
    """How a duty check stands."""

    PENDING = "pending"  #: in the database
    RELAYED = "relayed"  #: in the log
    SENT = "sent"  #: on its way to the transmitter
    NOT_CONNECTED = "not_connected"  #: no transmitter of this address speaks with us
    EXPIRED = "expired"  #: its minutes were over before it could be sent
    ANSWERED = "answered"  #: somebody pressed the key
    UNANSWERED = "unanswered"  #: nobody did in its minutes


class DutyOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The duty check of this id stands so since `at` (µs)."""

    id: str
    state: DutyState
    at: int


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """The intake was listening until this record's log time; `listened` µs since the tick before."""

    listened: int


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """The intake is listening again after hearing nothing between these two log times (µs)."""

    down_at: int
    up_at: int
    reason: str


class ActKind(IntEnum):
    """What people do to an incident or an alert. Numbers are on disk."""

    ACKNOWLEDGE = 0
    DISPATCH = 1
    ARRIVE = 2
    CONTROL = 3
    CLOSE = 4
    COMMENT = 5
    RESET = 6  #: un-latch one alert
    ESCALATE = 7


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One human act. `seen` maps the alert ids its author saw to their retrigger counts; empty = not stated."""

    id: str
    kind: ActKind
    author: str
    at: int
    incident: str = ""
    alert: str = ""
    comment: str = ""
    body: dict[str, str] = {}
    seen: dict[str, int] = {}


class EngineError(msgspec.Struct, frozen=True, kw_only=True):
    """The record at `offset` made admit or the engine raise and is set aside, in replay too.

    `deadly`: it ended the whole process again and again; it is not judged at all any more.
    """

    offset: int
    error: str
    deadly: bool = False


class Redrive(msgspec.Struct, frozen=True, kw_only=True):
    """The headers of a quarantined message, with the offset and log time (µs) at which it came."""

    offset: int
    at: int
    message: Message


_encode = msgspec.msgpack.Encoder().encode
decode_message = msgspec.msgpack.Decoder(Message).decode
decode_probe = msgspec.msgpack.Decoder(Probe).decode


def encode(body: msgspec.Struct) -> bytes:
    """The bytes of any body or headers of a record."""
    return _encode(body)
