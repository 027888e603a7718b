"""Which wrong clocks are to be shown: new ones, those that moved, those that are right again."""

from __future__ import annotations

import pytest

from ingest.readings import SECOND
from ingest.skews import MOST, Skews
from ingest.timing import Key, WrongClock

A, B = ("shed", "a"), ("shed", "b")


def clocks(**skews: int) -> dict[Key, WrongClock]:
    return {("shed", name): WrongClock(skew * SECOND, 0, 0) for name, skew in skews.items()}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.skews.EVERY_SECONDS", 0.0)
    monkeypatch.setattr("ingest.skews.SHARE", 0)


def test_a_clock_is_news_when_it_goes_wrong_moves_and_is_right_again() -> None:
    skews = Skews()
    assert skews.news({}) is None
    for wrong, changed, right in [
        (clocks(a=100, b=200), [A, B], []),
        (clocks(a=104, b=195), [], []),
        (clocks(a=104, b=194), [B], []),
        (clocks(b=194), [], [A]),
        ({}, [], [B]),
    ]:
        news = skews.news(wrong)
        assert ((list(news.wrong), news.right) if news is not None else ([], [])) == (changed, right)
        if news is not None:
            skews.written(news)
    assert skews.news({}) is None


def test_what_was_not_written_is_news_again() -> None:
    skews = Skews({A: 5 * SECOND})
    first = skews.news(clocks(b=1))
    assert first is not None and skews.news(clocks(b=1)) == first


def test_a_district_of_wrong_clocks_comes_in_parts() -> None:
    skews, wrong = Skews(), clocks(**{f"d{n}": 3600 for n in range(MOST + 5)})
    sizes = []
    while (news := skews.news(wrong)) is not None:
        sizes.append(len(news.wrong))
        skews.written(news)
    assert sizes == [MOST, 5]
