"""Values of many devices and times, put together into observations. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ingest.codecs.free_keys import note, says_fire
from ingest.codecs.usual_names import Meaning, Value, without_tested_fire
from ingest.errors import Undecodable
from ingest.readings import Observation


class Key(NamedTuple):
    """One observation."""

    device: str
    at: int | None
    historical: bool = False
    turn: int = 0


class Gathered:
    """One observation for each device and time. A quantity that stands twice, of two probes, starts another one;
    of a state that stands twice, true counts: two detection chambers, one head."""

    def __init__(self) -> None:
        self._of: dict[Key, tuple[dict[str, float], dict[str, bool]]] = {}
        self._turns: dict[tuple[Key, str], int] = {}
        self._wrong: Undecodable | None = None

    def note(self, key: Key, what: Meaning, value: Value, path: str, mapped: Mapping[str, str | None]) -> None:
        """One value as it was sent. What makes no sense under a name of fire is kept in mind for `sorted`."""
        values: dict[str, float] = {}
        states: dict[str, bool] = {}
        try:
            note(what, value, path, mapped, values, states)
        except Undecodable as error:
            self._wrong = self._wrong or error
        for name, found in (*values.items(), *states.items()):
            self.add(key, name, found)

    def add(self, key: Key, name: str, value: float | bool) -> None:
        """One value or state."""
        values, states = self._at(key)
        if type(value) is bool:
            states[name] = value or states.get(name, False)
        elif name not in values:
            values[name] = value
        else:
            turn = self._turns[key, name] = self._turns.get((key, name), 0) + 1
            self._at(key._replace(turn=turn))[0][name] = value

    def _at(self, key: Key) -> tuple[dict[str, float], dict[str, bool]]:
        found = self._of.get(key)
        if found is None:
            found = self._of[key] = ({}, {})
        return found

    def sorted(self, sites: dict[str, tuple[str | None, str]]) -> Iterator[Observation]:
        """By time, without a time (now) last. `sites` has site and device for each device gathered.

        Undecodable where a value was wrong, unless others say that there is a fire.
        """
        if self._wrong is not None and not any(says_fire(states) for _, states in self._of.values()):
            raise self._wrong
        keys = sorted(self._of, key=_time) if len(self._of) > 1 else self._of
        for key in keys:
            values, states = self._of[key]
            site, device = sites[key.device]
            yield Observation(
                device=device,
                site=site,
                observed_at=key.at,
                values=values,
                states=without_tested_fire(states),
                historical=key.historical,
            )


def _time(key: Key) -> float:
    return float("inf") if key.at is None else key.at
