"""Suspected fires: told as soon as the scanner finds them, and no second time when the evaluator arrives there."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from alerts import dispatcher_metrics as metrics
from alerts.alert import Severity, SignalClass, derived_id
from alerts.incident import UNLOCATED_SITE, Audience, Hush, HushReason, Notice, Tell, TellReason
from alerts.outbox import Outbox, Waiting
from alerts.pager import Pager
from alerts.payload import moment
from alerts.signs import Sign
from alerts.surroundings import Surroundings
from alerts.told_fires import ToldFire, ToldFires
from ingest.message import Kind
from ingest.readings import SECOND

log = structlog.get_logger()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What the scanner saw between two looks, in the order of the log: every record up to offset `until`.

    `stretch` is the offset at which it began to run ahead, `behind` how far (µs) the evaluator was behind then.
    """

    stretch: int
    until: int
    signs: tuple[Sign, ...]
    behind: int


class Suspects:
    """The suspected fires of one shard. Every method belongs into a transaction of the outbox."""

    def __init__(
        self, *, shard: str, outbox: Outbox, known: Surroundings, pager: Pager, now: Callable[[], int]
    ) -> None:
        self._shard = shard
        self._outbox = outbox
        self._known = known
        self._pager = pager
        self._now = now
        self._told = ToldFires(outbox)

    def take(self, finding: Finding, *, judged: int) -> list[Waiting]:
        """The pages of what was found, one a site; none of what the evaluator has judged meanwhile."""
        made: list[Waiting] = []
        for sign in finding.signs:
            if sign.offset > judged:
                made += self._suspected(sign, finding)
        self._told.looked_through(finding.stretch, finding.until)
        return made

    def pages(self, tell: Tell, position: int) -> list[Waiting]:
        """The pages of a tell of the engine, but for those whose people were told before it was judged."""
        fire = tell.signal_class is SignalClass.FIRE
        before = self._told.answer(tell) if fire else None
        made, needless = self._pager.pages(tell, position, told_by=before.tell if before else "")
        if before and needless:
            self._outbox.rehome(_incident_id(before.tell), tell.incident)
            if not made:
                self._hush(tell, needless[0])
        if fire:
            self._told.told(tell, now=self._now())
        return made

    def passed(self, cursor: int) -> None:
        """The evaluator has judged up to here: what became of nothing is said to the centre, without a page."""
        for row in self._told.judged(cursor):
            log.warning("a suspected fire made no tell", shard=self._shard, site=row.site, offset=row.first)
            self._outbox.to_copy(Kind.NOTICE, self._notice(row))

    def forget(self, *, before: int) -> None:
        """Forget what is older than this."""
        self._told.forget(before=before)

    def _suspected(self, sign: Sign, finding: Finding) -> list[Waiting]:
        site = sign.site
        if sign.audience is Audience.CENTRE and site not in self._known.inventory.sites:
            site = UNLOCATED_SITE
        if self._told.covers(site, sign, finding.stretch):
            metrics.SUSPECTED.labels(self._shard, "folded").inc()
            return []
        tell = _tell(self._shard, site, sign, finding.behind)
        self._told.suspected(tell.id, site, sign, finding.stretch)
        if not self._outbox.note_tell(tell.id, now=self._now()):
            return []
        metrics.SUSPECTED.labels(self._shard, "told").inc()
        log.warning(
            "suspected fire", shard=self._shard, site=site, offset=sign.offset, behind_s=finding.behind / SECOND
        )
        return self._pager.pages(tell, -1)[0]

    def _hush(self, tell: Tell, page: str) -> None:
        """In the books, its alerts are suppressed as already told."""
        metrics.ALREADY_TOLD.labels(self._shard).inc()
        for alert in tell.alerts:
            hush = Hush(
                alert_id=alert, incident=tell.incident, reason=HushReason.ALREADY_TOLD, at=tell.at, told_by=page
            )
            self._outbox.to_copy(Kind.HUSH, hush)

    def _notice(self, row: ToldFire) -> Notice:
        text = (
            f"The suspected fire at {row.site} that was told ahead of the evaluator (record {row.first}, "
            f"{moment(row.first_at)}) has been judged since: it began no incident of its own, and nobody is told again"
        )
        return Notice(id=derived_id("notice", row.tell), at=self._now(), text=text)


def _tell(shard: str, site: str, sign: Sign, behind: int) -> Tell:
    tell = derived_id("suspected", shard, sign.offset, site, sign.audience)
    who = f"{sign.site}/{sign.device}" if sign.site and sign.site != site else sign.device
    return Tell(
        id=tell,
        incident=_incident_id(tell),
        site=site,
        signal_class=SignalClass.FIRE,
        severity=Severity.CRITICAL,
        reason=TellReason.SUSPECTED,
        audience=sign.audience,
        at=sign.at,
        opened_at=sign.began_at or sign.at,
        alerts=(),
        text=f"suspected fire at {site}: {who or 'an unreadable message'}: {sign.why}; not judged yet, "
        f"the evaluator is {round(behind / SECOND)} s behind",
        began_at=sign.began_at,
        offset=sign.offset,
    )


def _incident_id(tell: str) -> str:
    """What its pages belong to as long as there is no incident."""
    return derived_id("incident", tell)
