"""What every rule kind has in common, and the Signal it answers with. Pure."""

from __future__ import annotations

import msgspec

from alerts.alert import Severity, SignalClass
from ingest.inventory import DeviceClass
from ingest.readings import MINUTE, SECOND

MAX_GAP = 5 * MINUTE
RETRIGGER_AFTER = 60 * SECOND


class Signal(msgspec.Struct, frozen=True, gc=False):
    """A rule's answer to one sample. `breaching` true: at or beyond the limit; `clear` true: back where the alert
    may end; both false: in between, which changes nothing. `evidence`: samples (at µs, value), oldest first."""

    breaching: bool
    clear: bool
    value: float | bool
    why: str
    limit: float | None = None
    evidence: tuple[tuple[int, float], ...] = ()


class RuleBase(msgspec.Struct, frozen=True, kw_only=True):
    """Settings every kind knows (times in µs). `version` is the hash of the definition, set by the rulebook.

    `hold`: the condition must last this long. `max_gap`: samples further apart than this prove nothing about the time
    between them, so a hold starts anew. `retrigger_after`: a latched condition that was away this long and comes back
    is told again. `devices`: the classes it is for, empty = all. `shadow`: recorded, never pages.
    """

    id: str
    signal_class: SignalClass
    severity: Severity
    version: str = ""
    hold: int = 0
    max_gap: int = MAX_GAP
    latch: bool = False
    retrigger_after: int = RETRIGGER_AFTER
    shadow: bool = False
    devices: tuple[DeviceClass, ...] = ()
    reason: str = ""
