"""Four motes, temperature and humidity: hot, humid air was blown at two of them. A nuisance, not a fire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from ingest.readings import SECOND, from_datetime
from ingest.readings_file import FileRow
from simulators.convert.tables import reported, stamp, table
from simulators.truth import Converted, Span, Truth

SITE = "wsn"
STEP = 5 * SECOND
#: The set numbers its readings and states no time.
START = from_datetime(datetime(2010, 5, 10, tzinfo=UTC))


def convert(folder: Path) -> Iterator[Converted]:
    """One recording of all four motes, in order of time."""
    data = table(folder / "data.csv").sort_values(["reading", "mote_id"], kind="stable")
    rows = [
        FileRow(
            at=_at(step["reading"]),
            site=SITE,
            device=f"mote-{step['mote_id']}",
            values=reported({"temperature": step["temperature"], "humidity": step["humidity"]}),
        )
        for step in data.to_dict("records")
    ]
    truth = Truth(
        recording="wsn_suthaharan",
        source="Suthaharan et al., multi-hop sensor network (ODC-BY 1.0, CC BY 4.0)",
        site=SITE,
        fire=False,
        clock="nominal: 5 s a reading from 2010-05-10T00:00:00Z on",
        interval_s=STEP / SECOND,
        quiet=[Span(what="no fire", start=stamp(rows[0].at), end=stamp(rows[-1].at + STEP))],
        nuisances=list(_steam(data)),
        devices=dict.fromkeys(sorted({row.device for row in rows}), "heat_head"),
    )
    yield Converted(rows=rows, truth=truth)


def _at(reading: int) -> int:
    return START + (int(reading) - 1) * STEP


def _steam(data: pd.DataFrame) -> Iterator[Span]:
    for mote, own in data[data["label"] == 1].groupby("mote_id"):
        readings = own["reading"]
        for _, run in own.groupby((readings.diff() != 1).cumsum()):
            start, end = _at(run["reading"].iloc[0]), _at(run["reading"].iloc[-1]) + STEP
            yield Span(what="hot, humid air", device=f"mote-{mote}", start=stamp(start), end=stamp(end))
