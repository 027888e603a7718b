"""What a recording is known to hold: the fire and its reference times, nuisances, spans in which nothing happens."""

from __future__ import annotations

import msgspec

from ingest.readings_file import FileRow


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is known to have happened. Times are ISO 8601, UTC; `after_s` counts from the ignition."""

    what: str
    at: str
    device: str = ""
    after_s: float | None = None


class Span(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of time about which something is known."""

    what: str
    start: str
    end: str
    device: str = ""


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """Written as `NAME.truth.json` beside `NAME.csv`.

    `fire`: whether there is one at all. `ignition`: when, null without a fire. `references`: alarm times measured
    or computed there by others. `quiet`: spans in which no alarm of fire class is right. `nuisances`: spans that
    tempt to a false one. `clock` says what the times are worth.
    """

    recording: str
    source: str
    site: str
    fire: bool
    clock: str
    interval_s: float
    ignition: str | None = None
    references: list[Mark] = []
    quiet: list[Span] = []
    nuisances: list[Span] = []
    notes: list[str] = []


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """One recording: its rows in order of time, and what is known about it."""

    rows: list[FileRow]
    truth: Truth
