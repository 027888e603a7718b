"""The engine: (state, records in order) → (state, decisions). It reads no clock, no database, no network.

Live, replay and back-test run this same code. The caller hands it admitted messages and control records in the order
of the log, each with its offset and log time, and takes the decisions. Nothing depends on how records are batched.

Two clocks drive deadlines. `clock` is the shard's time: log time, or the feed's own time for a recording. `listening`
is how long our intake was really listening; silence of a device is judged by it alone, so that our own outage never
makes a thousand devices look dead. In a recording the two are one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from alerts.alert import AlertState
from alerts.decisions import Decision
from alerts.episode import Change, hold_is_over, observe
from alerts.incident import TellReason
from alerts.memory import ClockMemory, DeviceMemory, SiteMemory, Subject
from alerts.outcome import Outcome
from alerts.people import apply, rule_of
from alerts.rulebook import Rulebook
from alerts.rules.contract import RuleBase, Signal
from alerts.rules.level import LevelRule
from alerts.rules.rate import RateRule
from alerts.rules.state import StateRule
from alerts.unknown import BLIND_AFTER, blind, suspect
from ingest.admission import Admission
from ingest.inventory import Device, InventoryDelta
from ingest.message import Act, Intake, Tick
from ingest.readings import FIRE_STATES, SECOND, Lateness, Reading
from ingest.sources import Clock

#: Acts whose ids are remembered, so that one carried into the log twice is applied once.
REMEMBERED_ACTS = 10_000


class Engine:
    """The state machine of one shard. Not thread-safe; owns all its memory."""

    def __init__(self, *, shard: str, clock: Clock, rulebook: Rulebook) -> None:
        self.shard = shard
        self.observed = clock is Clock.OBSERVED
        self.rulebook = rulebook
        self.global_memory = ClockMemory()
        self.sites: dict[str, SiteMemory] = {}
        self._acts: dict[str, None] = {}
        self._outcome = Outcome()
        self._holds: list[tuple[int, str, str, str]] = []
        self._silences: list[tuple[int, str, str]] = []

    # ---- what the caller hands in, in the order of the log ------------------------------------------------------

    def take(self) -> list[Decision]:
        """The decisions since the last call, in the order they were made."""
        return self._outcome.take()

    def admitted(self, admission: Admission, *, offset: int, at: int) -> None:
        """A message, as admit judged it; `at` is its log time (µs)."""
        self._begin(offset, at)
        readings = admission.readings
        superseded = _superseded(readings) if len(readings) > 1 else frozenset()
        for index, reading in enumerate(readings):
            self._reading(reading, superseded if reading.late else frozenset(), index)
        if admission.suspicion is not None:
            judged_at = max(self.global_memory.clock, 1) if self.observed else at
            suspect(self.sites, self._outcome, admission.suspicion, judged_at)

    def tick(self, tick: Tick, *, offset: int, at: int) -> None:
        """Our intake listened until `at`. A recording keeps its own time and ignores ticks."""
        if not self.observed:
            self.global_memory.listening += tick.listened
            self._begin(offset, at)

    def intake(self, intake: Intake, *, offset: int, at: int) -> None:
        """Our intake is back; a long gap is one alert with its beginning and end, never one for each device."""
        self._begin(offset, at)
        if not self.observed and intake.up_at - intake.down_at >= BLIND_AFTER:
            blind(self.sites, self._outcome, intake, self.shard)

    def act(self, act: Act, *, offset: int, at: int) -> None:
        """A person did something; an act that was seen before changes nothing."""
        self._begin(offset, at)
        if act.id in self._acts:
            return
        self._acts[act.id] = None
        while len(self._acts) > REMEMBERED_ACTS:
            del self._acts[next(iter(self._acts))]
        apply(self.sites, self._outcome, self.rulebook, act, max(at, self.global_memory.clock))

    def inventory(self, delta: InventoryDelta, *, offset: int, at: int) -> None:
        """Devices were registered, changed or removed."""
        self._begin(offset, at)
        for device in delta.devices:
            self._register(device)
        for key in delta.removed_devices:
            site, _, device_id = key.partition("/")
            self._remove(site, device_id)

    def rules(self, rulebook: Rulebook, *, offset: int, at: int) -> None:
        """A new rulebook. Rules whose definition did not change keep their state; alerts of removed rules stay."""
        self._begin(offset, at)
        stale = {
            rule.id
            for rule in self.rulebook.rules
            if rule.id not in rulebook.by_id or rulebook.by_id[rule.id].version != rule.version
        }
        self.rulebook = rulebook
        for name, site in self.sites.items():
            if self._outcome.offset > site.offset:
                for device_id, device in site.devices.items():
                    self._forget_rules(Subject(name, site, device_id, device), stale)
        self._schedule_all()

    # ---- clocks and deadlines -----------------------------------------------------------------------------------

    def _begin(self, offset: int, at: int) -> None:
        self._outcome.offset = offset
        if not self.observed:
            self._advance(at)

    def _advance(self, clock: int) -> None:
        memory = self.global_memory
        if clock > memory.clock:
            if self.observed:
                if memory.clock == 0:
                    self._start_feed(clock)
                memory.listening = clock
            memory.clock = clock
        if self._holds and self._holds[0][0] <= memory.clock:
            self._run_holds()
        if self._silences and self._silences[0][0] <= memory.listening:
            self._run_silences()

    def _start_feed(self, clock: int) -> None:
        """The first time of a recording: what was registered before it counts as heard now."""
        for site in self.sites.values():
            for device in site.devices.values():
                device.heard = max(device.heard, clock)
        self._schedule_all()

    def _run_holds(self) -> None:
        while self._holds and self._holds[0][0] <= self.global_memory.clock:
            due, site_name, device_id, rule_id = heapq.heappop(self._holds)
            site = self.sites[site_name]
            device = site.devices.get(device_id)
            episode = device.episodes.get(rule_id) if device else None
            rule = self.rulebook.by_id.get(rule_id)
            if device is None or episode is None or rule is None or episode.due != due:
                continue
            change = hold_is_over(episode, rule, due)
            if change:
                self._outcome.changed(Subject(site_name, site, device_id, device), rule, episode, change)

    def _run_silences(self) -> None:
        listening = self.global_memory.listening
        while self._silences and self._silences[0][0] <= listening:
            _, site_name, device_id = heapq.heappop(self._silences)
            site = self.sites[site_name]
            device = site.devices.get(device_id)
            if device is None:
                continue
            due = self._silence_due(device)
            if due > listening:
                heapq.heappush(self._silences, (due, site_name, device_id))
            elif due:
                self._silent(site_name, site, device_id, device, listening)

    def _silent(self, site_name: str, site: SiteMemory, device_id: str, device: DeviceMemory, listening: int) -> None:
        for rule in self.rulebook.plans[device.device_class].absence:
            due = device.heard + rule.patience(device.interval)
            if rule.id not in device.episodes and due <= listening:
                at = self.global_memory.clock - (listening - due)
                self._judged(Subject(site_name, site, device_id, device), rule, rule.silent(device.interval), at, None)
        due = self._silence_due(device)
        if due:
            heapq.heappush(self._silences, (due, site_name, device_id))

    def _silence_due(self, device: DeviceMemory) -> int:
        """Listening time at which the next absence rule must be asked; 0: never."""
        if not device.interval:
            return 0
        waiting = [rule for rule in self.rulebook.plans[device.device_class].absence if rule.id not in device.episodes]
        return min((device.heard + rule.patience(device.interval) for rule in waiting), default=0)

    def _schedule_all(self) -> None:
        """Build both heaps anew from what is remembered."""
        self._holds = []
        self._silences = []
        for site_name, site in self.sites.items():
            for device_id, device in site.devices.items():
                self._schedule_silence(site_name, device_id, device)
                for rule_id, episode in device.episodes.items():
                    if episode.state is AlertState.PENDING:
                        self._holds.append((episode.due, site_name, device_id, rule_id))
        heapq.heapify(self._holds)

    def _schedule_silence(self, site_name: str, device_id: str, device: DeviceMemory) -> None:
        due = self._silence_due(device)
        if due:
            heapq.heappush(self._silences, (due, site_name, device_id))

    # ---- readings -----------------------------------------------------------------------------------------------

    def _reading(self, reading: Reading, superseded: frozenset[tuple[int, str]], index: int) -> None:
        if self.observed:
            self._advance(reading.at)
        site = self.sites.get(reading.site)
        if site is None:
            site = self.sites[reading.site] = SiteMemory()
        if self._outcome.offset <= site.offset:
            return
        device = site.devices.get(reading.device)
        if device is None:
            device = self._register(Device(id=reading.device, site=reading.site, enrolled=True))
        if reading.late is None or reading.late is not Lateness.RETAINED:
            self._heard(reading, site, device)
        plan = self.rulebook.plans[device.device_class]
        newest = device.newest
        at = reading.at
        for field, value in reading.values.items():
            last = newest.get(field, -1)
            if at > last:
                newest[field] = at
            if field in plan.levels:
                low, high = plan.quiet[field]
                if device.episodes or not low < value < high:
                    self._levels(reading, site, device, plan.levels[field], value, last, (index, field) in superseded)
            if field in plan.rates and at > last and reading.late is None:
                self._rates(reading, site, device, plan.rates[field], value)
        for field, state in reading.states.items():
            last = newest.get(field, -1)
            if at > last:
                newest[field] = at
            if state and field in FIRE_STATES and reading.states.get("test"):
                continue  # a head under test says alarm; that is a test, never a fire
            if field in plan.states and (index, field) not in superseded:
                self._states(reading, site, device, plan.states[field], state, last)

    def _heard(self, reading: Reading, site: SiteMemory, device: DeviceMemory) -> None:
        heard = min(reading.at, self.global_memory.clock) if self.observed else self.global_memory.listening
        if heard > device.heard:
            device.heard = heard
        if not device.episodes:
            return
        for rule in self.rulebook.plans[device.device_class].absence:
            episode = device.episodes.get(rule.id)
            if episode:
                back = Change(AlertState.FIRING, AlertState.CLEARED, reading.at, "it reports again")
                self._outcome.changed(Subject(reading.site, site, reading.device, device), rule, episode, back)
                self._schedule_silence(reading.site, reading.device, device)

    def _levels(
        self,
        reading: Reading,
        site: SiteMemory,
        device: DeviceMemory,
        rules: tuple[LevelRule, ...],
        value: float,
        last: int,
        superseded: bool,
    ) -> None:
        at, late = reading.at, reading.late is not None
        for rule in rules:
            if rule.id not in device.episodes and rule.quiet(value):
                continue
            signal = rule.judge(value)
            # history is judged only where it says something new, and only by limits that need no time to prove
            if (at <= last and (late or not signal.breaching)) or (late and (superseded or rule.hold)):
                continue
            self._judged(Subject(reading.site, site, reading.device, device), rule, signal, at, reading)

    def _rates(
        self, reading: Reading, site: SiteMemory, device: DeviceMemory, rules: tuple[RateRule, ...], value: float
    ) -> None:
        for rule in rules:
            window = device.windows.get(rule.id, b"")
            window, signal = rule.judge(window, reading.at, value, watched=rule.id in device.episodes)
            device.windows[rule.id] = window
            if signal is not None:
                self._judged(Subject(reading.site, site, reading.device, device), rule, signal, reading.at, reading)

    def _states(
        self,
        reading: Reading,
        site: SiteMemory,
        device: DeviceMemory,
        rules: tuple[StateRule, ...],
        value: bool,
        last: int,
    ) -> None:
        at, late = reading.at, reading.late is not None
        if late and reading.late is Lateness.RETAINED and reading.device_at is None and last >= 0:
            return  # the broker's copy of what we already knew, at an unknown time
        for rule in rules:
            signal = rule.judge(value)
            # a live alarm is never ignored for a clock that ran ahead; anything else out of order is history
            if at <= last and (late or not signal.breaching):
                continue
            if signal.breaching or rule.id in device.episodes:
                self._judged(Subject(reading.site, site, reading.device, device), rule, signal, at, reading)

    # ---- episodes -----------------------------------------------------------------------------------------------

    def _judged(self, subject: Subject, rule: RuleBase, signal: Signal, at: int, reading: Reading | None) -> None:
        """A rule answered for a sample: begin, continue or end its episode."""
        episode = subject.device.episodes.get(rule.id)
        was_due = episode.due if episode else -1
        if episode is not None:
            change = observe(episode, rule, signal, at)
        elif signal.breaching:
            episode, change = self._outcome.begun(subject, rule, signal, at)
        else:
            return
        if episode.state is AlertState.PENDING and episode.due != was_due:
            heapq.heappush(self._holds, (episode.due, subject.site_name, subject.device_id, rule.id))
        if change:
            late = TellReason.LATE if reading is not None and reading.late else None
            self._outcome.changed(subject, rule, episode, change, reason=late)

    # ---- inventory ----------------------------------------------------------------------------------------------

    def _register(self, row: Device) -> DeviceMemory:
        site = self.sites.setdefault(row.site, SiteMemory())
        known = site.devices.get(row.id)
        if known is not None and self._outcome.offset <= site.offset:
            return known
        interval = round((row.expected_interval_s or 0) * SECOND)
        if known is None:
            known = site.devices[row.id] = DeviceMemory(row.device_class.value, heard=self.global_memory.listening)
        known.device_class, known.interval = row.device_class.value, interval
        self._schedule_silence(row.site, row.id, known)
        return known

    def _remove(self, site_name: str, device_id: str) -> None:
        site = self.sites.get(site_name)
        if site is None or device_id not in site.devices or self._outcome.offset <= site.offset:
            return
        device = site.devices[device_id]
        at = self.global_memory.clock
        for rule_id, episode in list(device.episodes.items()):
            rule = rule_of(self.rulebook, rule_id, episode)
            if not rule.latch:
                gone = Change(episode.state, AlertState.CLEARED, at, "the device was removed from the inventory")
                self._outcome.changed(Subject(site_name, site, device_id, device), rule, episode, gone)
        device.interval = 0
        if not device.episodes:
            del site.devices[device_id]

    def _forget_rules(self, subject: Subject, stale: Iterable[str]) -> None:
        """Rules that changed or went: what they were still weighing is dropped, what is firing stays."""
        for rule_id in stale:
            subject.device.windows.pop(rule_id, None)
            episode = subject.device.episodes.get(rule_id)
            if episode is not None and episode.state is AlertState.PENDING:
                gone = Change(AlertState.PENDING, AlertState.CLEARED, self.global_memory.clock, "its rule changed")
                self._outcome.changed(subject, rule_of(self.rulebook, rule_id, episode), episode, gone)

    # ---- checkpoints --------------------------------------------------------------------------------------------

    def remember(self) -> ClockMemory:
        """What belongs to no site, as it is now; a checkpoint takes this first, then the sites."""
        self.global_memory.acts = list(self._acts)
        return self.global_memory

    def recall(self, memory: ClockMemory, sites: dict[str, SiteMemory]) -> None:
        """Go on from a checkpoint. Each site then skips the records that its slice already has."""
        self.global_memory = memory
        self._acts = dict.fromkeys(memory.acts)
        self.sites = sites
        self._schedule_all()


def _superseded(readings: tuple[Reading, ...]) -> frozenset[tuple[int, str]]:
    """Which (index, field) of one message are older than another value of the same field and device in it."""
    newest: dict[tuple[str, str, str], tuple[int, int]] = {}
    everything: list[tuple[int, str]] = []
    for index, reading in enumerate(readings):
        for field in (*reading.values, *reading.states):
            key = (reading.site, reading.device, field)
            newest[key] = max(newest.get(key, (reading.at, index)), (reading.at, index))
            everything.append((index, field))
    kept = {(index, field) for (_, _, field), (_, index) in newest.items()}
    return frozenset(pair for pair in everything if pair not in kept)
