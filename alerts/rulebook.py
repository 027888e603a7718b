"""The rulebook: rules.yaml checked and made ready, every problem at once with its file and line."""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections.abc import Iterable
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from alerts.alert import Severity, SignalClass
from alerts.rules import KINDS, AbsenceRule, LevelRule, RateRule, Rule, StateRule
from alerts.rules.contract import MAX_GAP, RETRIGGER_AFTER
from ingest.configfile import ConfigFile, load_config_file
from ingest.inventory import DeviceClass
from ingest.readings import QUANTITIES, STATES

Word = TypeVar("Word", bound=StrEnum)

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}

COMMON = (
    "id",
    "kind",
    "class",
    "severity",
    "hold",
    "max_gap",
    "latch",
    "retrigger_after",
    "shadow",
    "devices",
    "reason",
)
OWN_KEYS: dict[str, tuple[str, ...]] = {
    "state": ("state", "is"),
    "level": ("quantity", "above", "below", "clear_below", "clear_above"),
    "rate": ("quantity", "rise", "over"),
    "absence": ("after",),
}
REQUIRED: dict[str, tuple[str, ...]] = {
    "state": ("state",),
    "level": ("quantity",),
    "rate": ("quantity", "rise", "over"),
    "absence": (),
}


class Plan(msgspec.Struct, frozen=True):
    """The rules that look at devices of one class, by the field they look at.

    `quiet`: strictly between these two values of a field no level rule is at its limit, which is nearly always.
    """

    states: dict[str, tuple[StateRule, ...]]
    levels: dict[str, tuple[LevelRule, ...]]
    rates: dict[str, tuple[RateRule, ...]]
    absence: tuple[AbsenceRule, ...]
    quiet: dict[str, tuple[float, float]]


class Rulebook:
    """All rules of one file. `version` is the hash of all definitions; `text` the YAML they came from."""

    def __init__(self, rules: tuple[Rule, ...], text: str) -> None:
        self.rules = rules
        self.text = text
        self.by_id: dict[str, Rule] = {rule.id: rule for rule in rules}
        self.version = digest("".join(rule.version for rule in rules))
        #: The rules for each class of devices, by its plain name (an enum's hash is slow).
        self.plans: dict[str, Plan] = {
            each.value: _plan([rule for rule in rules if not rule.devices or each in rule.devices])
            for each in DeviceClass
        }


def _plan(rules: list[Rule]) -> Plan:
    plan = Plan({}, {}, {}, tuple(rule for rule in rules if isinstance(rule, AbsenceRule)), {})
    for rule in rules:
        if isinstance(rule, StateRule):
            plan.states[rule.field] = (*plan.states.get(rule.field, ()), rule)
        elif isinstance(rule, LevelRule):
            plan.levels[rule.field] = (*plan.levels.get(rule.field, ()), rule)
        elif isinstance(rule, RateRule):
            plan.rates[rule.field] = (*plan.rates.get(rule.field, ()), rule)
    for field, levels in plan.levels.items():
        belows = [rule.below for rule in levels if rule.below is not None]
        aboves = [rule.above for rule in levels if rule.above is not None]
        plan.quiet[field] = max(belows, default=-math.inf), min(aboves, default=math.inf)
    return plan


def load_rulebook(path: Path | None) -> Rulebook:
    """The rulebook of this file, None for the packaged one; ConfigError with every problem."""
    if path is None:
        text = resources.files("alerts").joinpath("defaults/rules.yaml").read_text(encoding="utf-8")
        return parse_rulebook(text, "alerts/defaults/rules.yaml")
    file = load_config_file(path)
    return _read(file, path.read_text(encoding="utf-8"))


def parse_rulebook(text: str, name: str) -> Rulebook:
    """The rulebook written in `text`; `name` stands in the messages."""
    return _read(ConfigFile(text, name), text)


def digest(text: str) -> str:
    """Twelve hex digits that change whenever the text does."""
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _read(file: ConfigFile, text: str) -> Rulebook:
    if not isinstance(file.data, dict) or not isinstance(file.data.get("rules"), list):
        file.problem("no list `rules:` found; write `rules:` and one rule a line below it")
        file.finish()
    assert isinstance(file.data, dict)
    for key in file.data:
        if key != "rules":
            file.problem(f"unknown key {key}{_suggest(key, ['rules'])}", key)
    rules: list[Rule] = []
    lines: dict[str, int] = {}
    for index, row in enumerate(file.data["rules"]):
        rule = _RuleReader(file, row, index).read()
        if rule is None:
            continue
        if rule.id in lines:
            file.problem(f"rule id {rule.id} stands twice; ids must differ", "rules", index, "id")
        lines[rule.id] = index
        rules.append(rule)
    file.finish()
    return Rulebook(tuple(rules), text)


def _suggest(word: object, known: Iterable[str]) -> str:
    words = list(known)
    near = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(words)}"


def parse_duration(text: object) -> int | None:
    """Microseconds of `10s`, `1.5m`, `2h`, `1d`, `250ms`; None when it is none of these."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return round(float(match[1]) * _UNITS[match[2]]) if match else None


class _RuleReader:
    """Reads one rule of the file, noting every problem at its line."""

    def __init__(self, file: ConfigFile, row: object, index: int) -> None:
        self.file = file
        self.index = index
        self.row: dict[str, Any] = row if isinstance(row, dict) else {}
        self.before = len(file.problems)
        if not isinstance(row, dict):
            self.wrong("a rule must be a mapping such as {id: heat-fixed, kind: level, …}")

    def wrong(self, text: str, *key: str) -> None:
        name = self.row.get("id")
        self.file.problem(f"rule {name}: {text}" if name else text, "rules", self.index, *key)

    def read(self) -> Rule | None:
        if not self.row:
            return None
        kind = self.row.get("kind")
        if not isinstance(self.row.get("id"), str) or not self.row["id"]:
            self.wrong("has no id; give a short name such as heat-fixed")
        if kind not in KINDS:
            self.wrong(f"kind {kind} is unknown{_suggest(kind, KINDS)}", "kind")
            return None
        self._keys(str(kind))
        common = self._common()
        own: dict[str, object] = getattr(self, f"_{kind}")()
        if len(self.file.problems) > self.before:
            return None
        rule_class = KINDS[str(kind)]
        version = digest(msgspec.json.encode({**common, **own, "kind": kind}, order="sorted").decode())
        return rule_class(**common, **own, version=version)  # type: ignore[arg-type]

    def _keys(self, kind: str) -> None:
        known = (*COMMON, *OWN_KEYS[kind])
        for key in self.row:
            if key not in known:
                self.wrong(f"unknown key {key} for kind {kind}{_suggest(key, known)}", key)
        for key in ("class", "severity", *REQUIRED[kind]):
            if key not in self.row:
                self.wrong(f"kind {kind} needs {key}")

    def _common(self) -> dict[str, object]:
        signal_class = self._member("class", SignalClass, SignalClass.FAULT)
        return {
            "id": str(self.row.get("id", "")),
            "signal_class": signal_class,
            "severity": self._member("severity", Severity, Severity.WARNING),
            "hold": self._duration("hold", 0),
            "max_gap": self._duration("max_gap", MAX_GAP),
            "latch": self._flag("latch", signal_class == SignalClass.FIRE),
            "retrigger_after": self._duration("retrigger_after", RETRIGGER_AFTER),
            "shadow": self._flag("shadow", False),
            "devices": self._devices(),
            "reason": str(self.row.get("reason", "")),
        }

    def _state(self) -> dict[str, object]:
        state = self.row.get("state")
        if state is not None and state not in STATES:
            self.wrong(f"state {state} is unknown{_suggest(state, STATES)}", "state")
        return {"state": str(state), "when": self._flag("is", True)}

    def _level(self) -> dict[str, object]:
        self._quantity()
        above, below = self._number("above"), self._number("below")
        clear_below, clear_above = self._number("clear_below"), self._number("clear_above")
        if ("above" in self.row) == ("below" in self.row):
            self.wrong("kind level needs exactly one of above and below")
        if above is not None and "clear_above" in self.row:
            self.wrong("clear_above goes with below; with above write clear_below", "clear_above")
        if below is not None and "clear_below" in self.row:
            self.wrong("clear_below goes with above; with below write clear_above", "clear_below")
        if above is not None and clear_below is not None and clear_below > above:
            self.wrong(f"clear_below {clear_below:g} lies over above {above:g}; it must not", "clear_below")
        if below is not None and clear_above is not None and clear_above < below:
            self.wrong(f"clear_above {clear_above:g} lies under below {below:g}; it must not", "clear_above")
        return {
            "quantity": str(self.row.get("quantity")),
            "above": above,
            "below": below,
            "clear_below": clear_below,
            "clear_above": clear_above,
        }

    def _rate(self) -> dict[str, object]:
        self._quantity()
        rise = self._number("rise")
        if rise is not None and rise <= 0:
            self.wrong(f"rise {rise:g} must be more than 0", "rise")
        over = self._duration("over", 0)
        if "over" in self.row and over <= 0:
            self.wrong("over must be longer than 0s", "over")
        return {"quantity": str(self.row.get("quantity")), "rise": rise, "over": over}

    def _absence(self) -> dict[str, object]:
        after = self._number("after") if "after" in self.row else 2.0
        if after is not None and after <= 0:
            self.wrong(f"after {after:g} must be more than 0 intervals", "after")
        return {"after": after}

    def _quantity(self) -> None:
        quantity = self.row.get("quantity")
        if quantity is not None and quantity not in QUANTITIES:
            self.wrong(f"quantity {quantity} is unknown{_suggest(quantity, QUANTITIES)}", "quantity")

    def _member(self, key: str, words: type[Word], default: Word) -> Word:
        if key not in self.row:
            return default
        try:
            return words(str(self.row[key]))
        except ValueError:
            self.wrong(f"{key} {self.row[key]} is unknown{_suggest(self.row[key], [w.value for w in words])}", key)
            return default

    def _duration(self, key: str, default: int) -> int:
        if key not in self.row:
            return default
        micros = parse_duration(self.row[key])
        if micros is None:
            self.wrong(f"{key} {self.row[key]!r} is no duration; write 10s, 5m, 2h or 1d", key)
            return default
        return micros

    def _number(self, key: str) -> float | None:
        value = self.row.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.wrong(f"{key} {value!r} is no number", key)
            return None
        return float(value)

    def _flag(self, key: str, default: bool) -> bool:
        value = self.row.get(key, default)
        if not isinstance(value, bool):
            self.wrong(f"{key} {value!r} must be true or false", key)
            return default
        return value

    def _devices(self) -> tuple[DeviceClass, ...]:
        value = self.row.get("devices", [])
        known = [member.value for member in DeviceClass]
        if not isinstance(value, list):
            self.wrong("devices must be a list of device classes", "devices")
            return ()
        for word in value:
            if word not in known:
                self.wrong(f"device class {word} is unknown{_suggest(word, known)}", "devices")
        return tuple(DeviceClass(word) for word in value if word in known)
