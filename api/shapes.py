"""The shapes of answers. Times are ISO 8601, UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, Field, PlainSerializer

Item = TypeVar("Item")


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(_utc, return_type=str)]


class Items(BaseModel, Generic[Item]):
    """One page of a list; give `next` as `after` for the one behind it, null at the end."""

    items: list[Item]
    next: str | None


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
    clock_skew_s: float | None = Field(
        description="its clock is this far ahead of ours, negative: behind; null: right, or it states no time"
    )


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


class RefusalShape(BaseModel):
    """What a client of the broker was refused, so many times. `topic` is "" for a connection."""

    id: int
    user: str
    what: str
    topic: str
    reason: str
    count: int
    first_at: Time
    last_at: Time


class QuarantineGroupShape(BaseModel):
    """What was set aside of one device for one reason."""

    reason: str
    site: str
    device: str
    count: int
    folded: int = Field(description="those among them that were only counted, being part of a flood")
    first_seen: Time
    last_seen: Time
    detail: str = Field(description="of the newest")


class ProblemShape(BaseModel):
    """An error after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[dict[str, str]] = []
