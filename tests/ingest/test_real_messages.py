"""The 50,270 original messages of three room nodes, through json-map and admit as the interfaces' example maps them."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from typing import Any

from ingest.admission import Outcome
from ingest.readings import SECOND
from tests.support.admission import Desk
from tests.support.data import recorded

SOURCES = """sources:
  - {filter: "recording/#", codec: json-map, clock: observed, enrol: true, site: lab, device: "$.device_id",
     time: "$.ts", fields: {temperature: "$.data.temp", humidity: "$.data.humidity", co: null}}
"""


def test_every_original_message_is_stored_but_the_one_that_came_twice() -> None:
    with zipfile.ZipFile(recorded("iot_telemetry/raw_data_xlarge.json.zip")) as archive:
        messages: list[dict[str, Any]] = json.loads(archive.read("raw_data_xlarge.json"))
    desk = Desk(SOURCES)
    outcomes: Counter[Outcome] = Counter()
    for message in messages:
        said = desk.hear("recording/iot", message, at=0)
        outcomes[said.outcome] += 1
        for reading in said.readings:
            assert (reading.site, reading.device) == ("lab", message["device_id"])
            assert abs(reading.at / SECOND - message["ts"]) <= 1e-6 and reading.late is None
            assert reading.values == {
                "temperature": message["data"]["temp"],
                "humidity": message["data"]["humidity"],
            }
    assert outcomes == {Outcome.STORED: 50_269, Outcome.DUPLICATE: 1}
    assert len(desk.memory.inventory.devices) == 4 + 3
