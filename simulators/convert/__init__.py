"""Recordings of ../shared/data as readings files, each with what is known about it; one module a set."""

from collections.abc import Callable, Iterator
from pathlib import Path

from simulators.convert import (
    fsri_compartments,
    fsri_liion_ess,
    iot_telemetry,
    nab,
    nist_smoke_alarms,
    vettori,
    wsn_suthaharan,
)
from simulators.truth import Converted

#: Set → how its folder becomes recordings.
SETS: dict[str, Callable[[Path], Iterator[Converted]]] = {
    "fsri_compartments": fsri_compartments.convert,
    "fsri_liion_ess": fsri_liion_ess.convert,
    "iot_telemetry": iot_telemetry.convert,
    "nab": nab.convert,
    "nist_smoke_alarms": nist_smoke_alarms.convert,
    "vettori": vettori.convert,
    "wsn_suthaharan": wsn_suthaharan.convert,
}
