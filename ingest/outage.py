"""How many minutes of our absence a broker's queue covers. Pure arithmetic."""

from __future__ import annotations

import msgspec

from ingest.brokerfinding import Finding, Grade

ENOUGH_MINUTES = 10.0
DISTRICT_RATE = 620_000 / 60  #: messages/s of a district whose devices report each minute
USUAL_BYTES = 100.0  #: of topic and payload, where the broker does not tell
#: What a waiting message takes beside its topic and payload; measured with mosquitto 2.0.11: 357 to 372, and 109.
MEMORY_BESIDE, DISK_BESIDE = 400.0, 110.0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How much comes in, and how it is known."""

    rate: float = DISTRICT_RATE  #: messages/s
    known_as: str = "a district"
    assumed: bool = True
    bytes: float = USUAL_BYTES  #: topic and payload of one message


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What holds the queue; None where it cannot be seen, or has no limit."""

    messages: int | None = None  #: the limit of a client's queue
    memory: int | None = None  #: free bytes on the broker's machine
    disk: int | None = None  #: free bytes where the broker saves its queues


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that ends the queue."""

    messages: float
    why: str
    change: str


def load_of(*, present: float | None, inventory: float | None, bytes_: float | None) -> Load:
    """The larger of the broker's present rate and what the registered devices send; a district's where both idle."""
    size = bytes_ or USUAL_BYTES
    rate, known_as = max((present or 0.0, "the present rate"), (inventory or 0.0, "what the inventory's devices send"))
    return Load(rate=rate, known_as=known_as, assumed=False, bytes=size) if rate >= 1.0 else Load(bytes=size)


def outage_finding(room: Room, load: Load, *, seen_at_least: int) -> Finding:
    """One finding. `seen_at_least`: so many messages waited in the test, which shows no limit."""
    at = f"at {load.rate:,.0f} messages/s ({load.known_as})"
    bounds = _bounds(room, load)
    if not bounds:
        return Finding(
            grade=Grade.NOTE,
            about="outage",
            seen=f"how long the queue covers {at} cannot be seen from here; {seen_at_least:,} messages are "
            f"{seen_at_least / load.rate:,.1f} s",
            change=f"where its queue lives in memory, a minute takes {load.rate * 60 * _in_memory(load) / 1e9:,.2f} GB",
        )
    first = min(bounds, key=lambda bound: bound.messages)
    minutes = first.messages / load.rate / 60
    shown = f"{minutes:,.0f}" if minutes >= ENOUGH_MINUTES else f"{minutes:,.1f}"
    seen = f"covers about {shown} minutes {at}: {first.why}"
    if minutes >= ENOUGH_MINUTES:
        return Finding(grade=Grade.OK, about="outage", seen=seen)
    # with a rate that nobody has seen, a small machine is no fault yet; a limit in the configuration is one
    small = load.assumed and room.messages is None
    return Finding(grade=Grade.NOTE if small else Grade.LOSES, about="outage", seen=seen, change=first.change)


def _bounds(room: Room, load: Load) -> list[Bound]:
    bounds = []
    if room.messages is not None:
        bounds.append(
            Bound(
                messages=room.messages,
                why=f"its limit is about {room.messages:,} messages",
                change="lift the limit of a client's queue (mosquitto: max_queued_messages 0)",
            )
        )
    if room.memory is not None:
        bounds.append(
            Bound(
                messages=room.memory / _in_memory(load),
                why=f"{room.memory / 1e9:,.1f} GB of memory are free, a message that waits takes "
                f"{_in_memory(load):,.0f} bytes",
                change="give the broker's machine more memory: its queue lives there",
            )
        )
    if room.disk is not None:  # while it saves, the file before still stands
        each = 2 * (DISK_BESIDE + load.bytes)
        bounds.append(
            Bound(
                messages=room.disk / each,
                why=f"{room.disk / 1e9:,.1f} GB of disk are free where it saves its queues, a message takes {each:,.0f}"
                " bytes there while it saves",
                change="make room under its persistence_location: what it cannot save, a restart loses",
            )
        )
    return bounds


def _in_memory(load: Load) -> float:
    return MEMORY_BESIDE + load.bytes
