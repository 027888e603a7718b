"""What `emberwatch check` says about a broker: the words. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Grade(StrEnum):
    """How bad a finding is."""

    OK = "ok"  #: as it should be
    NOTE = "note"  #: loses nothing by itself; to know, or to make better
    LOSES = "loses"  #: messages can be lost before they reach us
    OPEN = "open"  #: somebody may publish what he likes, and play any device
    BROKEN = "broken"  #: nothing works until this is changed


BAD = frozenset({Grade.LOSES, Grade.OPEN, Grade.BROKEN})


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing seen about the broker: `about` is a word, `seen` what was seen, `change` what to do about it."""

    grade: Grade
    about: str
    seen: str
    change: str = ""

    def __str__(self) -> str:
        return f"{self.grade}: {self.about}: {self.seen}" + (f"; {self.change}" if self.change else "")
