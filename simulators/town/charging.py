"""Bikes that come and go: what the sockets of a site give, by hour. Pure.

D = ../shared/domain.md with section and confidence tag, A = our assumption.
"""

from __future__ import annotations

from collections.abc import Iterable

from ingest.readings import DAY, HOUR
from simulators.town.noise import bits, key_of
from simulators.town.weather import ZONE

#: A charger of an e-bike takes so many watts, first and near the end. A: 48 V and 60 V packs of 12 to 20 Ah.
CHARGER_W = (130.0, 260.0)
FULL_W = 25.0
#: The last share of a charge goes down to that: constant voltage. A.
TAIL = 0.25
#: Two sessions a day for each socket: its chance, its mean hour of local time, the spread of it, its length in hours.
#: A: plugged in after work, a smaller peak at noon; D 5.4: Beijing's guideline allows 8 h [S].
SESSIONS = ((0.6, 20.0, 3.0, (3.0, 7.5)), (0.3, 12.5, 3.5, (1.5, 4.0)))
_BITS = 0xFFFF


def load(key: int, bays: Iterable[int], at: int) -> float:
    """What the sockets of these bays give together, W; `key` is the site's."""
    running = _running(at)
    return sum(_session(key, bay, day, number, at) for day, number in running for bay in bays) if running else 0.0


def _running(at: int) -> list[tuple[int, int]]:
    """Day and number of the sessions that may go on now: an evening's charge goes on after midnight."""
    today, rest = divmod(at + ZONE, DAY)
    found = []
    for number, (_, hour, spread, (_, longest)) in enumerate(SESSIONS):
        for day, since in ((today, rest / HOUR), (today - 1, rest / HOUR + 24)):
            if hour - spread <= since < hour + spread + longest:
                found.append((day, number))
    return found


def _session(key: int, bay: int, day: int, number: int, at: int) -> float:
    chance, hour, spread, (shortest, longest) = SESSIONS[number]
    drawn = bits(key, (day * 4096 + bay) * 2 + number)
    if (drawn & _BITS) >= chance * _BITS:
        return 0.0
    length = (shortest + (longest - shortest) * ((drawn >> 16 & _BITS) / _BITS)) * HOUR
    start = day * DAY - ZONE + (hour + spread * ((drawn >> 32 & _BITS) / _BITS * 2 - 1)) * HOUR
    done = (at - start) / length
    if not 0.0 <= done < 1.0:
        return 0.0
    full = CHARGER_W[0] + (CHARGER_W[1] - CHARGER_W[0]) * ((drawn >> 48) / _BITS)
    return full if done < 1.0 - TAIL else full + (FULL_W - full) * (done - 1.0 + TAIL) / TAIL


def charging_key(seed: int, site: str) -> int:
    """The key of a site's sockets."""
    return key_of(seed, f"sockets/{site}")
