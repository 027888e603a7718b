"""What the engine remembers, in slices of whole sites that a checkpoint can hold one by one. Pure data."""

from __future__ import annotations

import msgspec

from alerts.episode import Episode
from alerts.incident import IncidentMemory
from alerts.rules.rate import Window


class DeviceMemory(msgspec.Struct, gc=False, omit_defaults=True):
    """One device. There may be 620,000, so what nearly none has takes no room.

    `device_class` is the plain name of its class, `interval` (µs, 0 = unknown) its expected interval, `heard` the
    listening time (µs) of its last sign of life, `newest` the time (µs) of the newest sample of each field, and
    `last_starts` when the last episode of a rule began, so that the next begins strictly later.
    """

    device_class: str
    interval: int = 0
    heard: int = 0
    newest: dict[str, int] = {}
    episodes: dict[str, Episode] = {}
    windows: dict[str, Window] = {}
    last_starts: dict[str, int] | None = None


class SiteMemory(msgspec.Struct):
    """One site with its devices and incidents. `offset`: the last record that is in this slice; a restart skips
    records up to it for this site. `strangers` are unregistered devices that gave a fire sign."""

    offset: int = -1
    devices: dict[str, DeviceMemory] = {}
    strangers: dict[str, DeviceMemory] = {}
    incidents: list[IncidentMemory] = []

    def episodes_of(self, incident: str) -> list[Episode]:
        """The alerts of this site that belong to an incident and are not over."""
        return [
            episode
            for device in (*self.devices.values(), *self.strangers.values())
            for episode in device.episodes.values()
            if episode.incident == incident
        ]


class Subject(msgspec.Struct, frozen=True):
    """Where an alert lives: a device (or stranger) of a site, with what is remembered of both."""

    site_name: str
    site: SiteMemory
    device_id: str
    device: DeviceMemory


class ClockMemory(msgspec.Struct):
    """What belongs to no site: the shard's clock, how long it listened (both µs), and the acts already applied."""

    clock: int = 0
    listening: int = 0
    acts: list[str] = []
