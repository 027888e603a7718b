"""Invented names in the manner of Chinese towns. Pure; a likeness to a real street or compound is chance.

Names are made of two signs of which each is rare in names of real districts, and an ending that says what it is.
"""

from __future__ import annotations

import random
from itertools import product

CITY = "云江市"
FIRST = "霁岚黛澄蘅翊煦绛琥沅苓葭棠樾珩漪筠蔚霏皎璟槿芷泠"
SECOND = "汀浦枫亭畔坪陌渚庭桐荷杉庐堤梨榆菱鹭砚筑岫萍绡"
STREET = ("街道", "镇")
COMMUNITY = ("社区",)
COMPOUND = ("苑", "轩", "里", "花园", "小区", "雅居", "家园", "新村")
NUMERALS = "一二三四五六七八九十"


def invented(chance: random.Random, count: int, endings: tuple[str, ...]) -> list[str]:
    """`count` different names with these endings, in an order of chance."""
    every = ["".join(parts) for parts in product(FIRST, SECOND, endings)]
    chance.shuffle(every)
    return [every[n % len(every)] + (f"{n // len(every) + 1}期" if n >= len(every) else "") for n in range(count)]


def numeral(number: int) -> str:
    """一, 二, 三 … up to ten, then figures."""
    return NUMERALS[number - 1] if number <= len(NUMERALS) else str(number)
