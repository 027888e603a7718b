"""Pages: fires that devices said or alerts told, against what a collector wrote down. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import msgspec

from ingest.readings import DAY, SECOND, from_datetime
from simulators.verify.alerts import UNLOCATED
from simulators.verify.api import Delivery
from simulators.verify.findings import Check, Finding, Kind, Tally, moment
from simulators.verify.readings import CLOCKS_DIFFER

#: An incident is told for these reasons as often as they come up; for every other reason once.
REPEATED = frozenset({"retriggered", "late", "unregistered", "suspected"})


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """An alert of a page."""

    id: str
    device: str | None = None


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """What a page is about."""

    id: str
    site: str


class Body(msgspec.Struct, frozen=True, kw_only=True, rename={"signal_class": "class"}):
    """A page, as far as it is compared."""

    id: str
    reason: str
    signal_class: str
    incident: Incident
    alerts: tuple[Subject, ...] = ()
    team: str = ""
    step: int = 0


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a collector. `at`: when it was written down (µs). `signed`: null = it had no secret to check by."""

    at: int
    path: str
    key: str
    status: int  #: what the collector answered
    signed: bool | None
    body: msgspec.Raw = msgspec.Raw(b"null")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page that the collector took."""

    at: int
    path: str
    body: Body

    @property
    def sites(self) -> set[str]:
        """The site it is about; of devices at a site nobody knows, those they named."""
        if self.body.incident.site != UNLOCATED:
            return {self.body.incident.site}
        return {(alert.device or "").partition("/")[0] for alert in self.body.alerts}

    @property
    def is_fire(self) -> bool:
        """Whether it says fire."""
        return self.body.signal_class == "fire"


class PagesCheck:
    """Compares, and tells a tally. `fires`: sites and when their fire was first sent (µs); `late`: µs too long."""

    def __init__(self, noted: Iterable[Noted], fires: Mapping[str, int], tally: Tally, *, began: int, late: int):
        self._fires, self._tally, self._late = fires, tally, late
        self._began = began - CLOCKS_DIFFER
        tally.begin(Check.PAGES)
        self._pages: dict[str, Page] = {}
        arrivals = Counter[str]()
        for line in noted:
            if line.at < self._began:
                continue
            page = self._read(line)
            if page is not None and 200 <= line.status < 300:
                arrivals[line.key] += 1
                self._pages.setdefault(line.key, page)
        tally.compare(Check.PAGES, len(self._pages))
        for key, count in arrivals.items():
            if count > 1:
                self._tell_of(self._pages[key], Kind.TWICE, "page " + key, "it once", f"it {count} times")

    def run(self, *, deliveries: Iterable[Delivery] | None, alarmed: Collection[str] | None) -> None:
        """`deliveries`: all that the API knows. `alarmed`: all sites with an alert of fire class. None: not known."""
        self._told_twice()
        missing = self._not_arrived(deliveries) if deliveries is not None else set()
        for site, sent_at in self._fires.items():
            self._check_site(site, sent_at, missing=site in missing)
        if alarmed is not None:
            self._unexplained({*alarmed, *self._fires})

    def _read(self, line: Noted) -> Page | None:
        try:
            page = Page(at=line.at, path=line.path, body=msgspec.json.decode(line.body, type=Body))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._wrong(line, "a page", " ".join(str(error).split()))
            return None
        if line.signed is False:
            self._wrong(line, "a right signature", "a wrong one, or none", page)
        if page.body.id != line.key:
            self._wrong(line, f"the Idempotency-Key {page.body.id}", line.key, page)
        return page

    def _wrong(self, line: Noted, expected: str, seen: str, page: Page | None = None) -> None:
        site = page.body.incident.site if page else ""
        self._tell(Kind.WRONG, f"page {line.key}", site, line.at, expected, seen)

    def _tell(self, kind: Kind, what: str, site: str, at: int, expected: str, seen: str = "") -> None:
        self._tally.found(
            Finding(kind=kind, check=Check.PAGES, what=what, site=site, at=moment(at), expected=expected, seen=seen)
        )

    def _tell_of(self, page: Page, kind: Kind, what: str, expected: str, seen: str) -> None:
        self._tell(kind, what, page.body.incident.site, page.at, expected, seen)

    def _told_twice(self) -> None:
        told: dict[tuple[str, str, str, int, str], str] = {}
        for key, page in self._pages.items():
            body = page.body
            same = (page.path, body.incident.id, body.reason, body.step, body.team)
            first = told.setdefault(same, key)
            if first != key and body.reason not in REPEATED:
                what = f"a page with reason {body.reason} to {body.team}"
                self._tell_of(page, Kind.TWICE, what, f"only page {first}", f"also page {key}")

    def _not_arrived(self, deliveries: Iterable[Delivery]) -> set[str]:
        """Tell of pages that a channel took and that the collector does not have; their sites.

        Which channels lead to the collector is known by the pages that it has.
        """
        since = [each for each in deliveries if from_datetime(each.created_at) >= self._began]
        channels = {each.channel for each in since if each.id in self._pages}
        sites = set()
        for each in since:
            if each.state == "accepted" and each.channel in channels and each.id not in self._pages:
                sites.add(each.site)
                expected = f"{each.reason} to {each.target} by {each.channel}, which took it"
                self._tell(Kind.LOST, f"page {each.id}", each.site, from_datetime(each.created_at), expected)
        return sites

    def _check_site(self, site: str, sent_at: int, *, missing: bool) -> None:
        times = [page.at for page in self._pages.values() if page.is_fire and site in page.sites]
        if not times:
            if not missing:
                self._tell(Kind.LOST, "a page of fire class", site, sent_at, "one at least")
            return
        took = min(times) - sent_at
        if abs(took) > DAY:  # a recording with times of its own
            return
        self._tally.took(Check.PAGES, max(took, 0))
        if took > self._late:
            expected = f"it within {self._late / SECOND:g} s"
            seen = f"it {took / SECOND:.1f} s after the fire was sent"
            self._tell(Kind.LATE, "the first page of fire class", site, sent_at, expected, seen)

    def _unexplained(self, burning: set[str]) -> None:
        for key, page in self._pages.items():
            if page.is_fire and page.body.reason not in REPEATED and not page.sites & burning:
                self._tell_of(page, Kind.WRONG, f"page {key}", "no fire there", f"{page.body.reason}")
