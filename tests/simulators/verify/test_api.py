"""What verify asks the API, page by page, and what it says when there is no good answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ingest.readings import SECOND, to_datetime
from simulators.__main__ import main
from simulators.tapes.tapefile import TapeWriter
from simulators.verify.api import Api

AT = "2026-09-21T14:13:20Z"
START = 1_790_000_000 * SECOND
ONE = b"""{"time":"%s","site":"s","device":"d","received_at":"%s","values":{"co":1.0},"states":{},"late":null}""" % (
    (AT.encode(),) * 2
)


@contextmanager
def serving(answers: dict[str, tuple[int, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers by path and cursor; its address, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            asked.append(f"{urlsplit(self.path).query} {self.headers['Authorization']}")
            status, body = answers[path.removeprefix("/api/v1/") + query.get("after", [""])[0]]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "api.token"
    path.write_text("secret-token\n")
    return str(path)


def test_pages_follow_each_other_and_times_carry_their_zone(token: str) -> None:
    first, second = b'{"items":[' + ONE + b'],"next":"p2"}', b'{"items":[' + ONE + b'],"next":null}'
    with serving({"readings": (200, first), "readingsp2": (200, second)}) as (url, asked), Api(url + "/", token) as api:
        start, end = to_datetime(START), to_datetime(START + 1)
        found = list(api.readings(site="s", device="d", since=start, until=end))
    assert [each.values for each in found] == [{"co": 1.0}] * 2 and found[0].time == start
    question = "site=s&from=2026-09-21T14%3A13%3A20%2B00%3A00&to=2026-09-21T14%3A13%3A20.000001%2B00%3A00&device=d"
    assert asked == [
        f"{question}&limit=1000 Bearer secret-token",
        f"{question}&limit=1000&after=p2 Bearer secret-token",
    ]


@pytest.mark.parametrize(
    ("status", "body", "line"),
    [
        (401, b"", "refuses the token; name DATA_DIR/api.token, or make one"),
        (503, b"", "readings answered HTTP 503; look into its log"),
        (200, b"<html>", "readings is not what Emberwatch answers; name its address"),
        (200, b'{"items":[{"time":"2026-01-01T00:00:00"}],"next":null}', "is not what Emberwatch answers"),
    ],
)
def test_an_api_that_does_not_answer_well_is_one_line_and_exit_code_2(
    tmp_path: Path, token: str, capsys: pytest.CaptureFixture[str], status: int, body: bytes, line: str
) -> None:
    with serving({"readings": (status, body)}) as (url, _):
        assert main([*sent(tmp_path), "--api", url, "--token-file", token]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and line in said.err and "secret-token" not in said.err


def sent(folder: Path) -> list[str]:
    """`verify` over a tape with one reading."""
    with TapeWriter(folder / "sent.tape") as writer:
        writer.add(at=START, topic="ember/v1/s/d/telemetry", payload=b'{"ts":1790000000000,"co":1}')
    return ["verify", "--sent", str(folder / "sent.tape")]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:8080", "http://[", "nowhere"])
def test_an_address_where_nothing_is_is_one_line(
    tmp_path: Path, token: str, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert main([*sent(tmp_path), "--api", url, "--token-file", token]) == 2
    assert capsys.readouterr().err.startswith(f"simulators: verify: --api {url}: ")


def test_a_token_file_that_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = tmp_path / "odd"
    odd.write_bytes(b"\xff")
    for name, line in ((tmp_path / "none", "no such file"), (odd, "not a token")):
        assert main([*sent(tmp_path), "--api", "http://127.0.0.1:9", "--token-file", str(name)]) == 2
        assert line in capsys.readouterr().err


def delivery(key: str, channel: str, state: str = "accepted") -> bytes:
    line = f'{{"id":"{key}","site":"s","target":"north","channel":"{channel}","class":"fire","reason":"opened",'
    return f'{line}"created_at":"{AT}","state":"{state}"}}'.encode()


def test_a_page_that_the_collector_s_channel_took_and_that_is_not_there_is_lost(
    tmp_path: Path, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = tmp_path / "pages.jsonl"
    body = '{"id":"p1","reason":"opened","class":"fire","incident":{"id":"i","site":"s"}}'
    pages.write_text(f'{{"at":{START},"path":"/","key":"p1","status":200,"signed":true,"body":{body}}}\n')
    items = delivery("p1", "hook"), delivery("p2", "hook"), delivery("p3", "sms"), delivery("p4", "hook", "failed")
    readings, deliveries = (b'{"items":[' + part + b'],"next":null}' for part in (ONE, b",".join(items)))
    with serving({"readings": (200, readings), "deliveries": (200, deliveries)}) as (url, _):
        assert main([*sent(tmp_path), "--api", url, "--token-file", token, "--pages", str(pages)]) == 1
    lines = capsys.readouterr().out.splitlines()
    expected = "expected opened to north by hook, which took it, seen nothing"
    assert lines[0] == f"lost: page p2 of s at 2026-09-21T14:13:20.000Z: {expected}"
    assert lines[-1] == "1 finding"
