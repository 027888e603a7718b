"""From a tell to the pages in the outbox: whom it is for, by which channels, and what the page says."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from alerts.alert import Transition
from alerts.incident import Audience, IncidentState, Tell, TellReason
from alerts.outbox import Outbox, Page, Waiting, page_id
from alerts.payload import PageAlert, PageIncident, alert_after, body_of, moment
from alerts.routing import centre_of, route
from alerts.surroundings import Surroundings


class Pager:
    """Makes the pages of one shard. `now` is the wall clock in µs; `attempts_before` those an earlier outbox made."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        known: Surroundings,
        now: Callable[[], int],
        public_url: str,
        attempts_before: Mapping[str, int],
    ) -> None:
        self._outbox = outbox
        self._known = known
        self._now = now
        self._public_url = public_url.rstrip("/")
        self._attempts_before = attempts_before

    def note(self, transition: Transition) -> None:
        """Keep what a page will say about this alert."""
        facts = alert_after(transition, self._alert(transition.alert_id))
        encoded = msgspec.json.encode(facts)
        self._outbox.note_alert(transition.alert_id, transition.incident_id, encoded, now=self._now())

    def pages(self, tell: Tell, position: int, *, told_by: str = "") -> tuple[list[Waiting], list[str]]:
        """The pages of a tell that was not seen before, one for each channel of whom it is for.

        Second, the pages of the tell `told_by` that make one of these needless, as they went the same way.
        """
        way = route(self._known.teams, self._known.inventory, tell.site, tell.audience)
        alerts = tuple(self._alert(alert) or PageAlert(id=alert) for alert in tell.alerts)
        made: list[Waiting] = []
        needless: list[str] = []
        for channel in way.channels:
            before = page_id(told_by, 0, way.target, channel)
            if told_by and self._outbox.on_its_way(before):
                needless.append(before)
                continue
            page = self._page(tell, way.target, channel, f"{tell.reason}: {way.reason}")
            facts = body_of(page, tell, self._incident(tell), alerts)
            attempts = self._attempts_before.get(page.id, 0)
            if self._outbox.create(page, facts, position=position, told_at=tell.at, attempts=attempts):
                made.append(Waiting(page=page.id, channel=channel, signal_class=tell.signal_class, due_at=page.due_at))
        return made, needless

    def _alert(self, alert: str) -> PageAlert | None:
        facts = self._outbox.alert(alert)
        return None if facts is None else msgspec.json.decode(facts, type=PageAlert)

    def _page(self, tell: Tell, target: str, channel: str, reason: str) -> Page:
        now = self._now()
        return Page(
            id=page_id(tell.id, 0, target, channel),
            tell=tell.id,
            incident=tell.incident,
            site=tell.site,
            step=0,
            target=target,
            channel=channel,
            signal_class=tell.signal_class,
            reason=reason,
            due_at=now,
            created_at=now,
            alerts=tell.alerts,
        )

    def _incident(self, tell: Tell) -> PageIncident:
        site = self._known.inventory.sites.get(tell.site)
        change = self._outbox.incident(tell.incident)
        centre = centre_of(self._known.inventory, tell.site)
        if not centre and self._known.teams.centres:
            centre = route(self._known.teams, self._known.inventory, tell.site, Audience.CENTRE).target
        return PageIncident(
            id=tell.incident,
            site=tell.site,
            site_name=site.name if site else "",
            area=site.parent if site else "",
            centre=centre,
            state=change.state if change else IncidentState.OPEN,
            opened_at=moment(tell.opened_at),
            url=self._url(tell),
        )

    def _url(self, tell: Tell) -> str:
        if not self._public_url:
            return ""
        judged = tell.reason is not TellReason.SUSPECTED  # before that there is no incident to be shown
        return f"{self._public_url}/#/incidents/{tell.incident}" if judged else f"{self._public_url}/"
