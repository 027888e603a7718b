"""Feed an engine by hand: `feed.say("shed", "d1", at=10, temperature=60)`, then look at `feed.lines()`."""

from __future__ import annotations

from alerts.alert import AlertState, Transition
from alerts.decisions import Decision
from alerts.engine import Engine
from alerts.incident import Hush, IncidentChange, Notice, Refusal, Tell
from alerts.rulebook import Rulebook, load_rulebook, parse_rulebook
from ingest.admission import Admission, Outcome, Suspicion
from ingest.inventory import Device, DeviceClass, InventoryDelta
from ingest.message import Act, ActKind, Intake, Tick
from ingest.readings import SECOND, STATES, Lateness, Reading
from ingest.sources import Clock

#: All times of a feed are seconds after this (µs): 2026-05-01T00:00:00Z.
START = 1_777_593_600 * SECOND


class Feed:
    """An engine with a log of its own; `at` is in seconds after START."""

    def __init__(self, rules: str | None = None, *, clock: Clock = Clock.RECEIVED) -> None:
        rulebook: Rulebook = parse_rulebook(rules, "rules.yaml") if rules else load_rulebook(None)
        self.engine = Engine(shard="main", clock=clock, rulebook=rulebook)
        self.offset = 0
        self.made: list[Decision] = []

    def register(
        self, *devices: str, site: str = "shed", interval: float | None = 10, at: float = 0, **more: object
    ) -> None:
        device_class = DeviceClass(str(more.get("device_class", DeviceClass.SMOKE_HEAT_HEAD)))
        rows = [Device(id=name, site=site, expected_interval_s=interval, device_class=device_class) for name in devices]
        self.engine.inventory(InventoryDelta(devices=rows), **self._next(at))
        self._collect()

    def remove(self, *keys: str, at: float) -> None:
        self.engine.inventory(InventoryDelta(removed_devices=list(keys)), **self._next(at))
        self._collect()

    def say(
        self,
        site: str = "shed",
        device: str = "d1",
        *,
        at: float,
        logged: float | None = None,
        late: Lateness | None = None,
        **fields: float | bool,
    ) -> None:
        """One message with one reading; `logged`: its log time, else `at`."""
        self.say_all(reading(site, device, at=at, late=late, **fields), logged=at if logged is None else logged)

    def say_all(self, *readings: Reading, logged: float) -> None:
        """One message with several readings."""
        self.engine.admitted(Admission(outcome=Outcome.STORED, readings=readings), **self._next(logged))
        self._collect()

    def suspect(self, site: str, device: str, *, at: float, why: str = "it says smoke_alarm") -> None:
        suspicion = Suspicion(site=site, device=device, why=why)
        self.engine.admitted(Admission(outcome=Outcome.QUARANTINED, suspicion=suspicion), **self._next(at))
        self._collect()

    def listen(self, until: float, *, since: float, step: float = 1) -> None:
        """Ticks each `step` seconds, from after `since` up to `until`."""
        at = since
        while at + step <= until:
            at += step
            self.engine.tick(Tick(listened=round(step * SECOND)), **self._next(at))
        self._collect()

    def back_after(self, down: float, up: float) -> None:
        words = Intake(down_at=micros(down), up_at=micros(up), reason="the receiver was not running")
        self.engine.intake(words, **self._next(up))
        self._collect()

    def act(
        self, kind: ActKind, *, at: float, act_id: str = "", seen: dict[str, int] | None = None, **more: str
    ) -> None:
        body: dict[str, str] = {
            str(key): more.pop(key) for key in ("verdict", "cause", "summary", "team") if key in more
        }
        words = Act(
            id=act_id or f"act-{self.offset}",
            kind=kind,
            author="chief",
            at=micros(at),
            seen=seen or {},
            body=body,
            **more,
        )
        self.engine.act(words, **self._next(at))
        self._collect()

    def change_rules(self, rules: str, *, at: float) -> None:
        self.engine.rules(parse_rulebook(rules, "rules.yaml"), **self._next(at))
        self._collect()

    def lines(self, *rules: str) -> list[tuple[float, str, str | None, str | None, str]]:
        """(seconds, rule, device, before, after) of every transition so far, of these rules only if any are named."""
        return [
            ((each.at - START) / SECOND, each.rule, each.device, _word(each.before), each.after.value)
            for each in self.transitions()
            if not rules or each.rule in rules
        ]

    def transitions(self) -> list[Transition]:
        return [each for each in self.made if isinstance(each, Transition)]

    def tells(self) -> list[Tell]:
        return [each for each in self.made if isinstance(each, Tell)]

    def incidents(self) -> list[IncidentChange]:
        return [each for each in self.made if isinstance(each, IncidentChange)]

    def hushes(self) -> list[Hush]:
        return [each for each in self.made if isinstance(each, Hush)]

    def refusals(self) -> list[Refusal]:
        return [each for each in self.made if isinstance(each, Refusal)]

    def notices(self) -> list[Notice]:
        return [each for each in self.made if isinstance(each, Notice)]

    def _next(self, at: float) -> dict[str, int]:
        self.offset += 1
        return {"offset": self.offset, "at": micros(at)}

    def _collect(self) -> None:
        self.made += self.engine.take()


def micros(at: float) -> int:
    """µs since 1970 of a feed's seconds."""
    return START + round(at * SECOND)


def reading(
    site: str = "shed", device: str = "d1", *, at: float, late: Lateness | None = None, **fields: float | bool
) -> Reading:
    """A reading with quantities and states by name."""
    return Reading(
        site=site,
        device=device,
        at=micros(at),
        received_at=micros(at),
        device_at=micros(at),
        values={name: float(value) for name, value in fields.items() if name not in STATES},
        states={name: bool(value) for name, value in fields.items() if name in STATES},
        late=late,
    )


def _word(state: AlertState | None) -> str | None:
    return state.value if state else None
