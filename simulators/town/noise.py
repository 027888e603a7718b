"""Chance without memory: a pure function of a key and a number, so that a device needs no generator of its own.

A key is made once of the seed and a name. The bits of key and number are mixed as in SplitMix64 (Steele, Lea and
Flood 2014) and pick from a table of the quantiles of the normal distribution.
"""

from __future__ import annotations

from hashlib import blake2b
from statistics import NormalDist

_MASK = 2**64 - 1
_STEP = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
#: The standard normal distribution in 4,096 equal shares; 12 bits pick one, the farthest is 3.7.
GAUSS = tuple(round(NormalDist().inv_cdf((step + 0.5) / 4096), 6) for step in range(4096))


def key_of(seed: int, name: str) -> int:
    """The key of a device, a site, or anything else that has chances of its own."""
    return int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big")


def bits(key: int, number: int) -> int:
    """64 bits that look like chance; five picks from GAUSS at 12 bits each."""
    mixed = (key + number * _STEP) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * _FIRST) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * _SECOND) & _MASK
    return mixed ^ (mixed >> 31)


def gauss(key: int, number: int) -> float:
    """Normally distributed, mean 0, deviation 1."""
    return GAUSS[bits(key, number) >> 52]


def uniform(key: int, number: int) -> float:
    """From 0 until before 1."""
    return (bits(key, number) >> 11) * 2.0**-53


def between(key: int, number: int, low: float, high: float) -> float:
    """Evenly from `low` to `high`."""
    return low + (high - low) * uniform(key, number)
