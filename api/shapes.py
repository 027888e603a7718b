"""What goes over the wire: the shapes of answers, of parameters and of acts. Times are ISO 8601, UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

from alerts.alert import AlertState, SignalClass
from alerts.incident import IncidentState
from ingest.inventory import DeviceClass
from ingest.readings import QUANTITIES, STATES

Item = TypeVar("Item")


def _with_zone(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("has no time zone; write it as 2026-03-01T08:00:00Z")
    return moment


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _known_quantity(name: str) -> str:
    if name not in QUANTITIES and name not in STATES:
        raise ValueError(f"is no quantity or state; known: {', '.join([*QUANTITIES, *STATES])}")
    return name


Time = Annotated[datetime, PlainSerializer(_utc, return_type=str)]
GivenTime = Annotated[datetime, AfterValidator(_with_zone)]
#: A name people or devices chose; never NUL, which no database text can hold.
Name = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00]*$")]
Words = Annotated[str, StringConstraints(max_length=4000, pattern=r"^[^\x00]*$")]
Quantity = Annotated[Name, AfterValidator(_known_quantity)]


class Items(BaseModel, Generic[Item]):
    """One page of a list; give `next` as `after` for the one behind it, null at the end."""

    items: list[Item]
    next: str | None


# --- parameters -------------------------------------------------------------------------------------------------


class Listing(BaseModel):
    """Parameters of every list; one that is not known is an error."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(100, ge=1, le=1000)
    after: str | None = Field(None, max_length=2000, description="`next` of the page before")


class AreaListing(Listing):
    """Which areas."""

    parent: Name | None = Field(None, description="only the direct children of this area")


class SiteListing(Listing):
    """Which sites."""

    area: Name | None = Field(None, description="only sites of this area and of all below it")


class DeviceListing(Listing):
    """Which devices."""

    site: Name | None = None
    device_class: DeviceClass | None = None


class AlertListing(Listing):
    """Which alerts."""

    site: Name | None = None
    device: Name | None = None
    rule: Name | None = None
    state: AlertState | None = None
    signal_class: SignalClass | None = Field(None, alias="class")
    incident: UUID | None = None


class IncidentListing(Listing):
    """Which incidents."""

    site: Name | None = None
    state: IncidentState | None = None
    signal_class: SignalClass | None = Field(None, alias="class")
    open: bool | None = Field(None, description="true: not closed; false: closed")


class DeliveryState(StrEnum):
    """How far a page has come."""

    WAITING = "waiting"  #: no final receipt yet
    ACCEPTED = "accepted"  #: a channel took it
    FAILED = "failed"  #: given up, with a reason


class DeliveryListing(Listing):
    """Which pages."""

    incident: UUID | None = None
    target: Name | None = None
    state: DeliveryState | None = None


class QuarantineListing(Listing):
    """Which messages that could not be admitted."""

    shard: Name | None = None
    reason: Name | None = None


class Resolution(StrEnum):
    """How finely readings are shown."""

    RAW = "raw"
    MINUTE = "1m"
    HOUR = "1h"
    DAY = "1d"


class ReadingListing(Listing):
    """Which readings, newest first. `device`, `site` or `from` must be given; `to` is the first moment left out."""

    device: Name | None = None
    site: Name | None = None
    quantity: Quantity | None = Field(None, description="only readings that report it, and only it")
    since: GivenTime | None = Field(None, alias="from", description="from this time on")
    until: GivenTime | None = Field(None, alias="to", description="before this time")
    resolution: Resolution = Field(Resolution.RAW, description="1m, 1h and 1d give aggregates per device")


class Merged(StrEnum):
    """What one aggregate is over."""

    DEVICE = "device"  #: one item a device and bucket
    SITE = "site"  #: one item a site and bucket, over all its devices


class AggregateListing(ReadingListing):
    """Which aggregates, newest first."""

    resolution: Resolution = Field(Resolution.HOUR, description="1m, 1h or 1d")
    by: Merged = Field(Merged.DEVICE, description="over each device, or over all devices of a site")


# --- what is watched --------------------------------------------------------------------------------------------


class Place(BaseModel):
    """An area, a centre or a site; `parent` is the area it hangs on."""

    id: str
    name: str
    parent: str
    lat: float | None
    lon: float | None
    attributes: dict[str, Any]


class DeviceShape(BaseModel):
    """A sensor or gateway and where it stands."""

    id: str
    site: str
    name: str
    gateway: str
    device_class: str
    expected_interval_s: float | None
    enrolled: bool
    lat: float | None
    lon: float | None
    attributes: dict[str, Any]


class TeamShape(BaseModel):
    """A response team."""

    id: str
    name: str
    kind: str
    areas: list[str]
    channels: list[str]
    default: bool


class RuleShape(BaseModel):
    """A rule of the rulebook in use."""

    id: str
    kind: str
    signal_class: str = Field(alias="class")
    severity: str
    version: str
    reason: str
    definition: dict[str, Any] = Field(description="durations in microseconds")


class ReadingShape(BaseModel):
    """One reading: only the quantities and states that were reported."""

    time: Time
    site: str
    device: str
    received_at: Time
    values: dict[str, float]
    states: dict[str, bool]
    late: str | None


class Statistic(BaseModel):
    """What one quantity was over a bucket of time."""

    min: float
    max: float
    avg: float
    count: int


class AggregateShape(BaseModel):
    """What the quantities of one device or site were over the bucket that begins at `time`."""

    time: Time
    site: str
    device: str | None
    count: int = Field(description="readings in the bucket, whatever they report")
    quantities: dict[str, Statistic]


# --- alerts, incidents, pages -----------------------------------------------------------------------------------


class AlertShape(BaseModel):
    """One rule true for one subject over one episode."""

    id: UUID
    rule: str
    rule_version: str
    signal_class: str = Field(alias="class")
    severity: str
    site: str
    device: str | None
    state: str
    started_at: Time
    fired_at: Time | None
    ended_at: Time | None
    value: float | bool | None
    limit: float | None
    reason: str
    incident: UUID | None
    retriggers: int
    told: str
    told_reason: str


class Sample(BaseModel):
    """One value that was judged."""

    at: Time
    value: float | None


class TransitionShape(BaseModel):
    """One change of an alert, with the samples it was judged by."""

    at: Time
    before: str | None
    after: str
    signal_class: str = Field(alias="class")
    value: float | bool | None
    limit: float | None
    reason: str
    rule_version: str
    input_offset: int
    evidence: list[Sample]


class AlertDetail(AlertShape):
    """An alert and how it came about."""

    transitions: list[TransitionShape]


class ReceiptShape(BaseModel):
    """What one attempt to deliver came to."""

    attempt: int
    outcome: str
    final: bool
    at: Time
    detail: str


class PageShape(BaseModel):
    """One message to one target by one channel, and its receipts."""

    id: UUID
    incident: UUID
    site: str
    tell: UUID | None
    step: int
    target: str
    channel: str
    signal_class: str = Field(alias="class")
    reason: str
    due_at: Time
    created_at: Time
    state: str
    receipts: list[ReceiptShape]


class TimelineShape(BaseModel):
    """Something that happened to an incident."""

    at: Time
    kind: str
    author: str
    text: str
    body: dict[str, Any]


class IncidentShape(BaseModel):
    """What people work on: alerts of one site grouped in time, with who was told."""

    id: UUID
    site: str
    site_name: str
    area: str
    state: str
    signal_class: str = Field(alias="class")
    severity: str
    opened_at: Time
    changed_at: Time
    closed_at: Time | None
    reason: str
    team: str
    verdict: str
    cause: str
    summary: str
    next_action: str
    version: int
    alerts: list[AlertShape]
    pages: list[PageShape]


class ActShape(BaseModel):
    """A human act; `pending` until the engine has applied or refused it."""

    id: UUID
    kind: str
    author: str
    at: Time
    incident: UUID | None
    alert: UUID | None
    comment: str
    body: dict[str, str]
    seen: dict[str, int]
    state: str
    refusal: str


class IncidentDetail(IncidentShape):
    """An incident with everything that explains it."""

    timeline: list[TimelineShape]
    acts: list[ActShape]


class QuarantineShape(BaseModel):
    """A message that could not be admitted, whole."""

    shard: str
    offset: int
    received_at: Time
    topic: str
    reason: str
    detail: str
    headers: dict[str, Any]
    payload_base64: str
    payload_text: str | None = Field(description="null where the payload is not UTF-8 text")


# --- acts -------------------------------------------------------------------------------------------------------


class GivenAct(BaseModel):
    """What an act says. `seen` maps the alerts its author saw to their retrigger counts; left out = as of now."""

    model_config = ConfigDict(extra="forbid")
    comment: Words = ""
    seen: dict[UUID, int] | None = None

    def body(self) -> dict[str, str]:
        """What is kept beside the comment."""
        return {}


class GivenComment(GivenAct):
    """A remark for the timeline."""

    comment: Annotated[Words, StringConstraints(min_length=1)]


class Verdict(StrEnum):
    """What it was in the end."""

    CONFIRMED = "confirmed"
    FALSE_ALARM = "false_alarm"
    TEST = "test"


class GivenClose(GivenAct):
    """How an incident ended."""

    verdict: Verdict
    cause: Words = ""
    summary: Words = ""

    def body(self) -> dict[str, str]:
        return {"verdict": self.verdict.value, "cause": self.cause, "summary": self.summary}


class ProblemShape(BaseModel):
    """An error after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[dict[str, str]] = []
