"""Events that tempt to a false alarm: clouds that are no fire, weather. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from simulators.scenarios.happening import Event, Here, Piece, Tempting, Where
from simulators.scenarios.nuisances import cloud
from simulators.scenarios.schema import NotNegative, Percent, Positive, Seconds, Share
from simulators.town.plan import Spell


class Cloudy(Event, frozen=True, kw_only=True):
    """A cloud at one place of each site chosen. `strength`, of its smoke: 1 is ordinary, 2 to 4 a burnt meal."""

    lasts: Seconds = Seconds(600.0)
    strength: Positive = 1.0

    word: ClassVar[str] = ""

    def kind(self) -> str:
        """Which of nuisances.KINDS."""
        return self.word

    def happen(self, here: Here) -> Piece:
        """One cloud."""
        rising = cloud(
            what=self.kind(),
            site=here.site.id,
            start_at=here.start_at,
            lasts_s=self.lasts,
            place=here.place,
            strength=self.strength,
            seed=here.seed,
        )
        told = Tempting(what=self.kind(), site=rising.site, start_at=rising.start_at, end_at=rising.end_at)
        return Piece(sources=(rising,), nuisances=(told,))


class Cooking(Cloudy, frozen=True, kw_only=True):
    """A kitchen: steam (humid, warm, hardly any smoke) or oil (smoke that may pass a head's alarm when strong)."""

    style: Literal["steam", "oil"] = "oil"

    def kind(self) -> str:
        """Its style."""
        return self.style


class Welding(Cloudy, frozen=True, kw_only=True):
    """Strokes of an arc welder: fume in puffs."""

    word = "welding"


class Sweeping(Cloudy, frozen=True, kw_only=True):
    """Dust thrown up by a broom: cold, in puffs."""

    word = "sweeping"


class Exhaust(Cloudy, frozen=True, kw_only=True):
    """A petrol moped left idling: carbon monoxide."""

    word = "exhaust"


#: It uses up no site that another event should have.
WHOLE_TOWN = Where(pick=1)


class Weather(Event, frozen=True, kw_only=True):
    """Weather over the area that `where.whole` names, or over the whole town, that differs from the season's."""

    where: Where = WHOLE_TOWN
    lasts: Seconds | None = None
    ease: Seconds = Seconds(1800.0)  #: it comes and goes over this

    word: ClassVar[str] = ""

    def spell(self, area: str, start_at: int, end_at: int) -> Spell:
        """What the weather is."""
        raise NotImplementedError

    def over(self, area: str, heres: Sequence[Here]) -> Piece:
        """One spell, which tempts at every site below the area."""
        spell = self.spell(area, heres[0].start_at, heres[0].until(self.lasts))
        sites = [here.site.id for here in heres] if area else [""]
        told = [Tempting(what=self.word, site=site, start_at=spell.start_at, end_at=spell.end_at) for site in sites]
        return Piece(spells=(spell,), nuisances=tuple(told))


class HotRoof(Weather, frozen=True, kw_only=True):
    """A clear summer day with hardly any wind: the metal roof of a shed heats all of its heads alike."""

    mean: float = 32.0  #: of the day, °C
    sun: Share = 1.0
    wind: NotNegative = 1.2  #: m/s

    word = "hot roof"

    def spell(self, area: str, start_at: int, end_at: int) -> Spell:
        """Heat, sun, no wind."""
        return Spell(
            start_at=start_at,
            end_at=end_at,
            area=area,
            mean_c=self.mean,
            sun=self.sun,
            wind_m_s=self.wind,
            ease_s=self.ease,
        )


class Fog(Weather, frozen=True, kw_only=True):
    """Droplets in every smoke chamber that is open to the air, no heat."""

    density: Positive = 0.25  #: dB/m in the open air; a chamber sees a part of it
    humidity: Percent = 98.0  #: %RH

    word = "fog"

    def spell(self, area: str, start_at: int, end_at: int) -> Spell:
        """Damp, dense air."""
        return Spell(
            start_at=start_at,
            end_at=end_at,
            area=area,
            sun=0.0,
            fog_db_m=self.density,
            humidity=self.humidity,
            ease_s=self.ease,
        )
