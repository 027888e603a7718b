"""The makes of devices that a town has: what each measures, how often it reports, what it lives on.

Intervals are those of an ordinary day; alarms come at once. Sources: D = ../shared/domain.md with its section and
confidence tag ([T] read in the document, [S] second hand), A = our assumption. What D has from memory only is an A.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0


class Model(StrEnum):
    """A make of device."""

    MAINS_HEAD = "mains_head"  #: smoke and heat head on the mains
    BATTERY_HEAD = "battery_head"  #: NB-IoT smoke alarm, sleeps nearly always
    LORA_HEAD = "lora_head"  #: LoRa smoke and heat head on a battery
    HEAT_HEAD = "heat_head"  #: for kitchens, where smoke means nothing
    SURFACE_PROBE = "surface_probe"  #: fixed to a parking space, feels the bike
    GATEWAY = "gateway"
    PILE = "pile"  #: charging pile with ten sockets
    CALL_POINT = "call_point"
    SIREN = "siren"


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What all devices of one model have in common."""

    device_class: str  #: a value of ingest.inventory.DeviceClass
    interval_s: float  #: reports at least this often, s
    mains: bool  #: stops with the mains unless it has a reserve
    keeps: bool  #: what it measures while away is sent afterwards
    battery_days: float = 0.0  #: a full battery lasts so long; 0 = it has none to speak of
    measures: tuple[str, ...] = ()  #: names of ingest.readings.QUANTITIES


MODELS: dict[Model, ModelFacts] = {
    # A: each minute, what a mains head can afford; D 3.1: Netvox samples its temperature once per minute [T]
    Model.MAINS_HEAD: ModelFacts(
        device_class="smoke_heat_head",
        interval_s=MINUTE_S,
        mains=True,
        keeps=False,
        measures=("temperature", "humidity", "smoke"),
    ),
    # A: once a day (D 6.4 has it from memory); D 3.2: about 3 years' battery [S]; D 6.3: they tell the temperature [T]
    Model.BATTERY_HEAD: ModelFacts(
        device_class="smoke_head",
        interval_s=DAY_S,
        mains=False,
        keeps=False,
        battery_days=3 * 365.0,
        measures=("smoke", "temperature", "battery"),
    ),
    # D 6.4: Netvox RA02A each 3,600 s [T]; A: 5 years, a hundred bytes an hour on a lithium cell
    Model.LORA_HEAD: ModelFacts(
        device_class="smoke_heat_head",
        interval_s=HOUR_S,
        mains=False,
        keeps=False,
        battery_days=5 * 365.0,
        measures=("temperature", "smoke", "battery"),
    ),
    # A: as the mains head; a kitchen has a socket
    Model.HEAT_HEAD: ModelFacts(
        device_class="heat_head", interval_s=MINUTE_S, mains=True, keeps=False, measures=("temperature",)
    ),
    # A: each five minutes, wired to the pile's supply
    Model.SURFACE_PROBE: ModelFacts(
        device_class="surface_probe", interval_s=5 * MINUTE_S, mains=True, keeps=False, measures=("temperature",)
    ),
    # A: each minute; D 6.4: transmission devices keep alive each 20 to 30 s [S], which is the link's matter here
    Model.GATEWAY: ModelFacts(device_class="gateway", interval_s=MINUTE_S, mains=True, keeps=True),
    # D 6.4 and 5.5: heartbeat each 180 s [T], with voltage, temperature of the enclosure and signal
    Model.PILE: ModelFacts(
        device_class="charging_pile",
        interval_s=3 * MINUTE_S,
        mains=True,
        keeps=False,
        measures=("voltage", "current", "device_temperature", "rssi"),
    ),
    # A: a radio on a battery, once a day
    Model.CALL_POINT: ModelFacts(
        device_class="manual_call_point",
        interval_s=DAY_S,
        mains=False,
        keeps=False,
        battery_days=5 * 365.0,
        measures=("battery",),
    ),
    # A: each hour
    Model.SIREN: ModelFacts(device_class="siren", interval_s=HOUR_S, mains=True, keeps=False),
}

#: Models that smell smoke under a ceiling.
SMOKE = (Model.MAINS_HEAD, Model.LORA_HEAD, Model.BATTERY_HEAD)
