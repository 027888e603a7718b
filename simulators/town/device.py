"""What all devices have in common: a rhythm, a count, troubles, and a way to tell."""

from __future__ import annotations

from collections.abc import Callable

from ingest.readings import FIRE_STATES
from simulators.town.layout import Device
from simulators.town.models import Model
from simulators.town.report import Report
from simulators.town.trouble import Afflictions

Tell = Callable[[Report], None]


class Life:
    """The life of one device, stepped at times that never go back."""

    __slots__ = ("_off", "device", "due", "every", "key", "seq", "speaker", "states", "tell", "trouble")

    def __init__(self, *, device: Device, key: int, first: int, every: int, tell: Tell) -> None:
        self.device = device
        self.speaker = device.id if device.model is Model.GATEWAY else device.gateway
        self.key = key
        self.due = first
        self.every = every
        self.tell = tell
        self.trouble: Afflictions | None = None
        self.seq = 0
        self.states: dict[str, bool] | None = None  # as last told
        self._off = False

    def step(self, at: int) -> int:
        """Tell what is due or has changed at `at`; when to step again."""
        if self.trouble is None:
            due = at >= self.due
            if due:
                self.due += self.every
            return self.live(at, due)
        edge = self.trouble.next_edge(at)
        if self.trouble.off(at):
            self._off = True
            return edge
        due = at >= self.due or self._off
        while self.due <= at:
            self.due += self.every
        if self._off:
            self._off = False
            self.restart()
        return min(self.live(at, due), edge)

    def live(self, at: int, due: bool) -> int:
        """The same, with power; `due`: a report is due by the rhythm."""
        raise NotImplementedError

    def restart(self) -> None:
        """Begin again as after a reboot."""
        self.seq = 0
        self.states = None

    def shown(self, states: dict[str, bool], at: int) -> dict[str, bool]:
        """What the device says of these states."""
        return states if self.trouble is None else self.trouble.states(states, at)

    def say(self, at: int, values: dict[str, float], states: dict[str, bool]) -> None:
        """Tell this; urgent when a state of fire class is another than last told."""
        self.seq += 1
        before, self.states = self.states, states
        stated = at
        if self.trouble is not None:
            stated = self.trouble.clock(at)
            values = self.trouble.glitched(values, self.key, at)
        self.tell(
            Report(
                at=at,
                stated_at=stated,
                site=self.device.site,
                device=self.device.id,
                seq=self.seq,
                values=values,
                states=states,
                gateway=self.speaker,
                urgent=before != states and changed_fire(before or {}, states),
            )
        )


def changed_fire(before: dict[str, bool], after: dict[str, bool]) -> bool:
    """Whether a state of fire class is another than before; never told is the same as false."""
    return any(before.get(name, False) != after.get(name, False) for name in FIRE_STATES)
