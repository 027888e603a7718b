"""Device frames: one module a product, the bytes that LoRaWAN servers carry."""

from __future__ import annotations

import re
from functools import lru_cache

from ingest.codecs.frames import dragino_lht65, milesight_em300, milesight_gs524n, tg563a, yobiiq_sd1001
from ingest.codecs.frames.contract import Read

FRAMES: dict[str, Read] = {
    "milesight-gs524n": milesight_gs524n.read,
    "milesight-em300": milesight_em300.read,
    "dragino-lht65": dragino_lht65.read,
    "tg563a": tg563a.read,
    "yobiiq-sd1001": yobiiq_sd1001.read,
}

#: Products by what their names have in them.
_PRODUCT = re.compile(
    r"(?<![a-z0-9])(?:(?P<gs524n>gs[-_ ]?524n)|(?P<em300>em[-_ ]?(?:300|310|320|400)|ts[-_ ]?101)"
    r"|(?P<lht65>lht[-_ ]?65)|(?P<tg563a>tg[-_ ]?563a)|(?P<sd1001>sd[-_ ]?1001))",
    re.ASCII,
)
_FRAME_OF = {
    "gs524n": "milesight-gs524n",
    "em300": "milesight-em300",
    "lht65": "dragino-lht65",
    "tg563a": "tg563a",
    "sd1001": "yobiiq-sd1001",
}
_NAME_LIMIT = 200


def frame_named(text: str) -> str:
    """The frame of the product that a device profile or device is named after; "" when it is none of ours."""
    return _frame_named(text[:_NAME_LIMIT])


@lru_cache(maxsize=1024)
def _frame_named(text: str) -> str:
    found = _PRODUCT.search(text.lower())
    return "" if found is None else _FRAME_OF[str(found.lastgroup)]
