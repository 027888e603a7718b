"""The outermost layer of every request: who may come in, what a browser may do with the answer, what is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import quote

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import OPEN_PATHS, PUSH_PATHS, same_origin
from api.entrance import Entrance, Refusal
from api.metrics import observe_request
from api.problems import DATABASE_AWAY, database_away, internal_error, problem_response

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_BROWSER_PAGES = frozenset({"/", "/docs"})

#: Pages load what we serve and nothing else; scripts and styles only from files of ours.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser sends `Origin: null` with our own forms
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Wraps the application; the one place that decides who is let in."""

    def __init__(self, app: ASGIApp, *, entrance: Entrance, now: Callable[[], int], public_url: str) -> None:
        self._app, self._entrance, self._now = app, entrance, now
        self._public_origin = public_url.rstrip("/")  # what browsers see of us behind a proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._answer(scope, receive, send_guarded)
        finally:
            observe_request(scope, status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        refusal = await self._refusal(request)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        answered = False

        async def send_noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception as error:
            if answered:  # half an answer is out: only cutting the connection tells the caller
                raise
            handler = database_away if isinstance(error, DATABASE_AWAY) else internal_error
            await handler(request, error)(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        """What keeps this request out. A request that is let in has its Caller in `request.state.caller`."""
        path = request.url.path
        if path not in OPEN_PATHS and not path.startswith(PUSH_PATHS):
            caller = await self._entrance.identify(request, self._now())
            if isinstance(caller, Refusal):
                return _refused(caller, request)
            request.state.caller = caller
        origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
        ours = origin == self._public_origin or same_origin(origin, host)
        if request.method not in _SAFE_METHODS and not ours:
            return problem_response(403, f"a page of {origin} may not act here", instance=path)
        return None


def _refused(refusal: Refusal, request: Request) -> Response:
    """The refusal as a problem, or for somebody in front of a browser the way to the log-in."""
    path = request.url.path
    if path in _BROWSER_PAGES and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/login" if path == "/" else f"/login?next={quote(path)}", 303)
    return problem_response(refusal.status, refusal.detail, instance=path, headers=refusal.headers)
