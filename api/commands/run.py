"""`emberwatch run`: all roles until a signal."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from api.commands.configuration import load_configuration
from api.commands.roles import Patrol, add_roles, alone, broker_answers, check_address, environment, prepare_schema
from ingest.database import embedded_server
from ingest.processes import Supervisor, stop_on_signals
from ingest.settings import Settings
from ingest.telemetry import set_up_logging


def run() -> int:
    """Check what can be checked, then run until Ctrl-C or SIGTERM; the exit code."""
    settings = load_configuration().settings
    check_address(settings.http_bind)
    stop = stop_on_signals()
    set_up_logging("run", settings.log_format)
    with ExitStack() as stack:
        stack.enter_context(alone(settings.data))
        server = None if settings.database_url else stack.enter_context(embedded_server(settings.data))
        url = server.url if server else settings.database_url
        migrated = prepare_schema(url)
        say_where(settings)
        stack.enter_context(Patrol(url, server, migrated=migrated))
        supervisor = Supervisor(settings.data / "run")
        add_roles(supervisor, environment(settings, url))
        return supervisor.run(stop)


def say_where(settings: Settings) -> None:
    """One line about a broker that is not there, one about where to look."""
    if not broker_answers(settings.mqtt_url):
        where = settings.mqtt_url.rpartition("@")[2].removeprefix("mqtt://")
        print(f"no broker answers at {where}; the receiver tries again until it does", file=sys.stderr)
    print(f"serving http://{settings.http_bind}/ (token in {settings.data / 'api.token'}); Ctrl-C stops", flush=True)
