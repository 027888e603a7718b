"""`emberwatch demo`: everything on this machine, and a town that catches fire."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog
from psycopg import sql
from psycopg.conninfo import make_conninfo

from api.commands.configuration import load_configuration
from api.commands.narrator import Narrator
from api.commands.roles import (
    ROLES,
    Patrol,
    add_roles,
    alone,
    apply_schema,
    check_address,
    environment,
    logged,
)
from ingest.broker import Broker, find_mosquitto, start_broker
from ingest.database import AWAY, connect, embedded_server, unavailable
from ingest.embedded import ROLE
from ingest.errors import OperatorError, Unavailable
from ingest.inventory_file import import_inventory, parse_inventory
from ingest.processes import Supervisor, stop_on_signals
from ingest.settings import PREFIX, Settings, kept_secret, split_bind
from ingest.telemetry import set_up_logging

#: A folder with this file was made by a demo, so the next demo may empty it.
MARK = "demo"
#: What a fresh demo keeps: the cluster (its database is made anew), the secrets, the locks.
KEPT = ("postgres", "secret.key", "api.token", "run.lock", MARK)
#: Seconds between a head's reports, and from the town's start to its fire.
INTERVAL, FIRE_AT = 5, 10
_LEFTOVER_SECONDS = 15.0
_ADMITTED_SECONDS = 30.0


class Demo(NamedTuple):
    """How the demo was called."""

    port: int | None
    seconds: int | None
    sites: int
    devices: int
    keep: bool


def demo(wanted: Demo) -> int:
    """Run until Ctrl-C, SIGTERM or the wanted seconds; the exit code."""
    configuration = load_configuration()
    settings = demo_settings(configuration.settings, wanted.port)
    names = {team.id: team.name or team.id for team in configuration.teams.teams}
    check_address(settings.http_bind)
    stop = stop_on_signals()
    if wanted.seconds:
        timer = threading.Timer(wanted.seconds, stop.set)
        timer.daemon = True
        timer.start()
    log_dir = settings.data / "log"
    with ExitStack() as stack:
        stack.enter_context(alone(settings.data))
        claim(settings, fresh=not wanted.keep and not settings.database_url)
        log_dir.mkdir(exist_ok=True)
        own_log(log_dir / "demo.log", stack)
        say(f"Starting in {settings.data} …")
        server = None if settings.database_url else stack.enter_context(embedded_server(settings.data))
        url = server.url if server else settings.database_url
        if not wanted.keep and server:
            empty_database(url)
        apply_schema(url)
        broker = None
        if not is_given("mqtt_url", settings):
            broker = stack.enter_context(start_broker(settings.data / "broker"))
            settings = msgspec.structs.replace(settings, mqtt_url=broker.url)
        inventory(url, wanted, settings)
        stack.enter_context(Patrol(url, server, migrated=True))
        return play(wanted, settings, url, broker, Narrator(url, names, say), stop)


def play(
    wanted: Demo, settings: Settings, url: str, broker: Broker | None, narrator: Narrator, stop: threading.Event
) -> int:
    """Start the roles, then the town, and tell what happens until `stop`."""
    log_dir = settings.data / "log"
    changed = {name: getattr(settings, name) for name in ("mqtt_url", "http_bind", "metrics_bind", "journal")}
    env = environment(settings, url, **changed)
    supervisor, town = Supervisor(settings.data / "run"), Supervisor(settings.data / "run")
    add_roles(supervisor, env, log_dir)
    command = [sys.executable, "-m", "simulators", *town_arguments(wanted, settings.mqtt_url)]
    town.add("town", logged(command, log_dir / "town.log"), restart=False)
    supervisor.start()
    greet(wanted, settings, broker)

    town_gone = threading.Event()

    def tell() -> None:
        try:
            if wait_until(lambda: admitted(url), _ADMITTED_SECONDS, stop):
                town.start()
                say("The town is up: its heads report, and one of its sheds is about to burn.", stamped=True)
            narrator.run(stop)
        finally:
            town.stop()
            town_gone.set()

    teller = threading.Thread(target=tell, name="narrator")
    teller.start()
    try:
        return supervisor.run(town_gone)  # the roles outlive the town, so that all it said is taken in
    finally:
        stop.set()
        teller.join()
        say("Stopped; nothing is left running.")


def demo_settings(settings: Settings, port: int | None) -> Settings:
    """The settings of a demo: a data folder and a log of its own, metrics on free ports."""
    changed = {"journal": ""}
    if not is_given("metrics_bind", settings):
        changed["metrics_bind"] = "127.0.0.1:0"
    if not is_given("data_dir", settings):
        changed["data_dir"] = str(Path(settings.data_dir) / "demo")
    if port is not None:
        changed["http_bind"] = f"{split_bind(settings.http_bind)[0]}:{port}"
    return msgspec.structs.replace(settings, **changed)


def is_given(name: str, settings: Settings) -> bool:
    """Whether somebody stated this setting, were it only its default."""
    stated = any(os.environ.get(PREFIX + name.upper() + suffix) for suffix in ("", "_FILE"))
    return stated or getattr(settings, name) != getattr(Settings(), name)


def claim(settings: Settings, *, fresh: bool) -> None:
    """Make the folder ours; OperatorError when it holds a real installation, or an earlier demo does not end."""
    mark = settings.data / MARK
    strangers = [path.name for path in settings.data.iterdir() if path.name not in KEPT]
    if strangers and not mark.exists():
        raise OperatorError(
            f"{settings.data}: holds {sorted(strangers)[0]}, so it is no folder of a demo;"
            " set EMBERWATCH_DATA_DIR to an empty one"
        )
    mark.write_text("made by `emberwatch demo`, which empties this folder at each start\n", encoding="utf-8")
    await_leftovers(settings.data / "run")
    if fresh:
        for path in settings.data.iterdir():
            if not path.name.startswith(KEPT):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def await_leftovers(run_dir: Path) -> None:
    """Children of a demo that was killed end by themselves; wait until they have."""
    deadline = time.monotonic() + _LEFTOVER_SECONDS
    while running := [name for name in (*ROLES, "town") if _still_runs(run_dir / f"{name}.pid")]:
        if time.monotonic() > deadline:
            raise OperatorError(
                f"{run_dir}: {', '.join(running)} of an earlier demo still runs; stop it by its pid file"
            )
        time.sleep(0.1)


def _still_runs(pid_file: Path) -> bool:
    try:
        command = Path(f"/proc/{int(pid_file.read_text())}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return False
    return b"-m" in command and any(module in command for module in (b"ingest", b"alerts", b"api", b"simulators"))


def empty_database(url: str) -> None:
    """Make the embedded database anew; its cluster stays, because making that takes the longest."""
    with closing(connect(url, name="demo", autocommit=True)) as connection:
        fresh = connection.execute("SELECT to_regclass('schema_migrations') IS NULL").fetchone()
    if fresh and fresh[0]:
        return
    with closing(connect(make_conninfo(url, dbname="postgres"), name="demo", autocommit=True)) as connection:
        name = sql.Identifier(ROLE)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))


def inventory(url: str, wanted: Demo, settings: Settings) -> None:
    """Write the town's inventory and take it over."""
    file = settings.data / "town.csv"
    arguments = ["town", "--sites", str(wanted.sites), "--devices", str(wanted.devices), "--interval", str(INTERVAL)]
    command = [sys.executable, "-m", "simulators", *arguments, "--inventory", str(file)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise OperatorError(f"the town's inventory: {' '.join(made.stderr.split())[-300:]}")
    with closing(connect(url, name="demo")) as connection:
        try:
            import_inventory(connection, parse_inventory(file))
            connection.commit()
        except AWAY as error:
            raise unavailable(error, url) from None


def town_arguments(wanted: Demo, mqtt_url: str) -> list[str]:
    """How the town is played."""
    size = ["--sites", str(wanted.sites), "--devices", str(wanted.devices), "--interval", str(INTERVAL)]
    return ["town", "--broker", mqtt_url, *size, "--scenario", "battery_fire", "--fire-at", str(FIRE_AT)]


def admitted(url: str) -> bool:
    """Whether the inventory stands in the log, so that the town's heads are known when they begin to speak."""
    try:
        with closing(connect(url, name="demo")) as connection:
            waiting = connection.execute("SELECT count(*) FROM inventory_changes WHERE relayed_at IS NULL").fetchone()
    except (Unavailable, *AWAY):
        return False
    return bool(waiting and waiting[0] == 0)


def wait_until(true: Callable[[], bool], seconds: float, stop: threading.Event) -> bool:
    """Ask until it is true or time is up; False only when stopped: a demo goes on without the last certainty."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        if stop.wait(0.1):
            return False
    return not stop.is_set()


def own_log(file: Path, stack: ExitStack) -> None:
    """Our own log lines go to a file, so that the screen stays readable."""
    set_up_logging("demo", "json")
    stream = stack.enter_context(file.open("a", encoding="utf-8", buffering=1))
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(stream))


def greet(wanted: Demo, settings: Settings, broker: Broker | None) -> None:
    """What a newcomer needs to know."""
    token = kept_secret(settings.data / "api.token")
    kind = f"{broker.kind}, started for it" if broker else settings.mqtt_url.rpartition("@")[2]
    hint = (
        ""
        if find_mosquitto() or not broker
        else "\n            (with `apt-get install mosquitto` it is a broker for real work)"
    )
    say(f"""
  Emberwatch watches a simulated town on this machine.

  Look at   http://{settings.http_bind}/login?token={token}

  Town      {wanted.sites} charging sheds with {wanted.devices} devices, each reporting every {INTERVAL} s
  Broker    {kind}{hint}
  To come   some seconds after the town is up, an e-bike battery vents smoke in one shed, then burns;
            the response team is told, here and on the page: acknowledge it there
  Logs      {settings.data / "log"}
  To end    Ctrl-C
""")


def say(text: str, *, stamped: bool = False) -> None:
    """A line for the person in front of the screen."""
    stamp = f"{datetime.now(UTC).astimezone():%H:%M:%S}  " if stamped else ""
    print(stamp + text, flush=True)
