"""`emberwatch decode`: exit codes, one line of error, memory from file to file. Formats: test_codecs.py."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import msgspec
import pytest

from ingest.codecs import CODECS
from ingest.decode import decode_files

TOPIC = "ember/v1/shed/d1/telemetry"


def run(codec: str, *files: str, topic: str = "", sources: Path | None = None) -> tuple[int, str, str]:
    out, errors = io.StringIO(), io.StringIO()
    code = decode_files(
        codec, [topic] if topic else [], {"k": "v"}, "application/json", files, out, sources=sources, errors=errors
    )
    return code, out.getvalue(), errors.getvalue()


def test_files_are_decoded_in_order_until_one_cannot_be(tmp_path: Path) -> None:
    for name, text in {"1": '{"co":1}', "2": "{", "3": '{"co":3}'}.items():
        (tmp_path / name).write_text(text)
    code, out, errors = run("ember-json", *(str(tmp_path / name) for name in "123"), topic=TOPIC)
    assert code == 1
    assert out == '{"kind":"reading","device":"d1","site":"shed","observed_at":null,"co":1.0}\n'
    assert errors == f"{tmp_path / '2'}: not JSON: input data was truncated\n"


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"smoke_alarm":true}')))
    code, out, _ = run("ember-json", "-", topic=TOPIC)
    assert (code, out) == (
        0,
        '{"kind":"state","device":"d1","site":"shed","observed_at":null,"smoke_alarm":true}\n',
    )


def test_without_named_errors_they_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert decode_files("ember-json", [TOPIC], {}, "", ["/nowhere/x"], sys.stdout) == 1
    assert capsys.readouterr().err == "/nowhere/x: no such file or directory; name an existing file\n"


def test_each_file_may_have_a_topic_of_its_own(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_text('{"co":1}')
    out, errors = io.StringIO(), io.StringIO()
    topics = ["ember/v1/shed/d1/telemetry", "ember/v1/shed/d2/telemetry"]
    assert decode_files("ember-json", topics, {}, "", [str(file) for file in files], out, errors=errors) == 0
    assert [msgspec.json.decode(line)["device"] for line in out.getvalue().splitlines()] == ["d1", "d2"]
    assert decode_files("ember-json", topics, {}, "", [str(files[0])] * 3, out, errors=errors) == 2
    assert errors.getvalue() == "2 topics for 3 files; give one for all, or one for each\n"


def test_a_file_larger_than_any_payload_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b" " * 262_145)
    assert run("ember-json", str(tmp_path / "x"), topic=TOPIC)[::2] == (
        1,
        f"{tmp_path / 'x'}: 262145 bytes; at most 262144 are read\n",
    )


@pytest.mark.parametrize(
    ("codec", "topic", "files", "error"),
    [
        ("morse", "", ["x"], f"codec morse is unknown; known: {', '.join(CODECS)}"),
        ("ember-json", "a/#", ["x"], "topic 'a/#' has a wildcard; + and # belong into filters only"),
        ("ember-json", "", [], "no file; name one, or - for standard input"),
        (
            "json-map",
            "",
            ["x"],
            "json-map needs a mapping; name the file that has it with --sources or EMBERWATCH_SOURCES",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(codec: str, topic: str, files: list[str], error: str) -> None:
    assert run(codec, *files, topic=topic) == (2, "", error + "\n")


MAPS = """sources:
  - {filter: "a/#", codec: json-map, device: "topic:2", fields: {co: $.a}}
  - {filter: "b/#", codec: json-map, device: "topic:2", fields: {co: $.b}}
"""


def test_the_mapping_is_that_of_the_source_the_topic_matches(tmp_path: Path) -> None:
    sources, payload = tmp_path / "sources.yaml", tmp_path / "x"
    sources.write_text(MAPS)
    payload.write_text('{"a":1,"b":2}')
    line = '{"kind":"reading","device":"d","site":null,"observed_at":null,"co":%s}\n'
    assert run("json-map", str(payload), topic="a/d", sources=sources) == (0, line % "1.0", "")
    assert run("json-map", str(payload), topic="b/d", sources=sources) == (0, line % "2.0", "")
    assert run("json-map", str(payload), topic="c/d", sources=sources) == (
        2,
        "",
        f"{sources}: no source of codec json-map that matches topic c/d; check --codec and --topic\n",
    )
    assert run("json-map", str(payload), sources=sources) == (
        2,
        "",
        f"{sources}: 2 sources of codec json-map; say which with --topic\n",
    )


def test_a_broken_sources_file_is_one_line_too(tmp_path: Path) -> None:
    sources = tmp_path / "sources.yaml"
    sources.write_text("sources:\n  - {filter: a}\n  - {codec: json-map}\n")
    code, out, errors = run("json-map", "x", sources=sources)
    assert (code, out) == (1, "")
    assert errors.count("\n") == 1 and f"{sources}:2: codec is missing" in errors
