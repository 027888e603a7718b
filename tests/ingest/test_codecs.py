"""Golden cases: tests/ingest/codecs/<codec>/<case>/ holds payload.*, topic.txt and sources.yaml where there are any,
and what `emberwatch decode` prints: expected.jsonl, or error.txt."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ingest.codecs import CODECS
from ingest.decode import decode_files

FOLDER = Path(__file__).parent / "codecs"
CASES = sorted(path for path in FOLDER.glob("*/*") if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_golden(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case)
    topic, sources = Path("topic.txt"), Path("sources.yaml")
    out, errors = io.StringIO(), io.StringIO()
    code = decode_files(
        case.parent.name,
        topic.read_text().strip() if topic.exists() else "",
        {},
        "",
        [path.name for path in case.glob("payload.*")],
        out,
        sources=sources if sources.exists() else None,
        errors=errors,
    )
    expected, error = Path("expected.jsonl"), Path("error.txt")
    if error.exists():
        assert (code, out.getvalue()) == (1, "")
        assert errors.getvalue() == error.read_text(encoding="utf-8")
    else:
        assert errors.getvalue() == ""
        assert out.getvalue() == expected.read_text(encoding="utf-8")
        assert code == 0


def test_every_codec_has_golden_cases() -> None:
    assert {case.parent.name for case in CASES} == set(CODECS)
    assert len(CASES) > 50
