"""deploy/config/brokers.md names every question a broker can ask, with the fields that it needs."""

from __future__ import annotations

import re
from pathlib import Path

from api.brokers_desk import OUR_USER
from api.brokers_dialects import QUESTIONS
from api.brokers_snapshot import DEVICES, TOKENS
from api.people import SCOPES

MANUAL = (Path(__file__).resolve().parents[2] / "deploy" / "config" / "brokers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\w*\n(.*?)```", MANUAL, flags=re.DOTALL)


def test_every_question_has_its_place_in_an_example() -> None:
    assert set(re.findall(r"/api/v1/broker/([\w/-]+)", "".join(BLOCKS))) == set(QUESTIONS)


def test_the_bodies_of_the_emqx_example_have_what_the_questions_need() -> None:
    (emqx,) = (block for block in BLOCKS if "password_based" in block)
    for path in ("authenticate", "authorize"):
        body = emqx.partition(f"/api/v1/broker/{path}")[2].partition("body {")[2].partition("\n  }")[0]
        assert set(QUESTIONS[path].needs) <= set(re.findall(r"^\s*(\w+) = \"\$\{\1\}\"", body, flags=re.MULTILINE))
    assert "no_match = deny" in emqx


def test_the_names_in_the_manual_are_those_of_the_program() -> None:
    for name in (OUR_USER, DEVICES, TOKENS):
        assert f"`{name}`" in MANUAL.replace("DATA_DIR/", "")
    assert {"hook", "broker"} <= set(SCOPES) and "--scope hook" in MANUAL and "--scope broker" in MANUAL
