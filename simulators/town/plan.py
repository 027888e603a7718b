"""What happens in a town beyond an ordinary day: sources in the air, spells of weather, trouble with devices. Pure.

Scenarios make a plan, the life of the town carries it out. A plan only says what is true; what heads make of it and
what they publish is theirs. All times are µs since 1970. `device` "" means every device of the site.
"""

from __future__ import annotations

import msgspec

from simulators.physics.exposure import Source

#: A broker takes a silent connection for broken after one and a half times the 30 s of its keepalive.
WILL_AFTER_S = 45.0


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Something that holds at a site, or for one device there, from `start_at` until before `end_at`."""

    site: str
    start_at: int
    end_at: int
    device: str = ""


class Stuck(Span, frozen=True, kw_only=True):
    """A quantity repeats the value it had at the start, or `value`. The device believes it: its own alarms go by it."""

    quantity: str
    value: float | None = None


class Drift(Span, frozen=True, kw_only=True):
    """A quantity reads wrong by so much more each day, from 0 at the start. The device believes it."""

    quantity: str
    per_day: float


class Glitch(Span, frozen=True, kw_only=True):
    """Single readings of a quantity are told wrong by `by`, each with this chance (0 to 1); they alarm no head."""

    quantity: str
    by: float
    chance: float


class Battery(Span, frozen=True, kw_only=True):
    """The battery stands at `percent` at the start and loses `per_day` points. Below 15 % the device says so; empty,
    it says nothing more until the end, when somebody has changed it. What lives on the mains does not notice."""

    percent: float
    per_day: float


class Away(Span, frozen=True, kw_only=True):
    """No way to the broker. `keeps`: what was measured meanwhile is sent together afterwards, else it is lost.

    A gateway's takes all it speaks for with it; a site's concerns the devices there that speak for themselves, the
    gateway among them. `will_after_s`: the broker tells of it (status offline) so long after the start; None: nobody
    does. Only what has a connection that stays has a will: gateways, and mains devices that speak for themselves.
    """

    keeps: bool
    will_after_s: float | None = WILL_AFTER_S


class Clock(Span, frozen=True, kw_only=True):
    """The device's own clock is ahead by `offset_s` at the start and gains `ppm` µs each second (both may be < 0)."""

    offset_s: float = 0.0
    ppm: float = 0.0


class Reboot(Span, frozen=True, kw_only=True):
    """Off from the start to the end; afterwards its seq begins again at 1 and it says at once what it measures.

    A gateway that is off takes all it speaks for with it. After 45 s the broker tells of one that keeps a status.
    """


class Mains(Span, frozen=True, kw_only=True):
    """No mains: mains devices say `mains_lost` and live `reserve_s` on their battery; piles, and the surface probes
    that hang on their supply, are off at once. Then all are off as with `Reboot`."""

    reserve_s: float = 3600.0


class States(Span, frozen=True, kw_only=True):
    """The device says these states, at once and whatever it measures: a test, a tamper, an alarm nobody lit.

    At the end it says that they are over.
    """

    states: dict[str, bool]


class Charging(Span, frozen=True, kw_only=True):
    """A pile charges with so many watts, beside its ordinary use; 0 W: a protective stop holds all of it off.

    It tells of the change at once.
    """

    watts: float


Trouble = Stuck | Drift | Glitch | Battery | Away | Clock | Reboot | Mains | States | Charging


class Spell(msgspec.Struct, frozen=True, kw_only=True):
    """Weather that differs from the season's, over the sites of an area and below it ("" = the whole town).

    None leaves a thing as the season has it. The change comes and goes over `ease_s`, inside its time. Humidity is
    that of the day's mean temperature: the vapour stays while the day and the roof warm the air, so noon is drier.
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
