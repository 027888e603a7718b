"""Our four rooms are ours: found in this tree, and no other installed distribution ships one of them."""

from __future__ import annotations

import importlib.util
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("ingest", "alerts", "api", "simulators")


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_is_found_in_our_tree(room: str) -> None:
    spec = importlib.util.find_spec(room)
    assert spec is not None and spec.origin is not None
    assert Path(spec.origin).resolve() == ROOT / room / "__init__.py"


@pytest.mark.parametrize("room", ROOMS)
def test_no_other_distribution_ships_a_room(room: str) -> None:
    assert set(packages_distributions().get(room, ["emberwatch"])) == {"emberwatch"}


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_says_in_one_sentence_what_it_is_for(room: str) -> None:
    text = (ROOT / room / "__init__.py").read_text(encoding="utf-8").strip()
    assert text.startswith('"""') and text.endswith('."""') and "\n" not in text


def test_there_is_no_package_among_the_tests() -> None:
    assert [str(path) for path in (ROOT / "tests").rglob("__init__.py")] == []
