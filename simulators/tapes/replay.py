"""`python -m simulators replay`: a recording again over MQTT, at its own pace or as fast as the broker takes it."""

from __future__ import annotations

import argparse
import csv
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from ingest.errors import OperatorError
from ingest.mqtt import BrokerAddress
from ingest.readings import SECOND
from simulators.options import add_broker, add_sent, factor, not_over, parse_broker, positive, whole
from simulators.tapes.chosen import add_faults, chosen
from simulators.tapes.donefile import DoneFile, summary
from simulators.tapes.fields import Fields
from simulators.tapes.kinds import Kind, add_fields, fields_of, kind_of
from simulators.tapes.messagetape import MessageTape
from simulators.tapes.spoil import MessageForm, Spoiler
from simulators.tapes.tapefile import TapeWriter
from simulators.tapes.tapes import FIRE_TOPIC, RAW_TOPIC, Fires, RawTape, ReadingsTape, Tape
from simulators.tapes.times import TimeMap, TimeMode
from simulators.wire.messages import Outgoing
from simulators.wire.pace import Pace
from simulators.wire.publisher import Publisher

EPILOG = """\
FILE is one of
  tape       what record or --sent wrote: each message on its own topic, with its own QoS, retain flag and properties,
             byte for byte. --id-map changes topic levels, and ids in ember-json payloads; --time changes ts there,
             each by as much as its message is moved. With --id-field or --time-field in any JSON payload.
  raw-json   original messages: a JSON array or JSON lines, also inside .zip or .gz. Each is published as it is,
             byte for byte, on a topic made of its own fields; only a message whose id or time is changed is
             written anew.
  readings   a readings file (CSV, JSON lines, Parquet): published as ember-json on ember/v1/{site}/{device}/telemetry,
             changes of a fire state on …/alarm.
A tape is known by its content; .csv and .parquet are readings, all else is raw-json unless --format says otherwise.

--fires N mixes N battery fires into a raw-json recording, evenly spread over its time, each in a site of its own with
three heads. Their messages have the form of the others and go to recording/{site}/{device}:
  {"data":{"temp":21.0,"humidity":60.1,"smoke_dbm":0.006,"smoke_alarm":false,"heat_alarm":false},
   "device_id":"fire-1-h1","site":"fire-site-1","ts":1594600000.123,"device":"battery_fire"}
(smoke_dbm = obscuration in dB/m). A source that takes them in beside the recording/# of the others:
  - {filter: "recording/+/+", codec: json-map, clock: observed, enrol: true, site: "$.site", device: "$.device_id",
     time: "$.ts", fields: {temperature: "$.data.temp", humidity: "$.data.humidity", smoke: "$.data.smoke_dbm",
     smoke_alarm: "$.data.smoke_alarm", heat_alarm: "$.data.heat_alarm"}}

examples:
  python -m simulators replay day.tape --speed 60 --time shift-to-now
  python -m simulators replay day.tape --speed max --drop 17 --double 0.1% --gap 600:120:shed-003-h02 --done done.jsonl
  python -m simulators replay raw_data_xlarge.json.zip --speed max
  python -m simulators replay raw_data_xlarge.json.zip --speed max --fires 3
  python -m simulators replay day.csv --speed 60 --time shift-to-now --id-map old-7=shed-001-h01
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `replay`."""
    parser = commands.add_parser(
        "replay",
        help="a recording again, at 1x to full speed",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the recording")
    add_broker(parser)
    parser.add_argument("--format", choices=list(Kind), type=Kind, help="what FILE holds (default: see below)")
    parser.add_argument("--speed", type=factor, default=1.0, metavar="X", help="1, 10, … times as fast, or max")
    parser.add_argument(
        "--topic", metavar="TEMPLATE", help=f"with fields of the message, such as data.room (default: {RAW_TOPIC})"
    )
    parser.add_argument("--id-map", metavar="MAP", help="FILE.csv with columns old,new; or old=new,old=new…")
    add_fields(parser)
    parser.add_argument(
        "--time",
        type=TimeMode,
        choices=list(TimeMode),
        default=TimeMode.ORIGINAL,
        help="original: as recorded. shift-to-now: the first message is now, steps as recorded. "
        "scale: each message's time is when it is published (default original)",
    )
    parser.add_argument("--loop", action="store_true", help="again from the start, until Ctrl-C")
    parser.add_argument("--limit", type=positive, metavar="N", help="end after N messages")
    parser.add_argument("--window", type=positive, default=500, metavar="N", help="unacknowledged at most (500)")
    fires = parser.add_argument_group("fires mixed in")
    fires.add_argument("--fires", type=whole, default=0, metavar="N", help="how many battery fires (default none)")
    fires.add_argument("--fire-sites", default="", metavar="A,B,…", help="their sites (fire-site-1, fire-site-2, …)")
    fires.add_argument("--fire-topic", default=FIRE_TOPIC, metavar="TEMPLATE", help=f"default {FIRE_TOPIC}")
    add_faults(parser)
    add_sent(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    """Publish the recording; all of it is acknowledged when this returns 0."""
    if args.time is TimeMode.SCALE and args.speed == float("inf"):
        raise OperatorError("--time scale: has no meaning at --speed max; give a speed, or --time shift-to-now")
    not_over("--sent", args.sent, args.file)
    not_over("--done", args.done, args.file, args.sent)
    broker = parse_broker(args.broker)
    tape = open_tape(args)
    with TapeWriter(args.sent) as sent, DoneFile(args.done) as done:
        spoiler = Spoiler(MessageForm(message_fields(args)), chosen(args), done.add)
        publisher = Publisher(broker=broker, stop=stop, name="replay", window=args.window)
        with closing(publisher):
            replay = Replay(args=args, tape=tape, spoiler=spoiler, publisher=publisher, sent=sent, now=now, stop=stop)
            return replay.play(broker)


def open_tape(args: argparse.Namespace) -> Tape:
    """The recording with what is to be mixed in."""
    path, kind, fields = Path(args.file), kind_of(args), message_fields(args)
    ids = id_map(args.id_map) if args.id_map else {}
    fires = Fires(sites=_sites(args), topic=args.fire_topic, seed=args.seed)
    if kind is Kind.RAW_JSON:
        return RawTape(path, topic=args.topic or RAW_TOPIC, ids=ids, fields=fields, fires=fires)
    if args.fires:
        raise OperatorError("--fires: are mixed into raw-json alone; for readings use town --scenario battery_fire")
    if kind is Kind.READINGS:
        return ReadingsTape(path, topic=args.topic or "", ids=ids)
    if args.topic:
        raise OperatorError("--topic: messages of a tape go to their own topics; change levels with --id-map old=new")
    return MessageTape(path, ids=ids, fields=fields)


def message_fields(args: argparse.Namespace) -> Fields:
    """Where the messages that are published hold ids and times."""
    fields = fields_of(args)
    return Fields(anywhere=bool(args.topic)) if kind_of(args) is Kind.READINGS else fields


def _sites(args: argparse.Namespace) -> list[str]:
    sites = [site for site in args.fire_sites.split(",") if site]
    if sites and len(sites) != args.fires:
        raise OperatorError(f"--fire-sites: {len(sites)} sites for --fires {args.fires}; name one for each")
    return sites or [f"fire-site-{number + 1}" for number in range(args.fires)]


def id_map(text: str) -> dict[str, str]:
    """`old=new,…`, or a CSV file with the header old,new."""
    if "=" in text:
        pairs = [pair.partition("=") for pair in text.split(",")]
        if not all(old and new for old, _, new in pairs):
            raise OperatorError(f"--id-map {text}: write old=new, with a comma between two")
        return {old: new for old, _, new in pairs}
    try:
        with Path(text).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OperatorError(f"--id-map {text}: cannot read it: {error}; name a CSV file or write old=new") from None
    if not rows:
        raise OperatorError(f"{text}: no ids in it; the columns are old,new")
    for line, row in enumerate(rows, start=2):
        if not row.get("old") or not row.get("new"):
            raise OperatorError(f"{text}:{line}: old or new is missing; the columns are old,new")
    return {row["old"]: row["new"] for row in rows}


class Replay:
    """One run of `replay`."""

    def __init__(
        self,
        *,
        args: argparse.Namespace,
        tape: Tape,
        spoiler: Spoiler[Outgoing],
        publisher: Publisher,
        sent: TapeWriter,
        now: Callable[[], int],
        stop: threading.Event,
    ) -> None:
        self._args, self._tape, self._spoiler = args, tape, spoiler
        self._publisher, self._sent = publisher, sent
        self._now, self._stop = now, stop
        self._published = 0

    def play(self, broker: BrokerAddress) -> int:
        """Publish round by round; 0, or 130 when it was stopped before the end."""
        started = self._now()
        total = (
            None if self._args.loop else min(filter(None, (len(self._tape) or None, self._args.limit)), default=None)
        )
        with tqdm(total=total, unit="msg", desc=f"replay to {broker}", disable=None, file=sys.stderr) as bar:
            ended = self._publish(bar)
        self._publisher.finish()
        seconds = max((self._now() - started) / SECOND, 1e-6)
        rate = f"{self._published / seconds:,.0f}/s"
        print(
            f"replay: published {self._published}, acknowledged {self._publisher.acknowledged}, "
            f"in {seconds:.1f} s ({rate}){summary(self._spoiler.done)}"
        )
        if not ended:
            print("replay: stopped before the end", file=sys.stderr)
        return 0 if ended else 130

    def _publish(self, bar: tqdm[NoReturn]) -> bool:
        """Whether it came to its end."""
        first, last = self._tape.span()
        pace = Pace(now=self._now, stop=self._stop, origin=first, speed=self._args.speed)
        length = last - first + SECOND  # a second between the end and the next beginning
        for message in islice(self._spoiler.spoil(self._rounds(first, length, pace)), self._args.limit):
            if not pace.until(message.at) or not self._handed_over(message):
                return False
            self._published += 1
            bar.update()
            self._sent.add(
                at=self._now(),
                topic=message.topic,
                payload=message.payload,
                qos=message.qos,
                retain=message.retain,
                properties=message.properties,
            )
        return True

    def _rounds(self, first: int, length: int, pace: Pace) -> Iterator[Outgoing]:
        for number in count() if self._args.loop else range(1):
            yield from self._tape.messages(TimeMap(mode=self._args.time, first=first, moved=number * length, pace=pace))

    def _handed_over(self, message: Outgoing) -> bool:
        return self._publisher.publish(
            message.topic, message.payload, qos=message.qos, retain=message.retain, properties=message.properties
        )
