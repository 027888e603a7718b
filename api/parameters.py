"""What callers may say: parameters of lists and bodies of acts. One that is not known is an error."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from alerts.alert import AlertState, SignalClass
from alerts.incident import IncidentState
from api.brokers_desk import Reason, What
from ingest.inventory import DeviceClass
from ingest.readings import QUANTITIES, STATES


def _with_zone(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("has no time zone; write it as 2026-03-01T08:00:00Z")
    return moment


def _known_quantity(name: str) -> str:
    if name not in QUANTITIES and name not in STATES:
        raise ValueError(f"is no quantity or state; known: {', '.join([*QUANTITIES, *STATES])}")
    return name


GivenTime = Annotated[datetime, AfterValidator(_with_zone)]
#: A name people or devices chose; never NUL, which no database text can hold.
Name = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00]*$")]
Words = Annotated[str, StringConstraints(max_length=4000, pattern=r"^[^\x00]*$")]
Quantity = Annotated[Name, AfterValidator(_known_quantity)]


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


class RefusalListing(Listing):
    """Which refusals of a broker's clients."""

    user: Name | None = None
    what: What | None = None
    reason: Reason | None = None


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
