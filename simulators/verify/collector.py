"""A team's side of the webhook channel: writes down each page before it answers, and misbehaves when told to."""

from __future__ import annotations

import hashlib
import hmac
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any

import msgspec

from ingest.readings import iso
from simulators.options import os_errors

LARGEST = 1 << 20  #: bytes of a page; ours have a few thousand
_KEPT = ("Idempotency-Key", "X-Emberwatch-Signature", "Content-Type")


class Manners(msgspec.Struct, frozen=True, kw_only=True):
    """How it misbehaves: the first `fail` pages are answered `status`, the first `swallow` are answered 200 and not
    written down, every page is written down and answered `delay_s` after it came."""

    status: int = 500
    fail: int = 0
    swallow: int = 0
    delay_s: float = 0.0


class Collector:
    """An HTTP server that takes POSTs on any path. `now` gives µs since 1970; `say` gets a line a page."""

    def __init__(
        self,
        bind: tuple[str, int],
        out: IO[bytes],
        *,
        secret: bytes,
        manners: Manners,
        now: Callable[[], int],
        say: Callable[[str], object],
    ) -> None:
        self._out, self._secret, self._manners, self._now, self._say = out, secret, manners, now, say
        self._lock = threading.Lock()
        self._came = 0
        with os_errors(f"--bind {bind[0]}:{bind[1]}", "name a free address of this machine"):
            self._server = _Server(bind, _handler(self))
        self._server.say = say

    @property
    def port(self) -> int:
        """Where it listens, also when it was asked for any free port."""
        return int(self._server.server_address[1])

    def serve(self, stop: threading.Event) -> None:
        """Take pages until `stop`."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="collector")
        thread.start()
        try:
            stop.wait()
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def take(self, path: str, headers: dict[str, str], raw: bytes) -> int:
        """Write down one page, on disk when this returns; what to answer."""
        with self._lock:
            number = self._came
            self._came += 1
        if self._manners.delay_s:
            time.sleep(self._manners.delay_s)
        status = self._manners.status if number < self._manners.fail else 200
        if number < self._manners.swallow:
            self._say(f"{iso(self._now())} swallowed {headers.get(_KEPT[0], '')}")
            return status
        line = self._line(path, headers, raw, status)
        with self._lock:
            self._out.write(msgspec.json.encode(line) + b"\n")
            self._out.flush()
        self._say(_spoken(line))
        return status

    def _line(self, path: str, headers: dict[str, str], raw: bytes, status: int) -> dict[str, Any]:
        body = _json(raw)
        line = {
            "at": self._now(),
            "path": path,
            "key": headers.get("Idempotency-Key", ""),
            "status": status,
            "signed": self._signed(headers.get("X-Emberwatch-Signature", ""), raw),
            "headers": headers,
            "body": body,
        }
        return line if body is not None else line | {"text": raw.decode("utf-8", "replace")}

    def _signed(self, given: str, raw: bytes) -> bool | None:
        if not self._secret:
            return None
        right = "sha256=" + hmac.new(self._secret, raw, hashlib.sha256).hexdigest()
        return hmac.compare_digest(given.encode(), right.encode())


class _Server(ThreadingHTTPServer):
    say: Callable[[str], object]
    daemon_threads = True  # a connection that is kept open must not hold up the end
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that went away in the middle will come again; what else went wrong is said."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            self.say(f"collect: a page was not taken: {type(error).__name__}: {error}")


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60  # s without a word

        def setup(self) -> None:
            super().setup()
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > LARGEST:
                self._answer(413 if length.isdecimal() else 411)
                return
            raw = self.rfile.read(int(length))
            if len(raw) == int(length):  # else the sender was killed in the middle: no page ever came
                headers = {name: self.headers[name] for name in _KEPT if name in self.headers}
                self._answer(collector.take(self.path, headers, raw))

        def _answer(self, status: int) -> None:
            self.close_connection = status in (411, 413)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """What came is said by the collector."""

    return Handler


def _json(raw: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _spoken(line: dict[str, Any]) -> str:
    """A line for the terminal; what a page says is shown as it is written down, without control characters."""
    body = line["body"] or {}
    incident = body.get("incident")
    site = incident.get("site", "") if isinstance(incident, dict) else ""
    words = [body.get("class", "no page of ours"), body.get("reason", ""), site, body.get("team", "")]
    signed = {True: "signed", False: "WRONG SIGNATURE", None: ""}[line["signed"]]
    text = " ".join(str(word) for word in [line["status"], *words, signed] if word)
    return f"{iso(line['at'])} " + "".join(letter for letter in text if letter.isprintable())
