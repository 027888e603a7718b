"""What happens in a town beyond an ordinary day: sources in the air, spells of weather, trouble with devices. Pure.

Scenarios make a plan, the life of the town carries it out. A plan only says what is true; what heads make of it and
what they publish is theirs. All times are µs since 1970. `device` "" means every device of the site.
"""

from __future__ import annotations

import msgspec

from simulators.physics.exposure import Source


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Something that holds at a site, or for one device there, from `start_at` until before `end_at`."""

    site: str
    start_at: int
    end_at: int
    device: str = ""

    def holds(self, device: str, at: int) -> bool:
        """Whether it concerns this device of its site now."""
        return self.start_at <= at < self.end_at and self.device in ("", device)


class Stuck(Span, frozen=True, kw_only=True):
    """A quantity repeats the value it had at the start, or `value`."""

    quantity: str
    value: float | None = None


class Drift(Span, frozen=True, kw_only=True):
    """A quantity reads wrong by so much more each day, from 0 at the start."""

    quantity: str
    per_day: float


class Glitch(Span, frozen=True, kw_only=True):
    """Single readings of a quantity are off by `by`, each with this chance (0 to 1)."""

    quantity: str
    by: float
    chance: float


class Battery(Span, frozen=True, kw_only=True):
    """The battery stands at `percent` at the start and loses `per_day` points; empty, the device says nothing more."""

    percent: float
    per_day: float


class Away(Span, frozen=True, kw_only=True):
    """No way to the broker. `keeps`: what was measured meanwhile is sent together afterwards, else it is lost.

    `will`: the broker tells of it (status offline) so many seconds after the start; None: nobody does.
    """

    keeps: bool
    will_after_s: float | None = 45.0


class Clock(Span, frozen=True, kw_only=True):
    """The device's own clock is ahead by `offset_s` at the start and gains `ppm` µs each second (both may be < 0)."""

    offset_s: float = 0.0
    ppm: float = 0.0


class Reboot(Span, frozen=True, kw_only=True):
    """Off from the start to the end; afterwards its seq begins again at 1 and it says at once what it measures."""


class Mains(Span, frozen=True, kw_only=True):
    """No mains: mains devices say `mains_lost` and live `reserve_s` on their battery; piles are off at once."""

    reserve_s: float = 3600.0


class States(Span, frozen=True, kw_only=True):
    """The device says these states, whatever it measures: a test, a tamper, an alarm nobody lit."""

    states: dict[str, bool]


class Charging(Span, frozen=True, kw_only=True):
    """A pile charges with so many watts, beside its ordinary use; 0 W: a protective stop holds it off."""

    watts: float


Trouble = Stuck | Drift | Glitch | Battery | Away | Clock | Reboot | Mains | States | Charging


class Spell(msgspec.Struct, frozen=True, kw_only=True):
    """Weather that differs from the season's, over the sites of an area and below it ("" = the whole town).

    None leaves a thing as the season has it. The change comes and goes over `ease_s`.
    """

    start_at: int
    end_at: int
    area: str = ""
    mean_c: float | None = None  #: the day's mean, °C
    sun: float | None = None  #: 0 overcast to 1 clear
    wind_m_s: float | None = None
    fog_db_m: float = 0.0  #: what fog or dust in the air adds in a smoke chamber, dB/m
    humidity: float | None = None  #: %RH
    ease_s: float = 1800.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything out of the ordinary; empty = an ordinary day."""

    sources: tuple[Source, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    spells: tuple[Spell, ...] = ()


ORDINARY = Plan()
