"""Where things are in a town: its outline, its compounds, the blocks in them. Pure.

Metres count from the middle of the town, x to the east and y to the north. The middle is open water on real maps,
so that no real place is meant.
"""

from __future__ import annotations

import math
import random

#: The middle of the town.
LAT, LON = 31.2100, 120.1500
M_PER_DEGREE = 111_320.0
_SHRUNK = math.cos(math.radians(LAT))
#: From one compound to the next. A: a block between main roads of a Chinese town.
COMPOUND_M = 500.0
#: Residential blocks of a compound stand in rows and face south. A: slabs of three or four stairwells.
BLOCK_LENGTH_M, BLOCK_DEPTH_M = 60.0, 14.0
COLUMNS, ROWS = 4, 6
COLUMN_M, ROW_M = 100.0, 65.0

Point = tuple[float, float]


def degrees(point: Point) -> Point:
    """Latitude and longitude (WGS 84) of metres, to a centimetre."""
    x, y = point
    return round(LAT + y / M_PER_DEGREE, 7), round(LON + x / (M_PER_DEGREE * _SHRUNK), 7)


def metres(lat: float, lon: float) -> Point:
    """The way back."""
    return (lon - LON) * M_PER_DEGREE * _SHRUNK, (lat - LAT) * M_PER_DEGREE


def compounds(count: int, chance: random.Random) -> list[Point]:
    """The middles of so many compounds: a town without holes, in an order in which neighbours follow each other."""
    side = 1 << math.ceil(math.log2(1.8 * math.sqrt(count) + 2))
    swell = [(wave, chance.uniform(0.05, 0.15), chance.uniform(0, math.tau)) for wave in (2, 3, 5)]

    def outline(cell: tuple[int, int]) -> float:
        x, y = cell[0] - side / 2 + 0.5, cell[1] - side / 2 + 0.5
        angle = math.atan2(y, x)
        reach = 1 + sum(size * math.cos(wave * angle + turn) for wave, size, turn in swell)
        return round(math.hypot(x, y) / reach, 6)  # so that no machine's last digit changes the order

    cells = sorted(((x, y) for x in range(side) for y in range(side)), key=lambda cell: (outline(cell), cell))
    cells = sorted(cells[:count], key=lambda cell: along_curve(side, *cell))
    return [
        (
            round((x - side / 2 + 0.5) * COMPOUND_M + chance.uniform(-30, 30), 1),
            round((y - side / 2 + 0.5) * COMPOUND_M + chance.uniform(-30, 30), 1),
        )
        for x, y in cells
    ]


def along_curve(side: int, x: int, y: int) -> int:
    """How far along Hilbert's curve through `side` × `side` cells this one lies; `side` is a power of two."""
    passed, half = 0, side // 2
    while half:
        right, up = int(x & half > 0), int(y & half > 0)
        passed += half * half * ((3 * right) ^ up)
        if not up:
            if right:
                x, y = side - 1 - x, side - 1 - y
            x, y = y, x
        half //= 2
    return passed


def block(middle: Point, number: int) -> Point:
    """The middle of a residential block of the compound around `middle`, from 0, row by row from the north-west."""
    column, row = number % COLUMNS, number // COLUMNS
    return middle[0] + (column - (COLUMNS - 1) / 2) * COLUMN_M, middle[1] + ((ROWS - 1) / 2 - row) * ROW_M
