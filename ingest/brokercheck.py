"""`emberwatch check`, the broker: what it would lose before it reaches us, and which setting would change that.

A session with an unguessable topic is parked, a burst is published to it, and what comes back is counted: that
shows the queue and the window as they are, whatever the configuration says. Cleans up after itself.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

import msgspec

from ingest.brokerdoors import door_findings
from ingest.brokerfinding import Finding, Grade
from ingest.brokerprobe import LOAD_BYTES, LOAD_MESSAGES, Answer, Probe, Refused
from ingest.brokertrouble import trouble
from ingest.errors import OperatorError
from ingest.localbroker import local_mosquitto
from ingest.mqtt import V5, V311, BrokerAddress, parse_mqtt_url
from ingest.outage import Load, Room, load_of, outage_finding
from ingest.sources import Source
from ingest.subscriptions import connection_problems

MESSAGES = 2_000
SECONDS = 15.0
SMALL_WINDOW = 500  #: below this the receiver waits for the network instead of filling its batches
LARGEST_MESSAGE = 1 << 20  #: what an array of buffered readings can need
QUIET_S = 0.4  #: nothing came for so long: nothing more comes


def check_broker(
    mqtt_url: str,
    sources: Sequence[Source] = (),
    *,
    inventory_rate: float | None = None,
    messages: int = MESSAGES,
    seconds: float = SECONDS,
) -> list[Finding]:
    """Everything worth saying about the broker, within `seconds`; never raises for what a broker may do.

    `inventory_rate`: messages/s that the registered devices send, where that is known.
    """
    sources = [source for source in sources if source.by_broker]
    findings = [Finding(grade=Grade.BROKEN, about="sources", seen=problem) for problem in connection_problems(sources)]
    try:
        address = parse_mqtt_url(mqtt_url)
    except OperatorError as error:
        return [*findings, Finding(grade=Grade.BROKEN, about="connection", seen=str(error))]
    try:
        return findings + _Check(address, messages, time.monotonic() + seconds, inventory_rate).run(sources)
    except Refused as error:
        broken = Finding(grade=Grade.BROKEN, about="connection", seen=str(error))
    except (OperatorError, OSError) as error:
        why = trouble(error, address)
        broken = Finding(grade=Grade.BROKEN, about="connection", seen=why.seen, change=why.change)
    return [*findings, broken]


class _Check:
    """One run against one broker."""

    def __init__(self, address: BrokerAddress, messages: int, deadline: float, inventory_rate: float | None) -> None:
        self._address = address
        self._inventory_rate = inventory_rate
        self._messages = messages
        self._deadline = deadline
        self._protocol = V5
        self._name = f"emberwatch-check-{secrets.token_hex(8)}"
        self._topic = f"emberwatch/probe/{secrets.token_hex(16)}"

    def _probe(self, name: str = "", *, clean: bool = True, address: BrokerAddress | None = None) -> Probe:
        return Probe(
            address or self._address,
            client_id=self._name + name,
            protocol=self._protocol,
            clean=clean,
            deadline=self._deadline,
        )

    def run(self, sources: Sequence[Source]) -> list[Finding]:
        first = self._first_contact()
        try:
            first.ask_about_itself()
            findings = [_protocol_finding(self._protocol == V5, first.answer), *_stated(first.answer)]
            refused = first.subscribe([source.filter for source in sources], qos=0)
            findings += [
                Finding(
                    grade=Grade.LOSES,
                    about="permission",
                    seen=f"the broker refuses the subscription to {filter_!r}: {reason}",
                    change="let our user read this topic (mosquitto: acl_file)",
                )
                for filter_, reason in refused.items()
            ]
        finally:
            first.leave(forget=True)
        findings += door_findings(self._address, lambda nobody: self._probe("-nobody", address=nobody))
        load = _load(first.answer, self._inventory_rate)
        return findings + self._burst(load) + _persistence(self._address)

    def _first_contact(self) -> Probe:
        try:
            return self._probe("-first")
        except Refused as error:
            if not error.protocol:
                raise
            self._protocol = V311
            return self._probe("-first")

    def _burst(self, load: Load) -> list[Finding]:
        parked = self._probe(clean=False)
        refused = parked.subscribe([self._topic], qos=1)
        if refused:
            parked.leave(forget=True)
            return [
                Finding(
                    grade=Grade.NOTE,
                    about="queue",
                    seen=f"not tested: the broker refuses the probe topic {self._topic}: {refused[self._topic]}",
                    change="let our user read and write emberwatch/probe/# for this check",
                )
            ]
        parked.leave(forget=False)
        try:
            published = self._publish()
        finally:
            back = self._probe(clean=False)  # also takes the session away
        try:
            came, window = _count(back, published)
            findings = _burst_findings(published, came, window, kept=back.answer.session_present)
            findings += self._outage(published, came, load)
        finally:
            back.leave(forget=True)
            self._forget()
        if published < self._messages:
            seen = f"only {published:,} of {self._messages:,} messages of the test could be published in time"
            findings.append(Finding(grade=Grade.NOTE, about="burst", seen=seen))
        return findings

    def _outage(self, published: int, came: int, load: Load) -> list[Finding]:
        if not came:
            return []  # said before: nothing is kept
        local = local_mosquitto(self._address)
        room = local.room() if local else Room()
        if came < published:
            room = msgspec.structs.replace(room, messages=came)
        return [outage_finding(room, load, seen_at_least=came)]

    def _publish(self) -> int:
        publisher = Probe(
            self._address,
            client_id=self._name + "-publisher",
            protocol=V311,  # no limit to what may be on its way
            clean=True,
            deadline=self._deadline,
        )
        published = publisher.publish(self._topic, self._messages, until=self._deadline - 4.0)
        publisher.leave(forget=True)
        return published

    def _forget(self) -> None:
        """A session of MQTT 3.1.1 ends only when its client comes back with a clean one."""
        if self._protocol == V311:
            self._probe(clean=True).leave(forget=True)


def _load(answer: Answer, inventory_rate: float | None) -> Load:
    present, octets = answer.a_second(LOAD_MESSAGES), answer.a_second(LOAD_BYTES)
    each = octets / present if octets and present and present >= 1.0 else None
    return load_of(present=present, inventory=inventory_rate, bytes_=each)


def _count(back: Probe, published: int) -> tuple[int, int]:
    """How many came in all, and how many before the first acknowledgement."""
    back.receive(published, quiet=QUIET_S)
    window = len(back.received)
    while len(back.received) < published:
        before = len(back.received)
        back.acknowledge()
        back.receive(published, quiet=QUIET_S)
        if len(back.received) == before:
            break
    back.acknowledge()
    return len(back.received), window


def _burst_findings(published: int, came: int, window: int, *, kept: bool) -> list[Finding]:
    if not kept or came == 0:
        return [
            Finding(
                grade=Grade.LOSES,
                about="queue",
                seen="nothing of what was published to emberwatch/probe/ while we were away came back"
                + ("" if kept else "; the broker kept no session for us"),
                change="let it keep sessions (mosquitto: no persistent_client_expiration, allow_anonymous or a user "
                "that may read and write emberwatch/probe/#)",
            )
        ]
    if came < published:
        queue = Finding(
            grade=Grade.LOSES,
            about="queue",
            seen=f"of {published:,} messages published while we were away {came:,} came back",
            change="mosquitto: set max_queued_messages 0 (and no max_queued_bytes); elsewhere lift the limit of a "
            "client's queue",
        )
    else:
        queue = Finding(
            grade=Grade.OK,
            about="queue",
            seen=f"all {published:,} messages published while we were away came back; a larger limit cannot be seen "
            "from here (mosquitto: max_queued_messages must be 0)",
        )
    return [queue, _window_finding(window, came)]


def _window_finding(window: int, came: int) -> Finding:
    seen = f"the broker sends {window:,} messages before it waits for an acknowledgement"
    if window >= min(SMALL_WINDOW, came):
        return Finding(grade=Grade.OK, about="window", seen=seen)
    return Finding(
        grade=Grade.NOTE,
        about="window",
        seen=seen + ", which holds us back when many come",
        change="mosquitto: max_inflight_messages 2000; elsewhere raise the in-flight window of a client",
    )


def _protocol_finding(v5: bool, answer: Answer) -> Finding:
    kind = f" ({answer.version})" if answer.version else ""
    if v5:
        return Finding(grade=Grade.OK, about="protocol", seen=f"MQTT 5{kind}")
    return Finding(
        grade=Grade.NOTE,
        about="protocol",
        seen=f"MQTT 3.1.1 only{kind}: user properties and content types do not reach us, and the broker cannot state "
        "its limits (largest packet, session expiry)",
        change="mosquitto 2 or another broker with MQTT 5",
    )


def _stated(answer: Answer) -> list[Finding]:
    """What the broker says of itself when it lets us in (MQTT 5)."""
    findings = []
    limits = answer.limits
    if limits.get("MaximumQoS", 2) < 1:
        findings.append(
            Finding(
                grade=Grade.LOSES,
                about="QoS",
                seen="the broker knows QoS 0 only: every cut connection loses messages",
                change="mosquitto: max_qos 2",
            )
        )
    if (expiry := limits.get("SessionExpiryInterval")) is not None and expiry < 30 * 86_400:
        findings.append(
            Finding(
                grade=Grade.LOSES,
                about="session",
                seen=f"the broker forgets our session {expiry / 3600:,.1f} h after we leave, and all it queued",
                change="mosquitto: take persistent_client_expiration away; elsewhere raise the session expiry",
            )
        )
    if (largest := limits.get("MaximumPacketSize")) is not None and largest < LARGEST_MESSAGE:
        findings.append(
            Finding(
                grade=Grade.LOSES,
                about="size",
                seen=f"packets over {largest:,} bytes are refused",
                change="mosquitto: take max_packet_size and message_size_limit away, or raise them",
            )
        )
    if limits.get("WildcardSubscriptionAvailable", 1) == 0:
        findings.append(
            Finding(grade=Grade.BROKEN, about="wildcards", seen="the broker knows no wildcards in subscriptions")
        )
    if limits.get("RetainAvailable", 1) == 0:
        findings.append(
            Finding(
                grade=Grade.NOTE,
                about="retain",
                seen="the broker retains nothing: who connects later does not learn that a device is offline",
                change="mosquitto: retain_available true",
            )
        )
    if not findings and limits.get("v5"):
        findings.append(
            Finding(
                grade=Grade.OK, about="limits", seen="QoS, session expiry, packet size, wildcards and retain: no limit"
            )
        )
    return findings


def _persistence(address: BrokerAddress) -> list[Finding]:
    """Whether queues outlive the broker: nothing on the wire tells, so look for a mosquitto on this machine."""
    about = "persistence"
    local = local_mosquitto(address)
    if local is None:
        return [
            Finding(
                grade=Grade.NOTE,
                about=about,
                seen="whether queues survive a restart of the broker cannot be seen over the wire",
                change="mosquitto: persistence true with a persistence_location it can write, autosave_interval 30; "
                "to know, publish to a parked session, restart the broker, and look",
            )
        ]
    if local.last("persistence", "false") != "true":
        return [
            Finding(
                grade=Grade.LOSES,
                about=about,
                seen=f"{local.path}: persistence is off: a restart of the broker forgets what it queued",
                change="set persistence true",
            )
        ]
    seconds = int(local.last("autosave_interval", "1800"))
    if seconds == 0 or seconds > 60:
        saves = f"each {seconds} s" if seconds else "only when it ends"
        return [
            Finding(
                grade=Grade.LOSES,
                about=about,
                seen=f"{local.path}: queues are written to disk {saves}: a power cut loses what came since",
                change="set autosave_interval 30",
            )
        ]
    return [Finding(grade=Grade.OK, about=about, seen=f"{local.path}: queues are written to disk each {seconds} s")]
