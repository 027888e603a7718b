"""Who is it? Every request is given a Caller here, or refused with the reason; what a caller may do is api.access."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from starlette.requests import HTTPConnection

from api.auth import Doorkeeper, bearer
from api.directory import Directory
from api.failures import Failures
from api.metrics import REFUSED
from api.people import OWNER, Caller
from api.tokens import Fault, Token, public_id
from ingest.errors import Unavailable


class Reason(StrEnum):
    """Why a caller was not let in; also the label of the count."""

    NOTHING = "nothing"  #: neither token nor session
    UNKNOWN = "unknown"  #: no token of this installation
    EXPIRED = Fault.EXPIRED.value
    DISABLED = Fault.DISABLED.value
    REVOKED = Fault.REVOKED.value
    TOO_MANY = "too_many"  #: wrong tokens from one address
    UNCHECKED = "unchecked"  #: the database is away, and this token was never seen


class Refusal(NamedTuple):
    """What is answered instead."""

    reason: Reason
    status: int
    detail: str
    headers: dict[str, str]


for _reason in Reason:
    REFUSED.labels(_reason.value)

_INVALID = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
_UNKNOWN = "this is no token of this installation, or it was revoked: `emberwatch token list` shows which there are"
_NEW = "send `Authorization: Bearer TOKEN` with one from `emberwatch token create`"
_FAULTS = {
    Fault.EXPIRED: f"this token has run out; {_NEW}",
    Fault.DISABLED: "the person this token belongs to was disabled",
    Fault.REVOKED: f"this token was revoked; {_NEW}",
}


class Entrance:
    """Knows the owner's token and sessions without the database, and all other tokens by the directory."""

    def __init__(self, *, doorkeeper: Doorkeeper, directory: Directory, failures: Failures) -> None:
        self._doorkeeper, self._directory, self._failures = doorkeeper, directory, failures

    async def identify(self, request: HTTPConnection, now: int) -> Caller | Refusal:
        """Who sent this request. A bearer token counts alone, whatever the cookies say."""
        authorization = request.headers.get("authorization", "")
        found: Caller | Refusal
        if text := bearer(authorization):
            found = await self._by_token(text, address_of(request), now)
        elif self._doorkeeper.lets_in(authorization=authorization, cookies=request.headers.get("cookie", ""), now=now):
            found = OWNER
        else:
            detail = "a token is needed: send `Authorization: Bearer TOKEN`, or log in at /login"
            found = Refusal(Reason.NOTHING, 401, detail, {"WWW-Authenticate": "Bearer"})
        if isinstance(found, Refusal):
            REFUSED.labels(found.reason.value).inc()
        return found

    def owner_enters(self, text: str, address: str, now: int) -> Refusal | None:
        """Whether this is the owner's token; None when it is, else the reason why not."""
        return None if self._doorkeeper.knows(text) else self._wrong(address, now)

    def knows(self, text: str, right: str, now: int) -> bool:
        """Whether this is a token in force with this right, by what is in memory: no question to the database."""
        if self._doorkeeper.knows(text):
            return OWNER.may(right)
        token = self._directory.known(public_id(text) or "")
        if token is None or not token.is_made_of(text) or token.fault(now):
            return False
        self._directory.note(token, now)
        return token.caller().may(right)

    async def _by_token(self, text: str, address: str, now: int) -> Caller | Refusal:
        if self._doorkeeper.knows(text):
            return OWNER
        id = public_id(text)
        token = None if id is None else self._directory.known(id)
        if token is None and id is not None and not self._failures.wait(address, now):
            try:
                token = await self._directory.look_again(id)
            except Unavailable as error:
                return Refusal(Reason.UNCHECKED, 503, f"{error}; try again in a few seconds", {"Retry-After": "5"})
        if token is None or not token.is_made_of(text):
            return self._wrong(address, now)
        return self._by_known(token, now)

    def _by_known(self, token: Token, now: int) -> Caller | Refusal:
        if fault := token.fault(now):
            return Refusal(Reason(fault.value), 401, _FAULTS[fault], _INVALID)
        self._directory.note(token, now)
        return token.caller()

    def _wrong(self, address: str, now: int) -> Refusal:
        if wait := self._failures.wait(address, now):
            detail = f"too many wrong tokens from this address; try again in {wait} s"
            return Refusal(Reason.TOO_MANY, 429, detail, {"Retry-After": str(wait)})
        self._failures.note(address, now)
        return Refusal(Reason.UNKNOWN, 401, _UNKNOWN, _INVALID)


def address_of(request: HTTPConnection) -> str:
    """Where a request came from; a proxy on this machine is looked through by the server."""
    return request.client.host if request.client else ""
