"""What the process of every role does alike."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest import role
from ingest.errors import OperatorError, Unavailable
from ingest.processes import GIVE_UP
from ingest.role import COLLECT_AFTER, GIVES_WAY, spare_the_collector
from ingest.settings import Settings


@pytest.fixture
def collector() -> Iterator[None]:
    """Python's collector as it was, afterwards."""
    thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)
    yield
    gc.set_threshold(*thresholds)
    gc.callbacks[:] = callbacks
    gc.unfreeze()


class _Knot:
    """Something that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("collector")
def test_what_outlives_a_full_pass_is_never_looked_at_again() -> None:
    spare_the_collector()
    staying = [[number] for number in range(1_000)]
    gc.collect()
    assert gc.get_freeze_count() > len(staying)
    assert not any(each is staying for each in gc.get_objects())


@pytest.mark.usefixtures("collector")
def test_what_is_knotted_and_let_go_is_still_freed() -> None:
    spare_the_collector()
    gc.collect()
    gone = weakref.ref(_Knot())
    made = [[] for _ in range(COLLECT_AFTER + 1)]  # type: ignore[var-annotated]
    assert made and gone() is None


@pytest.mark.usefixtures("collector")
def test_asked_twice_it_is_done_once() -> None:
    before = len(gc.callbacks)
    spare_the_collector()
    spare_the_collector()
    assert len(gc.callbacks) == before + 1


def test_a_role_that_gives_way_lowers_its_own_priority_and_its_session_s() -> None:
    file = Path("/proc/self/autogroup")  # where Linux shares time out to sessions
    shown = file if file.exists() else Path(os.devnull)
    words = f"import os, ingest.role as r; r.give_way(); print(os.nice(0)); print(open({str(shown)!r}).read())"
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True, start_new_session=True
    )
    niceness, _, group = done.stdout.partition("\n")
    assert int(niceness) == min(os.nice(0) + GIVES_WAY, 19)
    assert not group.strip() or group.split()[-1] == str(GIVES_WAY)


@pytest.mark.parametrize("room", ["ingest", "alerts"])
def test_wrong_usage_of_a_room_is_one_line_and_the_code_that_ends_a_run(
    room: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert role.run_room(room, {"one": 0, "two": 1}, lambda *_: None, ["three"]) == GIVE_UP
    assert capsys.readouterr().err == f"usage: python -m {room} [one|two]; found three\n"


@pytest.mark.parametrize(
    ("broken", "code"), [(Unavailable("away"), 1), (OperatorError("mend it"), 2), (KeyError("x"), 1)]
)
def test_a_broken_role_is_started_again_unless_a_person_must_help(
    broken: Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def run_role(*_: object) -> None:
        raise broken

    monkeypatch.setattr(role, "stop_on_signals", threading.Event)
    monkeypatch.setattr(role, "load_settings", Settings)
    monkeypatch.setattr(role, "set_up_logging", lambda name, _: said.append(name))  # this process is the tests'
    assert role.run_room("ingest", {"writer": 1}, run_role, ["writer"]) == code
    assert said == ["writer"]


def test_a_file_named_from_the_home_folder_is_found_by_every_role(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(teams="~/teams.yaml").file("teams") == tmp_path / "teams.yaml"
    assert Settings().file("rules") is None
