"""Golden cases: tests/ingest/codecs/<codec>/<case>/ holds payload.* or samples.txt, topic.txt, content_type.txt,
properties.txt (key=value lines) and sources.yaml where there are any, and what `emberwatch decode` prints:
expected.jsonl, or error.txt, or both where a later message is the broken one. topic.txt has one topic for all messages,
or a line for each. samples.txt names published samples, a line each, in the order of decoding: format/file in
../shared/payloads, read in place."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from ingest.codecs import CODECS
from ingest.decode import decode_files
from tests.support.data import SAMPLES, sample

FOLDER = Path(__file__).parent / "codecs"
CASES = sorted(path for path in FOLDER.glob("*/*") if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_golden(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case)
    sources = Path("sources.yaml")
    out, errors = io.StringIO(), io.StringIO()
    code = decode_files(
        case.parent.name,
        _lines("topic.txt"),
        dict(line.split("=", 1) for line in _lines("properties.txt")),
        _line("content_type.txt"),
        [str(sample(name)) for name in _lines("samples.txt")] or sorted(path.name for path in case.glob("payload.*")),
        out,
        sources=sources if sources.exists() else None,
        errors=errors,
    )
    expected, error = Path("expected.jsonl"), Path("error.txt")
    if error.exists():
        assert code == 1
        assert errors.getvalue().replace(f"{SAMPLES}/", "") == error.read_text(encoding="utf-8")
        assert out.getvalue() == (expected.read_text(encoding="utf-8") if expected.exists() else "")
    else:
        assert errors.getvalue() == ""
        assert out.getvalue() == expected.read_text(encoding="utf-8")
        assert code == 0


def test_every_codec_has_golden_cases() -> None:
    assert {case.parent.name for case in CASES} == set(CODECS)
    assert len(CASES) > 50


#: Rows of the index that say what others mean, not what a device sends.
EXPECTATIONS = (".resolved.json", ".expected.json")


def test_every_published_sample_has_its_meaning_in_a_golden_case() -> None:
    with sample("index.csv").open(encoding="utf-8", newline="") as file:
        rows = [f"{row['format']}/{row['file']}" for row in csv.DictReader(file)]
    inputs = {row for row in rows if not row.endswith(EXPECTATIONS)}
    twins = {row for row in inputs if row.startswith("sparkplug_b/spec_") and row.endswith(".json")}
    named = {line for case in CASES for line in _lines(str(case / "samples.txt"))}
    assert len(inputs) > 120
    assert inputs - twins - named == set()


def _lines(name: str) -> list[str]:
    file = Path(name)
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _line(name: str) -> str:
    return "".join(_lines(name)).strip()
