"""A story: what happens in a town, read from a scenario file; every problem of the file at once, with its line."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import msgspec

from ingest.configfile import ConfigFile, read_config_text
from ingest.errors import OperatorError
from simulators.scenarios.disturbances import WHOLE_TOWN, Weather
from simulators.scenarios.events import EVENTS
from simulators.scenarios.happening import Event, Where
from simulators.scenarios.planning import Telling, make_plan, make_truth
from simulators.scenarios.schema import Count, Moment, Quantity, Seconds, read_struct, read_value, suggest
from simulators.town.layout import Town
from simulators.town.plan import Plan
from simulators.truth import Truth

KEYS = ("name", "says", "lasts", "town", "shows", "events")
ENDINGS = (".yaml", ".yml")


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """The town a story is told in when nobody says otherwise; without `interval` each model has its own."""

    sites: Count = 8
    devices: Count = 48
    interval: Seconds | None = None
    start: Moment = Moment(1_778_565_600_000_000)  # 2026-05-12, 14:00 in China
    before: Seconds = Seconds(900.0)  #: an ordinary time before the event at 0 s


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario: its events with their kinds, in the order of the file. `lasts_s` counts from the event at 0 s."""

    name: str
    says: str
    lasts_s: float
    town: Setting
    shows: tuple[str, ...]
    events: tuple[tuple[str, Event], ...]

    def plan(
        self,
        *,
        town: Town,
        start_at: int,
        seed: int,
        sites: Sequence[str] = (),
        times: int = 1,
        every_s: float = 60.0,
        begin: int | None = None,
        end: int | None = None,
        interval_s: float = 0.0,
    ) -> tuple[Plan, Truth]:
        """What happens when it is told so many times, one `every_s`, the event at 0 s first at `start_at` (µs).

        The first choice of any site falls on `sites`, one for each telling, while there are some. `begin` and `end`
        (µs) are those of the recording the truth is about; without them the truth is about the story's own time.
        `interval_s` 0 = each model reports at its own. OperatorError where the town has no place for it.
        """
        telling = Telling(
            name=self.name,
            seed=seed,
            start_at=start_at,
            lasts_s=self.lasts_s,
            sites=tuple(sites),
            times=times,
            every_s=every_s,
        )
        plan, true = make_plan(self.events, town, telling)
        last = start_at + round(((times - 1) * every_s + self.lasts_s) * 1e6)
        truth = make_truth(
            true,
            town,
            telling,
            begin=start_at if begin is None else begin,
            end=last if end is None else end,
            interval_s=interval_s,
        )
        return plan, truth


def names() -> list[str]:
    """The packaged stories."""
    files = resources.files("simulators.scenarios").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load(name_or_path: str) -> Story:
    """A packaged story by its name, or one of a file ending in .yaml; OperatorError where it is not or is wrong."""
    packaged = f"simulators/scenarios/{name_or_path}.yaml"
    return parse(text_of(name_or_path), name_or_path if name_or_path.endswith(ENDINGS) else packaged)


def text_of(name_or_path: str) -> str:
    """The file of a packaged story, or one ending in .yaml; OperatorError where there is none."""
    if name_or_path.endswith(ENDINGS):
        return read_config_text(Path(name_or_path))
    if name_or_path not in names():
        near = suggest(name_or_path, names())
        raise OperatorError(f"no scenario {name_or_path}{near}; or name a file ending in .yaml")
    return resources.files("simulators.scenarios").joinpath(f"{name_or_path}.yaml").read_text(encoding="utf-8")


def parse(text: str, name: str) -> Story:
    """The story written in `text`; ConfigError with every problem, `name` standing for the file."""
    file = ConfigFile(text, name)
    if not isinstance(file.data, dict):
        file.problem("no mapping found; write name:, says:, lasts: and events:")
        file.finish()
    assert isinstance(file.data, dict)
    data: dict[str, object] = file.data
    for key in data:
        if key not in KEYS:
            file.problem(f"unknown key {key}{suggest(key, KEYS)}", key)
    for key in ("name", "says", "lasts"):
        if key not in data:
            file.problem(f"{key} is missing")
    lasts = read_value(file, Seconds, data.get("lasts", "0s"), "lasts")
    words = {key: read_value(file, str, data.get(key, ""), key) for key in ("name", "says")}
    town = read_struct(file, Setting, data.get("town", {}), "town")
    shows = _list(file, data, "shows", [])
    shown = [read_value(file, Quantity, word, "shows", index) for index, word in enumerate(shows)]
    events = _Events(file, lasts or 0.0).read(_list(file, data, "events", None))
    if "lasts" in data and lasts == 0.0:
        file.problem("lasts: 0 is not right; give a duration above 0", "lasts")
    if town is not None:
        _check_town(file, town)
    file.finish()
    assert town is not None
    return Story(**words, lasts_s=lasts, town=town, shows=tuple(shown), events=tuple(events))


def _check_town(file: ConfigFile, town: Setting) -> None:
    if town.devices < town.sites:
        file.problem(f"devices: {town.devices} for {town.sites} sites; give each site one at least", "town", "devices")
    if town.interval is not None and town.interval < 0.001:  # time stamps have milliseconds
        file.problem("interval: less than 1ms; give more, or leave it out", "town", "interval")


def _list(file: ConfigFile, data: dict[str, object], key: str, default: list[object] | None) -> list[object]:
    value = data.get(key, default)
    if isinstance(value, list):
        return value
    file.problem(f"{key} is no list; write {key}: [] for none, else one a line beginning with -", key)
    return []


class _Events:
    """Reads the list of events, noting every problem."""

    def __init__(self, file: ConfigFile, lasts_s: float) -> None:
        self._file, self._lasts_s = file, lasts_s
        self._called: dict[str, bool] = {}  #: name → whether it happens on a parking space

    def read(self, rows: list[object]) -> list[tuple[str, Event]]:
        read = [self._event(row, index) for index, row in enumerate(rows)]
        return [pair for pair in read if pair is not None]

    def _event(self, row: object, index: int) -> tuple[str, Event] | None:
        path = ("events", index)
        if not isinstance(row, dict) or "what" not in row:
            self._file.problem("an event is a mapping such as {at: 60s, what: battery_fire}", *path)
            return None
        kind = str(row["what"])
        if kind not in EVENTS:
            self._file.problem(f"what {kind} is unknown{suggest(kind, EVENTS)}", *path, "what")
            return None
        event = read_struct(self._file, EVENTS[kind], row, *path, but=("what",))
        if event is None:
            if "called" in row:
                self._called[str(row["called"])] = True  # so that nobody after it is blamed
            return None
        self._check(event, *path)
        return kind, event

    def _check(self, event: Event, *path: str | int) -> None:
        if event.at >= self._lasts_s > 0:
            self._file.problem(f"at lies after the end of the story, {self._lasts_s:g} s", *path, "at")
        self._check_earlier(event.where, *path, "where")
        if isinstance(event, Weather) and event.where != WHOLE_TOWN and event.where.whole is None:
            self._file.problem("weather needs whole: street, … or no where at all", *path, "where")
        self._check_bay(event, *path, "where", "bay")
        if event.called in self._called:
            self._file.problem(f"called: {event.called} stands twice; names must differ", *path, "called")
        if event.called:
            self._called[event.called] = event.parked

    def _check_earlier(self, where: Where, *path: str | int) -> None:
        named = {key: name for key in ("same_as", "next_to", "far_from") if (name := getattr(where, key))}
        for key, name in named.items():
            if name not in self._called:
                known = suggest(name, self._called) if self._called else "; write called: on the event it means"
                self._file.problem(f"{key}: no earlier event is called {name}{known}", *path, key)
        if len(named) > 1 or (named and where.pick != "any"):
            self._file.problem("pick, same_as, next_to and far_from exclude each other; keep one", *path)

    def _check_bay(self, event: Event, *path: str | int) -> None:
        bay, same_as = event.where.bay, event.where.same_as
        if bay != "any" and not event.parked:
            self._file.problem(f"bay: {bay} is for fires; leave it out", *path)
        elif bay in ("same", "next") and not (same_as and self._called.get(same_as, True)):
            self._file.problem(f"bay: {bay} needs same_as: the name of an earlier fire", *path)
