"""The collector writes down what it gets before it answers, says whether it was signed, and misbehaves as told."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest.readings import SECOND
from simulators.__main__ import main
from simulators.verify.collector import LARGEST, Collector, Manners
from tests.support.program import ROOT

SECRET = b"a shared key"
PAGE = {"id": "k1", "class": "fire", "reason": "opened", "incident": {"id": "i", "site": "s\x1b[2J"}, "team": "north"}


class Taking:
    """A running collector, what it wrote and said."""

    def __init__(self, manners: Manners, secret: bytes) -> None:
        self.out, self.said = BytesIO(), list[str]()
        self.collector = Collector(
            ("127.0.0.1", 0),
            self.out,
            secret=secret,
            manners=manners,
            now=lambda: time.time_ns() // 1000,
            say=self.said.append,
        )
        self.url = f"http://127.0.0.1:{self.collector.port}/hook"

    def post(self, body: bytes | None = None, *, key: str = "", signature: str = "") -> int:
        raw = json.dumps(PAGE).encode() if body is None else body
        headers = [(b"Idempotency-Key", key.encode()), (b"X-Emberwatch-Signature", signature.encode())]
        return httpx.post(self.url, content=raw, headers=headers, trust_env=False, timeout=10).status_code

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


@contextmanager
def taking(*, secret: bytes = SECRET, **manners: Any) -> Iterator[Taking]:
    taking, stop = Taking(Manners(**manners), secret), threading.Event()
    thread = threading.Thread(target=taking.collector.serve, args=(stop,))
    thread.start()
    try:
        yield taking
    finally:
        stop.set()
        thread.join()


def signature(raw: bytes) -> str:
    return "sha256=" + hmac.new(SECRET, raw, hashlib.sha256).hexdigest()


def test_a_page_is_written_down_with_what_matters_before_it_is_answered() -> None:
    raw = json.dumps(PAGE).encode()
    with taking() as team:
        before = time.time_ns() // 1000
        code = team.post(raw, key="k1", signature=signature(raw))
        assert code == 200
        (line,) = team.lines()
    assert before <= line.pop("at") <= before + 5 * SECOND
    headers = line.pop("headers")
    assert headers == {"Idempotency-Key": "k1", "X-Emberwatch-Signature": signature(raw)}
    assert line == {"path": "/hook", "key": "k1", "status": 200, "signed": True, "body": PAGE}
    assert "200 fire opened s[2J north signed" in team.said[0]


@pytest.mark.parametrize("given", ["", "sha256=", "sha256=" + "0" * 64, "sha1=é"])
def test_a_wrong_signature_is_written_down_as_wrong(given: str) -> None:
    with taking() as team:
        assert team.post(signature=given) == 200
        assert team.lines()[0]["signed"] is False and "WRONG SIGNATURE" in team.said[0]


def test_without_a_secret_nothing_is_said_of_signatures() -> None:
    with taking(secret=b"") as team:
        team.post(signature="sha256=0")
        assert team.lines()[0]["signed"] is None


@pytest.mark.parametrize("raw", [b"", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_page_is_written_down_as_text(raw: bytes) -> None:
    with taking() as team:
        assert team.post(raw) == 200
        assert (team.lines()[0]["body"], team.lines()[0]["text"]) == (None, raw.decode("utf-8", "replace"))


def test_several_at_once_are_lines_of_their_own() -> None:
    with taking() as team, ThreadPoolExecutor(16) as people:
        codes = list(people.map(lambda number: team.post(key=f"k{number}"), range(64)))
        assert codes == [200] * 64
        assert sorted(line["key"] for line in team.lines()) == sorted(f"k{number}" for number in range(64))


def test_the_first_are_refused_swallowed_or_late_as_told() -> None:
    with taking(status=503, fail=2) as team:
        assert [team.post() for _ in range(3)] == [503, 503, 200]
        assert [line["status"] for line in team.lines()] == [503, 503, 200]
    with taking(swallow=1) as team:
        assert [team.post(key=key) for key in ("a", "b")] == [200, 200]
        assert [line["key"] for line in team.lines()] == ["b"] and team.said[0].endswith("swallowed a")
    with taking(delay_s=0.2) as team:
        before = time.time_ns() // 1000
        team.post()
        assert team.lines()[0]["at"] - before >= SECOND // 5


def test_what_has_no_length_or_too_much_of_it_is_refused_unread() -> None:
    with taking() as team, socket.create_connection(("127.0.0.1", team.collector.port), timeout=10) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (LARGEST + 1))
        assert b" 413 " in peer.recv(100)
        assert httpx.post(team.url, content=iter([b"a"]), trust_env=False).status_code == 411
        assert team.lines() == []


def test_a_sender_that_dies_in_the_middle_sent_no_page() -> None:
    with taking() as team:
        with socket.create_connection(("127.0.0.1", team.collector.port), timeout=10) as peer:
            peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert team.post() == 200
        assert len(team.lines()) == 1


def test_a_page_that_cannot_be_written_is_not_answered_and_said() -> None:
    with taking() as team:
        team.out.close()
        with pytest.raises(httpx.RemoteProtocolError):
            team.post()
        assert team.said == ["collect: a page was not taken: ValueError: I/O operation on closed file."]


def test_the_command_writes_a_line_a_page_and_ends_by_a_signal(tmp_path: Path) -> None:
    out, key = tmp_path / "pages.jsonl", tmp_path / "hook.key"
    key.write_bytes(SECRET + b"\n")
    command = [sys.executable, "-m", "simulators", "collect", "--bind", "127.0.0.1:0", "--out", str(out)]
    command += ["--secret-file", str(key)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            url = process.stdout.readline().split()[3].rstrip(",")
            raw = json.dumps(PAGE).encode()
            with httpx.Client(trust_env=False) as client:  # it keeps its connection, which must not hold up the end
                client.post(url, content=raw, headers={"X-Emberwatch-Signature": signature(raw)})
                assert json.loads(out.read_text())["signed"] is True
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--secret-file", "none"), "--secret-file none: no such file or directory; name a readable file"),
        (("--bind", "203.0.113.1:9000"), "--bind 203.0.113.1:9000: "),
        (("--out", "no/such/folder"), "--out no/such/folder: no such file or directory; name a file to write to"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str], line: str
) -> None:
    assert main(["collect", "--out", str(tmp_path / "out"), *words]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"simulators: {line}") and said.count("\n") == 1


@pytest.mark.parametrize("words", [("--bind", "9000"), ("--bind", ":9000"), ("--answer", "500"), ("--answer", "99:1")])
def test_wrong_usage_is_exit_code_2(words: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["collect", "--out", str(tmp_path / "out"), *words])
    assert ended.value.code == 2
