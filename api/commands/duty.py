"""`emberwatch duty-check`: ask whether somebody is at a fire panel."""

from __future__ import annotations

import time
from typing import Any

from api.__main__ import panel_shard
from api.commands.store import connection
from api.people import OWNER_NAME
from ingest.database import Connection
from ingest.duty_store import ASK, CHANNEL, asked
from ingest.errors import OperatorError
from ingest.gb26875_link import transmitter_of
from ingest.settings import Settings, load_settings

PATIENCE = 10.0  #: seconds to wait for the running roles to send it
_LOOK = 0.2
_WAITING = ("pending", "relayed")
_SAID = {
    "sent": "sent; {address} answers within {minutes} minutes when somebody presses its key",
    "answered": "answered: somebody is there",
    "not_connected": "not sent: no transmitter {address} is connected",
    "expired": "not sent: its minutes were over",
    "unanswered": "nobody answered",
}


def duty_check(place: str, minutes: int) -> int:
    """Ask, and wait until it is sent; exit 1 when it cannot be."""
    settings = load_settings()
    with connection(settings) as opened:
        values = _checked(opened, settings, place, minutes)
        opened.execute(ASK.encode(), values)
        opened.execute("SELECT pg_notify(%s, %s)", (CHANNEL, values["shard"]))
        opened.commit()
        state = _what_came_of_it(opened, values["id"])
    if state in _WAITING:
        raise OperatorError(f"not sent within {PATIENCE:.0f} s; is `emberwatch run` running? It is sent when it runs")
    print(_SAID[state].format(**values))
    return 0 if state in ("sent", "answered") else 1


def _checked(opened: Connection, settings: Settings, place: str, minutes: int) -> dict[str, Any]:
    site, _, device = place.partition("/")
    address = transmitter_of(device)
    if not site or address is None:
        raise OperatorError(f"{place} names no device of a fire panel; write SITE/DEVICE, such as shed-1/790300000000")
    shard = panel_shard(settings)
    if not shard:
        raise OperatorError("EMBERWATCH_GB26875_BIND: not set, so no fire panels report to us; set it first")
    row = opened.execute("SELECT 1 FROM devices WHERE site = %s AND id = %s", (site, device)).fetchone()
    if row is None:
        raise OperatorError(f"there is no device {device} at site {site}; see `emberwatch inventory export`")
    return asked(shard=shard, site=site, device=device, address=address, minutes=minutes, author=OWNER_NAME)


def _what_came_of_it(opened: Connection, check: object) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        row = opened.execute("SELECT state FROM duty_checks WHERE id = %s", (check,)).fetchone()
        opened.commit()
        state = str(row[0]) if row else "pending"
        if state not in _WAITING or time.monotonic() > deadline:
            return state
        time.sleep(_LOOK)
