"""`emberwatch`: the command line. Wrong usage exits with 2; what an operator must fix is one line a problem, exit 1."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from api.commands.device_words import add_device_commands
from api.commands.inventory_words import add_inventory_commands
from api.commands.panel_words import add_panel_commands
from api.commands.people_words import add_people_commands
from api.commands.wording import Command, Group, Parser, positive
from ingest.errors import EmberwatchError

if TYPE_CHECKING:
    from ingest.quarantine import Wanted

#: As a program ended by SIGPIPE or SIGINT would report.
_BROKEN_PIPE, _INTERRUPTED = 141, 130

_ABOUT = """Fire alarms from what smoke and temperature sensors publish over MQTT: taken in without loss, judged by
rules, told to response teams, explained afterwards."""
_MORE = """settings:
  EMBERWATCH_* in the environment, each also as …_FILE, or the same keys in lower case in ./emberwatch.toml, such as
  EMBERWATCH_MQTT_URL=mqtt://user:pass@host:1883 or EMBERWATCH_DATABASE_URL=postgresql://user:pass@host/emberwatch.
  Without a database URL an embedded PostgreSQL under EMBERWATCH_DATA_DIR (./emberwatch-data) is started when needed.

to begin with:
  emberwatch demo                      everything on this machine, with a simulated town that catches fire
  emberwatch check && emberwatch run   the real thing: `emberwatch COMMAND --help` tells about each"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = build_parser().parse_args(argv)
    command: Command = arguments.command
    try:
        code = command(arguments)
        sys.stdout.flush()
        return code
    except EmberwatchError as error:
        for problem in str(error).splitlines():
            print(problem, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:
        print(f"emberwatch: {_one_line(error)}; {_keep_details(error)}", file=sys.stderr)
        return 1


def _one_line(error: Exception) -> str:
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"[:400]


def _keep_details(error: Exception) -> str:
    """Write the traceback where a developer finds it; what to tell the user about that."""
    path = Path(os.environ.get("EMBERWATCH_DATA_DIR", "./emberwatch-data")).expanduser() / "log" / "errors.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"--- {datetime.now(UTC).isoformat()} {' '.join(sys.argv)}\n")
            file.writelines(traceback.format_exception(error))
    except OSError as trouble:
        return f"the details could not be written to {path}: {trouble.strerror}"
    return f"the details are in {path}"


def build_parser() -> Parser:
    """Every command with its options and its help."""
    parser = Parser(
        prog="emberwatch",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"emberwatch {version('emberwatch')}")
    commands = Group(parser.add_subparsers(dest="name", metavar="COMMAND", required=True))
    _running(commands)
    _looking(commands)
    _books(commands)
    add_inventory_commands(commands)
    add_panel_commands(commands)
    add_people_commands(commands)
    add_device_commands(commands)
    return parser


def _running(commands: Group) -> None:
    demo = commands.add(
        "demo",
        "everything on this machine, with a simulated town that catches fire",
        """Start everything on this machine: an embedded PostgreSQL (unless EMBERWATCH_DATABASE_URL is set), a broker
(unless EMBERWATCH_MQTT_URL is set), all roles, and a simulated town in which an e-bike battery catches fire soon.
Prints a log-in link for the page with live incidents. Ctrl-C ends it all. Each demo starts afresh, in a data folder of
its own: EMBERWATCH_DATA_DIR, else ./emberwatch-data/demo.""",
        _demo,
    )
    demo.add_argument("--port", type=_port, help="where the page is served (default 8080)")
    demo.add_argument("--seconds", type=positive, help="stop by itself after so many seconds")
    demo.add_argument("--sites", type=positive, default=8, help="charging sheds in the town (default 8)")
    demo.add_argument("--devices", type=positive, help="heads, piles, probes and gateways in all (default 6 a shed)")
    demo.add_argument("--keep", action="store_true", help="go on with the state of the demo before")
    commands.add(
        "run",
        "all roles against the configured broker and database",
        """Run all roles as child processes until Ctrl-C or SIGTERM: receiver, evaluator, dispatcher, writer, recorder,
api. Writes DATA_DIR/run/ROLE.pid. Applies the schema first. A broker or database that is away is no reason to stop: the
roles try again until it is back. `emberwatch check` says beforehand what is wrong.""",
        _run,
    )
    commands.add(
        "migrate",
        "apply the schema to the database",
        "Apply the schema to the database; does nothing where it is up to date.",
        _migrate,
    )
    commands.add(
        "check",
        "check settings, files, database, broker and disk: all problems at once",
        """Check settings, sources, rulebook, teams, database, inventory, the disk of the log, and the broker, through
which a burst of probes is sent to see whether its queues, window and persistence would lose messages. Prints what is
good and all that is not; exit 1 when something is not.""",
        _check,
    )


def _looking(commands: Group) -> None:
    decode = commands.add(
        "decode",
        "see what a codec makes of messages in files",
        """Decode files as messages, in order, and print one JSON object a line. Memory is carried from one message to
the next (births before data). Exit 1 with one line on stderr when one cannot be decoded.""",
        _decode,
    )
    decode.add_argument("--codec", required=True, metavar="NAME", help="such as ember-json or json-map")
    decode.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="T",
        help="the topic they came by; repeated, one for each file",
    )
    decode.add_argument(
        "--property", type=_pair, action="append", default=[], metavar="K=V", help="an MQTT 5 user property; repeatable"
    )
    decode.add_argument("--content-type", default="", metavar="C", help="MQTT 5 content type")
    decode.add_argument(
        "--sources",
        type=Path,
        metavar="FILE",
        help="the sources.yaml whose source has the mapping of json-map (default: EMBERWATCH_SOURCES)",
    )
    decode.add_argument("files", nargs="+", metavar="FILE", help="- for standard input; NAME.hex holds hex text")
    rules = commands.group("rules", "check rulebooks, try them on recordings")
    check = rules.add("check", "check rulebooks", "Check rulebooks: every problem with file and line.", _rules_check)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    backtest = rules.add(
        "backtest",
        "what the rules would have decided over a recording",
        """Judge a recording with the live engine, without database or network, and write what it decided as JSON lines,
in order. A readings file (CSV, Parquet, JSON lines) has the columns time, site, device and then quantities by name.""",
        _rules_backtest,
    )
    recording = backtest.add_mutually_exclusive_group(required=True)
    recording.add_argument("--readings", type=Path, metavar="FILE", help="a readings file")
    recording.add_argument("--journal", type=Path, metavar="FILE", help="a log from `emberwatch journal export`")
    backtest.add_argument("--rules", type=Path, metavar="FILE", help="the rulebook (default: the packaged one)")
    backtest.add_argument("--inventory", type=Path, metavar="FILE.csv", help="what is watched (default: what is in it)")
    backtest.add_argument("--out", type=Path, metavar="FILE.jsonl", help="where to write (default: standard output)")
    backtest.add_argument(
        "--compare",
        type=Path,
        metavar="FILE",
        help="another rulebook: print what it would add, remove, tell earlier, later",
    )


def _books(commands: Group) -> None:
    ledger = commands.add(
        "ledger",
        "the books: what came in, what became of it, who was told",
        """Print the books: messages received = stored + duplicate + quarantined + no_reading + waiting; alerts opened =
notified + suppressed + pending; deliveries created = accepted + failed + waiting. Exit 1 when they do not balance.""",
        _ledger,
    )
    ledger.add_argument("--json", action="store_true", help="one JSON object")
    journal = commands.group("journal", "the log of a shard as a file")
    export = journal.add(
        "export",
        "write the log of a shard into a file",
        "Write the log of a shard, whole, into a file for `emberwatch rules backtest --journal`.",
        _journal_export,
    )
    export.add_argument("file", type=Path, metavar="FILE")
    export.add_argument("--shard", default="", metavar="S", help="needed where there are several")
    alerts = commands.group("alerts", "what the rules decided")
    transitions = alerts.add(
        "export",
        "write all transitions as JSON lines",
        "Write every transition of every alert, in order, in the same form as `emberwatch rules backtest`.",
        _alerts_export,
    )
    transitions.add_argument("--out", type=Path, metavar="FILE.jsonl", help="default: standard output")
    quarantine = commands.group("quarantine", "messages that could not be admitted")
    listing = quarantine.add(
        "list", "the newest, with their reasons", "List what could not be admitted, newest first.", _quarantine_list
    )
    listing.add_argument(
        "--by-device", action="store_true", help="a line a device and reason: first and last seen, count"
    )
    listing.add_argument("--limit", type=positive, default=50, metavar="N", help="at most so many (default 50)")
    replay = quarantine.add(
        "replay",
        "judge them once more, after what was wrong was put right",
        """Ask for messages in quarantine to be judged once more, oldest first. They keep their time; a fire in them is
told as late. Those of devices that an inventory import registers are driven again without being asked for.""",
        _quarantine_replay,
    )
    replay.add_argument("--limit", type=positive, default=10_000, metavar="N", help="at most so many (default 10000)")
    for chosen in (listing, replay):
        for name in ("reason", "shard", "site", "device"):
            chosen.add_argument(f"--{name}", metavar=name[0].upper(), help=f"only of this {name}")
        chosen.add_argument("--offset", type=int, metavar="N", help="only the one at this offset of its shard")


# Each command imports what it needs when it is called, so that `--help` and `decode` answer at once.


def _demo(arguments: argparse.Namespace) -> int:
    from api.commands.demo import Demo, demo

    return demo(
        Demo(
            port=arguments.port,
            seconds=arguments.seconds,
            sites=arguments.sites,
            devices=arguments.devices or arguments.sites * 6,
            keep=arguments.keep,
        )
    )


def _run(arguments: argparse.Namespace) -> int:
    from api.commands.run import run

    return run()


def _migrate(arguments: argparse.Namespace) -> int:
    from api.commands.store import migrate_command

    return migrate_command()


def _check(arguments: argparse.Namespace) -> int:
    from api.commands.check import check

    return check(sys.stdout)


def _decode(arguments: argparse.Namespace) -> int:
    from ingest.decode import decode_files
    from ingest.settings import load_settings

    sources = arguments.sources
    if sources is None and arguments.codec == "json-map":  # which is nothing without a mapping
        sources = load_settings().file("sources")
    return decode_files(
        arguments.codec,
        arguments.topic,
        dict(arguments.property),
        arguments.content_type,
        arguments.files,
        sys.stdout,
        sources=sources,
    )


def _rules_check(arguments: argparse.Namespace) -> int:
    from api.commands.rules import rules_check

    return rules_check(arguments.files)


def _rules_backtest(arguments: argparse.Namespace) -> int:
    from alerts.backtest import backtest_command

    return backtest_command(
        readings=arguments.readings,
        journal=arguments.journal,
        rules=arguments.rules,
        inventory=arguments.inventory,
        out=arguments.out,
        compare=arguments.compare,
    )


def _ledger(arguments: argparse.Namespace) -> int:
    from api.commands.store import ledger_command

    return ledger_command(as_json_object=arguments.json)


def _journal_export(arguments: argparse.Namespace) -> int:
    from api.commands.store import journal_export

    return journal_export(arguments.file, arguments.shard)


def _alerts_export(arguments: argparse.Namespace) -> int:
    from api.commands.store import alerts_export

    return alerts_export(arguments.out)


def _quarantine_list(arguments: argparse.Namespace) -> int:
    from api.commands.store import quarantine_list

    return quarantine_list(_wanted(arguments), by_device=arguments.by_device, limit=arguments.limit)


def _quarantine_replay(arguments: argparse.Namespace) -> int:
    from api.commands.store import quarantine_replay

    return quarantine_replay(_wanted(arguments), limit=arguments.limit)


def _wanted(arguments: argparse.Namespace) -> Wanted:
    from ingest.quarantine import Wanted

    return Wanted(
        reason=arguments.reason,
        shard=arguments.shard,
        site=arguments.site,
        device=arguments.device,
        offset=arguments.offset,
    )


def _port(text: str) -> int:
    if positive(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; ports end at 65535")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is no property; write it as key=value")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
