"""What one device says at one time. Pure."""

from __future__ import annotations

import msgspec

from ingest.readings_file import FileRow


class Report(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one device says at one time: a measurement, or, where `online` is given, that it is there or gone.

    `at` is the true time of sending, by which reports are ordered; `stated_at` what the device's own clock says of
    the measurement. `urgent` when a state of fire class has changed. `gateway` speaks for it, "" it does itself (a
    gateway names itself). `late`: it was kept while there was no way to the broker, and is sent in an array.
    """

    at: int
    stated_at: int
    site: str
    device: str
    seq: int = 0
    values: dict[str, float] = {}
    states: dict[str, bool] = {}
    gateway: str = ""
    urgent: bool = False
    late: bool = False
    online: bool | None = None


def row_of(report: Report) -> FileRow:
    """A report as a row of a readings file: what the wire would say, at the time it states."""
    states = report.states if report.online is None else {"online": report.online}
    return FileRow(at=report.stated_at, site=report.site, device=report.device, values=report.values, states=states)
