"""RFC 9457 problem details: the one form of every error answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ingest.errors import Unavailable

MEDIA_TYPE = "application/problem+json"

#: What the database says when it is away or gives up, as opposed to refusing a statement.
DATABASE_AWAY = (Unavailable, psycopg.OperationalError, psycopg.InterfaceError)

_QUERY_CANCELED = "57014"  #: SQLSTATE of a statement that ran into its time limit

_log = structlog.get_logger()


class Problem(Exception):
    """An answer that is not what the caller wanted; `detail` says what, and what would be right."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def problem_response(
    status: int,
    detail: str,
    *,
    instance: str = "",
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, str]] = (),
) -> JSONResponse:
    """The answer itself; `errors` lists where each of several mistakes stands."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": instance,
    }
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Turn everything a route can raise into a problem document."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _wrong_request)
    app.add_exception_handler(psycopg.DataError, _impossible_value)
    for away in DATABASE_AWAY:
        app.add_exception_handler(away, _database_away)


def database_away(request: Request, error: Exception) -> JSONResponse:
    """503: nothing is lost, come again."""
    said = " ".join(str(error).split())
    _log.warning("database away", path=request.url.path, error=said)
    too_slow = _QUERY_CANCELED in said or getattr(error, "sqlstate", "") == _QUERY_CANCELED
    return problem_response(
        503,
        "that took the database too long; ask for less: one device, or a shorter time"
        if too_slow
        else "the database is not reachable now; nothing is lost, try again in a few seconds",
        instance=request.url.path,
        headers={"Retry-After": "5"},
    )


def internal_error(request: Request, error: Exception) -> JSONResponse:
    """500: our fault; the details are in the log only."""
    _log.error("request failed", path=request.url.path, method=request.method, exc_info=error)
    return problem_response(
        500, "this should not have happened; the details are in the log of the api", instance=request.url.path
    )


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return problem_response(error.status, error.detail, instance=request.url.path, headers=error.headers)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        detail = f"there is nothing at {path}; see /docs for what there is"
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"{request.method} is not possible here; {path} takes {allowed or 'another method'}"
    else:
        detail = str(error.detail)
    return problem_response(error.status_code, detail, instance=path, headers=error.headers)


async def _wrong_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [{"where": _place(mistake["loc"]), "what": _what(mistake)} for mistake in error.errors()]
    detail = "; ".join(f"{mistake['where']}: {mistake['what']}" for mistake in errors)
    return problem_response(422, detail, instance=request.url.path, errors=errors)


async def _database_away(request: Request, error: Exception) -> JSONResponse:
    return database_away(request, error)


async def _impossible_value(request: Request, error: Exception) -> JSONResponse:
    """A value that passed our checks and that no column can hold, such as a time before 4714 BC."""
    what = str(error).splitlines()[0] if str(error) else type(error).__name__
    return problem_response(422, f"the database cannot take a value of this request: {what}", instance=request.url.path)


_PLACES = {"query": "query parameter", "path": "path", "header": "header", "body": "body"}


def _place(location: Sequence[str | int]) -> str:
    place, *names = location
    return " ".join([_PLACES.get(str(place), str(place)), ".".join(map(str, names))]).strip()


def _what(mistake: Mapping[str, Any]) -> str:
    kind = mistake["type"]
    if kind == "extra_forbidden":
        return "is not known here; see /docs"
    if kind == "missing":
        return "is missing"
    if kind == "json_invalid":
        return "is not valid JSON"
    text = str(mistake["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    given = mistake.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float) and len(str(given)) < 80 else ""
    return ("must be " if not str(mistake["msg"]).startswith("Value error") else "") + text + shown
