"""The plain page, its files, the description of the API for people, and the way in."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.auth import COOKIE, SESSION
from api.doors import Doors, Here
from api.entrance import address_of
from api.problems import Problem
from ingest.readings import SECOND

router = APIRouter(include_in_schema=False)

_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
#: Where a log-in may lead: nowhere else, whatever a link says.
_AFTER_LOGIN = ("/", "/docs")
_LONGEST_FORM = 4096


def _file(name: str) -> str:
    return resources.files("api").joinpath("page", name).read_text(encoding="utf-8")


_FILES = {name: _file(name) for name in ("board.js", "board.css", "docs.js", "icon.svg")}
_BOARD, _DOCS, _LOGIN = _file("board.html"), _file("docs.html"), _file("login.html")
_STYLE = _LOGIN.partition("<style>")[2].partition("</style>")[0]
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: The log-in page stands alone, because without a session no other file is served.
_LOGIN_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


_WRONG = {
    401: "That is not the token of this installation. 令牌不正确。",
    429: "Too many wrong tokens; wait a minute. 错误次数过多,请稍后再试。",
}


@router.get("/")
async def board() -> HTMLResponse:
    """Live incidents."""
    return HTMLResponse(_BOARD)


@router.get("/docs")
async def docs() -> HTMLResponse:
    """What the API offers, from /openapi.json, without any file from elsewhere."""
    return HTMLResponse(_DOCS)


@router.get("/page/{name}")
async def file(name: str) -> Response:
    """A script or style of the pages."""
    if name not in _FILES:
        raise Problem(404, f"there is no file {name} here")
    return Response(_FILES[name], media_type=_TYPES[name.rpartition(".")[2]])


@router.get("/login")
async def login(here: Here, request: Request) -> Response:
    """The form; or, with `?token=`, straight in, by way of a redirect that clears the address bar."""
    after = _after(request.query_params.get("next", "/"))
    if token := request.query_params.get("token", ""):
        return _enter(here, request, token, after)
    if here.doorkeeper.lets_in(authorization="", cookies=request.headers.get("cookie", ""), now=here.now()):
        return RedirectResponse(after, 303)
    return _form("", 200)


@router.post("/login")
async def submit(here: Here, request: Request) -> Response:
    """The token from the form."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            raise Problem(413, f"a log-in form has at most {_LONGEST_FORM} bytes")
    fields = parse_qs(body.decode("utf-8", "replace"))
    return _enter(here, request, fields.get("token", [""])[0], _after(request.query_params.get("next", "/")))


@router.post("/logout")
async def logout() -> Response:
    """Forget this browser's session."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _after(wanted: str) -> str:
    return wanted if wanted in _AFTER_LOGIN else "/"


def _enter(here: Doors, request: Request, token: str, after: str) -> Response:
    if refusal := here.entrance.owner_enters(token, address_of(request), here.now()):
        return _form(_WRONG[refusal.status], refusal.status)
    answer = RedirectResponse(after, 303)
    answer.set_cookie(
        COOKIE,
        here.doorkeeper.session(here.now()),
        max_age=SESSION // SECOND,
        path="/",
        httponly=True,
        samesite="strict",
        secure=here.secure,
    )
    return answer


def _form(said: str, status: int) -> HTMLResponse:
    """The log-in page; `said` is a sentence of ours, never the caller's."""
    page = _LOGIN.replace("<!--said-->", f'<p class="wrong" role="alert">{said}</p>' if said else "")
    return HTMLResponse(page, status, headers={"Content-Security-Policy": _LOGIN_POLICY})
