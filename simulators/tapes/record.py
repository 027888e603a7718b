"""`python -m simulators record`: what a broker publishes, with the time of each message, onto a tape."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from typing import NoReturn

from tqdm import tqdm

from ingest.errors import OperatorError, Unavailable
from ingest.mqtt import V5, BrokerAddress
from ingest.readings import SECOND, iso
from ingest.topics import valid_filter
from simulators.options import add_broker, parse_broker, positive, span
from simulators.tapes.ear import Ear, open_ear
from simulators.tapes.tapefile import TapeWriter

#: Tries to connect again are so far apart, s.
AGAIN_S = 1.0
#: Longest wait for a message before the tape is written and a stop noticed, s.
WAIT_S = 0.2

EPILOG = """\
Every message that comes in by the filters is kept as it is: topic, payload, QoS and retain flag as published,
content type and user properties, and when it came. (By MQTT 3.1.1 brokers send on neither properties nor, of live
messages, the retain flag.) Retained messages come first, as they do to every new subscriber; what filters that
overlap bring twice is kept twice.
A broker that goes away is waited for; from when to when nothing was heard is said and noted on the tape. A broker
drops messages for clients that do not keep up: with mosquitto, which counts them every 10 s, record says how many.
Ends with Ctrl-C, after --seconds or with --count. Killed, it leaves a tape that lacks its last second at most.

examples:
  python -m simulators record day.tape --topic 'ember/v1/#' --topic 'zigbee2mqtt/#' --seconds 86400
  python -m simulators record now.tape --topic '#' --count 1000
  python -m simulators replay day.tape --speed 60 --time shift-to-now
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `record`."""
    parser = commands.add_parser(
        "record",
        help="live messages onto a tape, to be replayed",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the tape to write, such as day.tape; replaced where it exists")
    add_broker(parser)
    parser.add_argument(
        "--topic", action="append", required=True, metavar="FILTER", help="what to listen to; can be given again"
    )
    parser.add_argument("--seconds", type=span, metavar="N", help="end after so long")
    parser.add_argument("--count", type=positive, metavar="N", help="end after so many messages")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    """Record until the end; 0 also when stopped, 1 when the broker was away at the end."""
    broker = parse_broker(args.broker)
    for filter_ in args.topic:
        if wrong := valid_filter(filter_):
            raise OperatorError(f"--topic {filter_}: {wrong}")
    ear = open_ear(broker=broker, filters=args.topic, now=now)
    recorder = Recorder(args=args, broker=broker, ear=ear, now=now, stop=stop)
    with closing(recorder), TapeWriter(args.file, "FILE") as tape:
        return recorder.run(tape)


class Recorder:
    """One run of `record`."""

    def __init__(
        self,
        *,
        args: argparse.Namespace,
        broker: BrokerAddress,
        ear: Ear,
        now: Callable[[], int],
        stop: threading.Event,
    ) -> None:
        self._args, self._broker, self._ear = args, broker, ear
        self._now, self._stop = now, stop
        self._began = now()
        self._count = 0
        self._dropped = 0
        self._written = self._began

    def close(self) -> None:
        """Leave the broker."""
        self._ear.close()

    def run(self, tape: TapeWriter) -> int:
        spoken = "MQTT 5" if self._ear.protocol == V5 else "MQTT 3.1.1"
        print(f"record: listening to {self._broker} by {spoken}; Ctrl-C ends it", flush=True)
        with tqdm(total=self._args.count, unit="msg", desc="record", disable=None, file=sys.stderr) as bar:
            while not self._over():
                self._take(tape, bar)
                if self._ear.lost and not self._over():
                    self._come_back(tape)
        self._ear.ask_dropped()
        self._report()
        return 1 if self._ear.lost else 0

    def _over(self) -> bool:
        late = self._args.seconds is not None and self._now() - self._began >= self._args.seconds * SECOND
        return late or self._count == self._args.count or self._stop.is_set()

    def _take(self, tape: TapeWriter, bar: tqdm[NoReturn]) -> None:
        heard = self._ear.hear(WAIT_S)
        if self._args.count is not None:
            heard = heard[: self._args.count - self._count]
        for message in heard:
            tape.put(message)
        self._count += len(heard)
        bar.update(len(heard))
        if self._now() - self._written >= SECOND:
            self._written = self._now()
            tape.flush()

    def _come_back(self, tape: TapeWriter) -> None:
        """Wait for the broker; what could not be heard until then is said and noted."""
        start, why = self._ear.silent_since, self._ear.lost
        tape.flush()
        self._ear.close()
        print(f"record: {self._broker}: connection lost: {why}; trying again", file=sys.stderr, flush=True)
        reopened = False
        while not self._over() and not (reopened := self._reopened()):
            self._stop.wait(AGAIN_S)
        end = self._ear.hears_since if reopened else self._now()
        tape.unheard(start, end)
        what = f"heard nothing from {iso(start)} to {iso(end)} ({(end - start) / SECOND:.1f} s)"
        print(f"record: {what}", file=sys.stderr, flush=True)

    def _reopened(self) -> bool:
        try:
            ear = open_ear(
                broker=self._broker, filters=self._args.topic, now=self._now, protocols=(self._ear.protocol,)
            )
        except Unavailable:
            return False
        self._dropped += self._ear.dropped or 0
        self._ear = ear
        return True

    def _report(self) -> None:
        seconds = max((self._now() - self._began) / SECOND, 1e-6)
        print(f"record: {self._count} messages in {seconds:.1f} s ({self._count / seconds:,.0f}/s), {self._args.file}")
        dropped = self._dropped + (self._ear.dropped or 0)
        if dropped:
            what = (
                f"the broker says it dropped {dropped} messages meanwhile, for us or for other clients too slow for it"
            )
            print(f"record: {what}; raise max_queued_messages there, or record on a faster machine", file=sys.stderr)
