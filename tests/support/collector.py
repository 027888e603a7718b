"""A team's side of the webhook channel: records what arrives, and misbehaves when told to."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What to do with one request after reading it: answer with a status, or give no answer at all."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hang: bool = False  #: keep the connection open, never answer
    close: bool = False  #: close the connection without an answer
    delay_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One request as it came. `at` is the wall clock in µs when its body was complete."""

    at: int
    path: str
    key: str
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]
    signed: bool  #: the signature is the right one for the collector's secret
    accepted: bool  #: it was answered with 2xx


@dataclass(frozen=True)
class Between:
    """So many at least, so many at most."""

    least: int
    most: int


class Collector:
    """An HTTP server on a free port of 127.0.0.1. Use `with Collector(secret=b"…") as collector:`."""

    def __init__(self, *, secret: bytes = b"", port: int = 0) -> None:
        self.secret = secret
        self.otherwise = Behaviour()
        self._plan: deque[Behaviour] = deque()
        self._arrivals: list[Arrival] = []
        self._wanted: set[str] = set()
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> Collector:
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the server and every connection, so that no thread and no socket is left."""
        self._ended.set()
        self._server.shutdown()
        with self._changed:
            for connection in self._open:
                _hang_up(connection)
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Collector:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def then(self, *behaviours: Behaviour) -> None:
        """The next requests meet these, one each; after them `otherwise` counts again."""
        with self._changed:
            self._plan.extend(behaviours)

    def arrivals(self) -> list[Arrival]:
        """Every request so far, in order of arrival."""
        with self._changed:
            return list(self._arrivals)

    def pages(self) -> list[Arrival]:
        """The first accepted arrival of every idempotency key: what a careful receiver would act on."""
        first: dict[str, Arrival] = {}
        for arrival in self.arrivals():
            if arrival.accepted:
                first.setdefault(arrival.key, arrival)
        return list(first.values())

    def doubles(self) -> int:
        """How many accepted arrivals a careful receiver would drop as already seen."""
        return sum(arrival.accepted for arrival in self.arrivals()) - len(self.pages())

    def wants(
        self,
        count: int | Between,
        *,
        within: float,
        where: Callable[[dict[str, Any]], bool] = lambda body: True,
    ) -> list[Arrival]:
        """Wait for this many pages whose body passes `where`; AssertionError with what came instead.

        They count as expected from then on. With Between it returns at the least number; `unexpected` later tells
        whether more came than that.
        """
        least, most = (count.least, count.most) if isinstance(count, Between) else (count, count)
        self.wait_until(lambda: len(self._matching(where)) >= least, within)
        found = self._matching(where)
        if not least <= len(found) <= most:
            raise AssertionError(f"wanted {count} pages, {len(found)} came within {within} s: {self._summary()}")
        self._wanted.update(arrival.key for arrival in found)
        return found

    def unexpected(self) -> list[Arrival]:
        """Pages nobody wanted, and arrivals whose signature is wrong."""
        wrong = [arrival for arrival in self.arrivals() if self.secret and not arrival.signed]
        return wrong + [page for page in self.pages() if page.key not in self._wanted]

    def wait_until(self, condition: Callable[[], bool], within: float) -> bool:
        """Wait until the condition holds, looked at after every arrival; whether it does."""
        deadline = time.monotonic() + within
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                self._changed.wait(min(left, 0.02))
        return True

    def _matching(self, where: Callable[[dict[str, Any]], bool]) -> list[Arrival]:
        return [page for page in self.pages() if where(page.body)]

    def _summary(self) -> str:
        return json.dumps([arrival.body for arrival in self.arrivals()], ensure_ascii=False)[:4000] or "nothing"

    def take(self, path: str, headers: dict[str, str], raw: bytes) -> Behaviour:
        """Note a request; what to do with it."""
        right = "sha256=" + hmac.new(self.secret, raw, hashlib.sha256).hexdigest()
        with self._changed:
            behaviour = self._plan.popleft() if self._plan else self.otherwise
            self._arrivals.append(
                Arrival(
                    at=time.time_ns() // 1000,
                    path=path,
                    key=headers.get("idempotency-key", ""),
                    headers=headers,
                    raw=raw,
                    body=_json(raw),
                    signed=hmac.compare_digest(headers.get("x-emberwatch-signature", ""), right),
                    accepted=200 <= behaviour.status < 300 and not (behaviour.hang or behaviour.close),
                )
            )
            self._changed.notify_all()
        return behaviour

    @contextmanager
    def connected(self, connection: socket.socket) -> Iterator[None]:
        with self._changed:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._changed:
                self._open.discard(connection)

    def wait_for_end(self, seconds: float | None) -> None:
        self._ended.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is no news for a test."""


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def handle(self) -> None:
            with collector.connected(self.connection):
                super().handle()

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            raw = self.rfile.read(length)
            if len(raw) < length:  # the sender was killed in the middle: no request ever came
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            behaviour = collector.take(self.path, headers, raw)
            if behaviour.delay_s:
                collector.wait_for_end(behaviour.delay_s)
            if behaviour.hang:
                collector.wait_for_end(None)
            if behaviour.hang or behaviour.close:
                self.close_connection = True
                return
            self.send_response(behaviour.status)
            for name, value in behaviour.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(behaviour.body)))
            self.end_headers()
            self.wfile.write(behaviour.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _json(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
