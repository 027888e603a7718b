"""What codecs of carrier and cloud platforms share: key-value bodies, ids and times as they write them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ingest.codecs.contract import CodecMemory, Decoded
from ingest.codecs.free_keys import note
from ingest.codecs.json_text import parse, shown
from ingest.codecs.naming import placed
from ingest.codecs.times import from_number, micros
from ingest.codecs.usual_names import Convert, Meaning, meaning, without_tested_fire
from ingest.codecs.values import name
from ingest.errors import Undecodable
from ingest.readings import FIRE_STATES, Observation

if TYPE_CHECKING:
    from ingest.sources import Source

#: Platforms write these for "the device reported none".
_NOTHING = frozenset({"", "undefined", "null", "none"})

#: Keys of product models that say alarm and not of what.
_ALARMS = frozenset(
    {"alarm", "Alarm", "ALARM", "alarm_status", "alarmStatus", "AlarmStatus", "alarm_state", "alarmState"}
)

#: Of one message, objects and keys together: far more than any platform packs into one, and soon looked at.
ITEMS = 1_500
#: Of one message, with those that nobody looks at.
KEYS = 5_000

#: Keys of a format that mean something without a source's help, and those (None) that do not although they seem to.
Special = Mapping[str, Meaning | None]


def signal(value: float) -> float:
    """dBm of what NB-IoT modules report: positive numbers mean minus, beyond 200 it is tenths of a dBm."""
    strength = -abs(value)
    return strength / 10 if strength < -200 else strength


def millivolts(value: float) -> float:
    return value / 1000


def of_quantity(name: str, convert: Convert | None = None) -> Meaning:
    return Meaning(name, False, convert, "")


def of_state(name: str) -> Meaning:
    return Meaning(name, True, None, "")


#: How NB-IoT modules call what they hear of the network.
SIGNALS: dict[str, Meaning] = {key: of_quantity("rssi", signal) for key in ("RSRP", "rsrp", "SignalPower")}


class Reader:
    """Collects what one message says, device by device.

    A wrong value of a fire state or of a key the source maps sets the whole message aside, unless something else in
    it says fire: then that is told without it. Other values that make no sense are not reported.
    """

    __slots__ = ("_fields", "_left", "_observations", "_source", "_topic", "_tree", "_wrong", "renames")

    def __init__(self, source: Source, topic: str, tree: object) -> None:
        self._source = source
        self._fields = tuple(source.fields.items())
        self.renames = bool(source.device)  #: the source names devices by itself, not by what the platform calls them
        self._topic = topic
        self._tree = tree
        self._observations: list[Observation] = []
        self._wrong: Undecodable | None = None
        self._left = ITEMS

    def items(self, value: object, path: str) -> list[object]:
        """A JSON array; one object instead of an array is an array of one, null an empty one."""
        items = value if type(value) is list else [] if value is None else [value]
        self._count(len(items), path)
        return items

    def stated(self, *values: object) -> int | None:
        """The first of these that is a time; in the source's zone where it states none."""
        return stated(*values, zone=self._source.zone)

    def device(self, stated_id: object, path: str) -> str:
        """The platform's id of a device; "" where it states none and the source knows better."""
        return "" if self.renames and absent(stated_id) else name(stated_id, path)

    def gather(
        self, body: Mapping[str, object], special: Special, path: str, above: str = ""
    ) -> tuple[dict[str, float], dict[str, bool]]:
        """Quantities and states of a flat body, by the source's fields, the format's special keys and usual names.

        `above` is what the body as a whole is about, such as the name of the service it belongs to.
        """
        self._count(len(body), path)
        values: dict[str, float] = {}
        states: dict[str, bool] = {}
        for key, value in body.items():
            if value is None or (type(value) is str and absent(value)):
                continue
            what = self.meaning(key, special, above)
            if what is None:
                self._ask(key, value, special, path)
            elif not (what.state and value == -1):
                try:
                    note(what, value, f"{path}.{key}", self._source.fields, values, states)
                except Undecodable as error:
                    self.wrong(error)
        return values, states

    def _ask(self, key: str, value: object, special: Special, path: str) -> None:
        """An alarm of who knows what is no heartbeat, unless the source says where alarms of smoke are."""
        if key in _ALARMS and value in (1, "1") and key not in special and "smoke_alarm" not in self._source.fields:
            self.wrong(Undecodable(f"{path}.{key}: an alarm of an unknown kind; name the key in the source's fields"))

    def meaning(self, key: str, special: Special, above: str = "") -> Meaning | None:
        """What a key means; what the source says of it comes first."""
        fields = self._fields
        what = meaning(f"{above}/{key}" if above else key, "", fields)
        if key not in special or (what is not None and what.mapped):
            return what
        own = special[key]
        return None if own is not None and any(ours == own.name for ours, _ in fields) else own

    def _count(self, more: int, path: str) -> None:
        self._left -= more
        if self._left < 0:
            raise Undecodable(f"{path}: more than {ITEMS} objects and keys in one message; send fewer at once")

    def wrong(self, error: Undecodable) -> None:
        """Something in the message cannot be understood; the first one of a message is its reason."""
        if self._wrong is None:
            self._wrong = error

    def add(
        self, device: str, at: int | None, values: dict[str, float], states: dict[str, bool], tree: object = None
    ) -> None:
        """One observation of the device the platform names; `tree` where an array's item has names of its own."""
        site, device = placed(self._source, self._topic, self._tree if tree is None else tree, device)
        if not device:
            raise Undecodable(f"topic {shown(self._topic)} names no device, nor does the payload; give the topic")
        states = without_tested_fire(states)
        self._observations.append(Observation(device=device, site=site, observed_at=at, values=values, states=states))

    def alive(self, device: str, at: int | None, tree: object = None) -> None:
        """The device sent something that says nothing we know, but that it is there."""
        self.add(device, at, {}, {"online": True}, tree)

    def decoded(self) -> Decoded:
        """All of it; Undecodable where a value was wrong and nothing says fire."""
        if self._wrong is not None and not any(_burns(item.states) for item in self._observations):
            raise self._wrong
        return Decoded(observations=tuple(self._observations))


def absent(value: object) -> bool:
    """Whether the platform writes this for nothing."""
    return value is None or (type(value) is str and value.strip().lower() in _NOTHING)


def stated(*values: object, zone: str = "UTC") -> int | None:
    """The first of these that is a time, in microseconds; `zone` of those that state none.

    None where none is: an alarm whose time is garbage is still an alarm, and the received time counts.
    """
    for value in values:
        if type(value) is int or type(value) is float:
            found = from_number(value) if value > 0 else None
        else:
            found = _time_of_text(value, zone)
        if found is not None:
            return found
    return None


def _time_of_text(value: object, zone: str) -> int | None:
    try:
        return micros(value, zone, "") if type(value) is str and value else None
    except Undecodable:
        return None


def body_of(value: object, path: str) -> object:
    """A JSON value, also where the platform wraps it once more as text."""
    if type(value) is not str or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return parse(value.encode(), KEYS)
    except Undecodable as error:
        raise Undecodable(f"{path}: {error}") from None
    except UnicodeEncodeError:
        raise Undecodable(f"{path}: a text that is not UTF-8; send UTF-8") from None


def known_by_imei(memory: CodecMemory, platform_id: str, stated_imeis: Iterable[object]) -> str:
    """The IMEI of a device, "" when unknown.

    It stands on the head's label and stays when the device moves to another platform or account, but online
    reports name the platform's id alone; so what goes with what is remembered, in two generations of bounded size.
    """
    young, old = _generations(memory)
    for value in stated_imeis:
        imei = _imei(value)
        if imei:
            if platform_id and young.get(platform_id) != imei and len(platform_id) <= _LONGEST_ID:
                if len(young) >= GENERATION:
                    memory["imei_old"], memory["imei"] = young, {platform_id: imei}
                else:
                    young[platform_id] = imei
            return imei
    return young.get(platform_id) or old.get(platform_id, "")


#: Devices in one generation of remembered IMEIs: 20 MB of memory when both are full.
GENERATION = 50_000
_LONGEST_ID = 64


def _generations(memory: CodecMemory) -> tuple[dict[str, str], dict[str, str]]:
    young, old = memory.setdefault("imei", {}), memory.setdefault("imei_old", {})
    return young, old  # type: ignore[return-value]  # both are ours


def _imei(value: object) -> str:
    text = str(value) if type(value) is int and 0 < value < 10**17 else value
    if type(text) is not str or not 14 <= len(text) <= 16 or not (text.isascii() and text.isdecimal()):
        return ""
    return text if text.strip("0") else ""


def _burns(states: Mapping[str, bool]) -> bool:
    return any(states.get(fire) for fire in FIRE_STATES)
