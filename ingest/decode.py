"""`emberwatch decode`: what a codec makes of files, one JSON object a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO


def decode_files(
    codec: str,
    topic: str,
    properties: Mapping[str, str],
    content_type: str,
    files: Sequence[str],
    out: TextIO,
    *,
    sources: Path | None = None,
    errors: TextIO | None = None,
) -> int:
    """Decode these files in order as messages of `topic`; the exit code: 0 done, 1 undecodable, 2 wrong usage.

    `-` is standard input, a name ending in `.hex` holds hex text. `sources`: the sources.yaml whose first source
    that matches `topic` and has this codec gives the mapping. `errors` (default stderr) gets exactly one line.
    """
    raise NotImplementedError
