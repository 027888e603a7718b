"""What a recording holds, and the options that say so."""

from __future__ import annotations

import argparse
from enum import StrEnum
from pathlib import Path

from ingest.errors import OperatorError
from simulators.tapes.fields import Fields
from simulators.tapes.tapefile import is_tape


class Kind(StrEnum):
    """What a file to replay or to spoil holds."""

    TAPE = "tape"  #: messages of record or --sent
    RAW_JSON = "raw-json"  #: original JSON messages without topics
    READINGS = "readings"  #: a readings file


def kind_of(args: argparse.Namespace) -> Kind:
    """As --format says, else by content and name."""
    if args.format is not None:
        return Kind(args.format)
    if is_tape(args.file):
        return Kind.TAPE
    name = Path(args.file).name
    if name.endswith(".tape"):
        return Kind.TAPE  # to be told what is wrong with it
    return Kind.READINGS if name.removesuffix(".gz").endswith((".csv", ".parquet")) else Kind.RAW_JSON


def add_fields(parser: argparse.ArgumentParser) -> None:
    """Where messages hold ids and times; `fields_of` reads them."""
    parser.add_argument("--id-field", metavar="PATH", help="where the id is (raw-json device_id, ember-json device)")
    parser.add_argument("--time-field", metavar="PATH", help="where the time is (ts)")


def fields_of(args: argparse.Namespace) -> Fields:
    """Those of a raw-json recording in every message; those of a tape only in ember-json unless an option names one.

    OperatorError: named for a readings file, which has columns for both.
    """
    kind = kind_of(args)
    for option, given in (("--id-field", args.id_field), ("--time-field", args.time_field)):
        if kind is Kind.READINGS and given:
            raise OperatorError(f"{option} {given}: a readings file has its columns time and device; leave it out")
    raw = kind is Kind.RAW_JSON
    return Fields(
        id_field=args.id_field or ("device_id" if raw else "device"),
        time_field=args.time_field or "ts",
        anywhere=raw or bool(args.id_field or args.time_field),
    )
