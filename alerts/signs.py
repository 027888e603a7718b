"""Fire signs in records that the evaluator has not reached yet, as admit understands them. Pure.

What the engine would make of them is not known here: it may know better (a repeat, history that is over). So news
counts, and what is older than what was judged last does not.
"""

from __future__ import annotations

import msgspec

from alerts.incident import Audience
from ingest.admission import Admission, Suspicion
from ingest.readings import FIRE_STATES, Lateness, Reading


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """A record that says there is a fire. `at` is its log time, `began_at` when it began if that is long ago, else 0.

    `site` is what the record names, "" for nothing; only who knows the places can say whether it is one.
    """

    offset: int
    at: int
    site: str
    device: str
    audience: Audience
    why: str
    began_at: int = 0


def signs_of(admission: Admission, *, offset: int, at: int, retained: bool, judged_at: int) -> list[Sign]:
    """The signs in one message, a site's first only.

    `retained`: the broker repeated it; `judged_at`: when the evaluator last judged anything.
    """
    found: dict[tuple[str, Audience], Sign] = {}
    for reading in admission.readings:
        burning = _burning(reading)
        if burning and _is_news(reading, judged_at):
            sign = Sign(
                offset=offset,
                at=at,
                site=reading.site,
                device=reading.device,
                audience=Audience.TEAM,
                why=", ".join(burning),
                began_at=reading.at if reading.late else 0,
            )
            found.setdefault((sign.site, sign.audience), sign)
    if admission.suspicion is not None and not retained:
        sign = _of_stranger(admission.suspicion, offset, at)
        found.setdefault((sign.site, sign.audience), sign)
    return list(found.values())


def _burning(reading: Reading) -> list[str]:
    if reading.states.get("test"):
        return []
    return [name for name, value in reading.states.items() if value and name in FIRE_STATES]


def _is_news(reading: Reading, judged_at: int) -> bool:
    if reading.late is None:
        return True
    if reading.late is Lateness.RETAINED and reading.device_at is None:
        return False  # the broker's copy of something, at an unknown time
    return reading.at > judged_at


def _of_stranger(suspicion: Suspicion, offset: int, at: int) -> Sign:
    return Sign(
        offset=offset,
        at=at,
        site=suspicion.site,
        device=suspicion.device,
        audience=Audience.CENTRE,
        why=suspicion.why,
    )
