"""50,270 MQTT messages of three room nodes over a day, no fire; real drop-outs of the temperature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ingest.readings import SECOND
from ingest.readings_file import FileRow
from simulators.convert.tables import stamp
from simulators.tapes.recording import Recorded, Recording
from simulators.truth import Converted, Span, Truth

SITE = "lab"
STEP = 5 * SECOND
#: A reading this far below both neighbours of its device is a drop-out, not weather.
DROP_K = 10.0


def convert(folder: Path) -> Iterator[Converted]:
    """One recording. MQ-2 `smoke` is an estimate without a unit: smoke_raw, never dB/m. `co` has no known scale."""
    rows = [_row(message) for message in Recording(folder / "raw_data_xlarge.json.zip")]
    truth = Truth(
        recording="iot_telemetry",
        source="garystafford/aws-iot-analytics-demo (MIT)",
        site=SITE,
        fire=False,
        clock="real: the devices' own time, UTC",
        interval_s=STEP / SECOND,
        quiet=[Span(what="three rooms without fire", start=stamp(rows[0].at), end=stamp(rows[-1].at + STEP))],
        nuisances=list(_drops(rows)),
        devices=dict.fromkeys(sorted({row.device for row in rows}), "smoke_heat_head"),
    )
    yield Converted(rows=rows, truth=truth)


def _row(message: Recorded) -> FileRow:
    data = message.body["data"]
    values = {
        "temperature": float(data["temp"]),
        "humidity": float(data["humidity"]),
        "smoke_raw": float(data["smoke"]),
    }
    return FileRow(at=message.at, site=SITE, device=message.body["device_id"], values=values)


def _drops(rows: list[FileRow]) -> Iterator[Span]:
    for device in sorted({row.device for row in rows}):
        own = [row for row in rows if row.device == device]
        for before, here, behind in zip(own, own[1:], own[2:], strict=False):
            low = here.values["temperature"] + DROP_K
            if before.values["temperature"] > low and behind.values["temperature"] > low:
                what = f"temperature drop-out to {here.values['temperature']:.1f} °C"
                yield Span(what=what, device=device, start=stamp(here.at), end=stamp(behind.at))
