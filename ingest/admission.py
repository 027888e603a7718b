"""What admit says of a message: where it ends, and why. Pure words.

The books know one outcome a message. A gateway's array may hold readings of several devices, so: stored as soon as
one reading is new (devices that are not admitted are named in the detail, and a fire state of theirs is told);
duplicate when every admitted reading was there before; quarantined when no device of it can be admitted.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ingest.codecs.contract import Request
from ingest.readings import Reading


class Outcome(StrEnum):
    """Where a message ends; every message ends in exactly one."""

    STORED = "stored"  #: at least one new reading or state
    DUPLICATE = "duplicate"  #: nothing in it that was not there before
    QUARANTINED = "quarantined"  #: could not be admitted; kept whole with its reason
    NO_READING = "no_reading"  #: understood, and carries no reading (a command's acknowledgement …)


class Reason(StrEnum):
    """Why a message was quarantined; the same word in log, metric, column and console."""

    UNDECODABLE = "undecodable"  #: the codec cannot understand the payload
    UNKNOWN_DEVICE = "unknown_device"  #: not registered, and the source does not enrol
    WRONG_SITE = "wrong_site"  #: registered, but under another site than the topic's
    WRONG_GATEWAY = "wrong_gateway"  #: registered behind another gateway than the topic's
    RATE = "rate"  #: beyond what its device or gateway may send in a while; see ingest.rates
    NO_SOURCE = "no_source"  #: its source is not in the sources of this offset
    OVERSIZE = "oversize"  #: larger than any device sends
    ENGINE_ERROR = "engine_error"  #: admit or the engine raised on it
    DATABASE = "database"  #: the database refused it; the detail has the SQLSTATE


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """A fire-class sign in a message that could not be admitted; pages the centre. `site` "" = unlocated."""

    site: str
    device: str
    why: str


class Admission(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What admit says of one message. `readings` only new ones, in order of the message; empty unless stored."""

    outcome: Outcome
    readings: tuple[Reading, ...] = ()
    duplicates: int = 0  #: readings of this message that were there before
    limited: int = 0  #: readings of this message that were set aside because they came too fast
    flood: str = ""  #: a sentence when somebody's flood is to be told
    reason: Reason | None = None
    detail: str = ""
    site: str = ""  #: of a quarantined message, as far as it is known
    device: str = ""
    suspicion: Suspicion | None = None
    requests: tuple[Request, ...] = ()  #: what the codec wants published
