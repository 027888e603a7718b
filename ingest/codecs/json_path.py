"""Plain look-ups into JSON: `$.a.b`, `$.a[0].b`, `$['x y']`; no wildcards, filters or slices. Pure."""

from __future__ import annotations

import re

import msgspec

from ingest.codecs.json_text import shown
from ingest.errors import Undecodable

_STEP = re.compile(
    r"""\.(?P<name>[^\s.\[\]'"*?@()$,:]+)|\[(?P<index>\d{1,6})\]|\['(?P<single>[^']+)'\]|\["(?P<double>[^"]+)"\]"""
)


class JsonPath(msgspec.Struct, frozen=True):
    """Keys and indexes from the root down, and the text they came from."""

    text: str
    steps: tuple[str | int, ...]

    def find(self, tree: object) -> object:
        """The value at this path; None where it is absent or null. Undecodable where the way there is blocked."""
        node = tree
        for step in self.steps:
            if type(step) is str and type(node) is dict:
                node = node.get(step)
            elif type(step) is int and type(node) is list:
                node = node[step] if step < len(node) else None
            elif node is not None:
                raise Undecodable(f"{self.text}: {shown(node)} stands where {_wanted(step)} should be")
        return node


def _wanted(step: str | int) -> str:
    return f"an object with {step!r}" if isinstance(step, str) else "an array"


def parse_path(text: str) -> JsonPath:
    """A path from its text; ValueError that says what is wrong and what would be right."""
    if not text.startswith("$"):
        raise ValueError(f"{text!r} is no path; a path starts at the root, such as $.data.temp")
    steps: list[str | int] = []
    position = 1
    while position < len(text):
        step = _STEP.match(text, position)
        if step is None:
            rest = text[position:]
            raise ValueError(
                f"path {text!r}: cannot read {rest!r}; plain look-ups only, such as $.a.b, $.a[0].b or $['x y']"
            )
        steps.append(int(step["index"]) if step["index"] else step["name"] or step["single"] or step["double"])
        position = step.end()
    return JsonPath(text, tuple(steps))
