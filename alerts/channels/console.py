"""Channel `console`: one line in the dispatcher's log that a person can read."""

from __future__ import annotations

import structlog
from msgspec import json

from alerts.channels.contract import Answer
from alerts.outbox import DeliveryOutcome
from alerts.teams import Channel


class ConsoleSender:
    """Tells by the log; always accepted."""

    def __init__(self, channel: Channel) -> None:
        self._log = structlog.get_logger()

    def send(self, body: bytes, *, key: str, now: int) -> Answer:
        page = json.decode(body)
        incident = page["incident"]
        self._log.warning(
            "PAGE",
            to=page["team"],
            signal_class=page["class"],
            where=" ".join(part for part in (incident["site_name"], f"({incident['site']})") if part),
            what=page["text"],
            why=[f"{alert['device'] or incident['site']}: {alert['reason']}" for alert in page["alerts"]],
            incident=incident["id"],
            page=key,
        )
        return Answer(outcome=DeliveryOutcome.ACCEPTED, detail="written to the log")

    def close(self) -> None:
        pass
