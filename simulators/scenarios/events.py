"""All kinds of events, by the word a scenario file uses for them."""

from __future__ import annotations

from simulators.scenarios import disturbances, fires, troubles
from simulators.scenarios.happening import Event

EVENTS: dict[str, type[Event]] = {
    "battery_fire": fires.BatteryFire,
    "growing_fire": fires.GrowingFire,
    "smoulder": fires.Smoulder,
    "cooking": disturbances.Cooking,
    "welding": disturbances.Welding,
    "sweeping": disturbances.Sweeping,
    "exhaust": disturbances.Exhaust,
    "hot_roof": disturbances.HotRoof,
    "fog": disturbances.Fog,
    "dust_drift": troubles.DustDrift,
    "stuck": troubles.StuckSensor,
    "drift": troubles.DriftingSensor,
    "glitches": troubles.Glitches,
    "dying_battery": troubles.DyingBattery,
    "away": troubles.Gone,
    "clock": troubles.WrongClock,
    "reboot": troubles.DeviceReboot,
    "power_cut": troubles.PowerCut,
    "says": troubles.Says,
    "charges": troubles.Charges,
}
