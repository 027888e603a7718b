"""API tokens: `ew_<public id>_<secret>`. Pure but for the random numbers of a new one.

The secret has 256 random bits, so a plain SHA-256 of the whole token is kept: nobody finds it by trying, and a slow
hash would only make every request slow.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from enum import StrEnum
from typing import NamedTuple

import msgspec

from api.people import Caller, User, program_caller, user_caller

_LETTERS = string.digits + string.ascii_letters
_ID, _SECRET = 8, 43  #: 62**43 > 2**256
_FORM = re.compile(rf"ew_([0-9A-Za-z]{{{_ID}}})_[0-9A-Za-z]{{{_SECRET},128}}")


class Fault(StrEnum):
    """Why a token that is known opens nothing."""

    EXPIRED = "expired"
    DISABLED = "disabled"  #: its person is
    REVOKED = "revoked"


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a token. Without `user` it is a program's own. Times are µs."""

    id: str
    name: str
    digest: bytes
    scopes: tuple[str, ...]
    user: User | None = None
    created_at: int = 0
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None

    def is_made_of(self, text: str) -> bool:
        """Whether this is the token, compared in constant time."""
        return hmac.compare_digest(digest(text), self.digest)

    def fault(self, now: int) -> Fault | None:
        """Why it opens nothing at `now`, None when it does."""
        if self.revoked_at is not None:
            return Fault.REVOKED
        if self.user is not None and self.user.disabled_at is not None:
            return Fault.DISABLED
        return Fault.EXPIRED if self.expires_at is not None and self.expires_at <= now else None

    def caller(self) -> Caller:
        if self.user is None:
            return program_caller(self.name, self.scopes)
        return user_caller(self.user, self.name, self.scopes)


class Issued(NamedTuple):
    """A token just made; `text` is shown once and never kept."""

    id: str
    text: str


def issue() -> Issued:
    id = _random(_ID)
    return Issued(id, f"ew_{id}_{_random(_SECRET)}")


def public_id(text: str) -> str | None:
    """The id in a token, None when the text is no token of ours."""
    match = _FORM.fullmatch(text)
    return match[1] if match else None


def digest(text: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(text.encode()).digest()


def shown(id: str) -> str:
    """As much of a token as a list may show."""
    return f"ew_{id}_…"


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
