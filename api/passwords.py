"""Passwords of people: argon2id as RFC 9106 advises where memory is short (64 MiB, 3 passes)."""

from __future__ import annotations

import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

LEAST, MOST = 12, 256  #: characters
_HASHER = PasswordHasher()
_READABLE = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 letters without those taken for one another
_MADE_UP = 20  #: 100 bits


def hashed(password: str) -> str:
    """What is kept of it; takes about a tenth of a second. ValueError when it would be a bad password."""
    password = _usual(password)
    if not LEAST <= len(password) <= MOST:
        raise ValueError(f"a password has {LEAST} to {MOST} characters, this one {len(password)}")
    if len(set(password)) < 5:
        raise ValueError("a password has at least 5 different characters")
    if not password.isprintable():
        raise ValueError("a password has no control characters")
    return _HASHER.hash(password)


def verify(kept: str | None, password: str) -> bool:
    """Whether it is the password; None, for a person nobody knows, takes as long as any other."""
    try:
        _HASHER.verify(_nobody() if kept is None else kept, _usual(password)[: MOST + 1])
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
    return kept is not None


def made_up() -> str:
    """A good one, in groups that can be read aloud."""
    letters = [secrets.choice(_READABLE) for _ in range(_MADE_UP)]
    return "-".join("".join(letters[at : at + 5]) for at in range(0, _MADE_UP, 5))


def _usual(password: str) -> str:
    """One form for what keyboards send in several."""
    return unicodedata.normalize("NFKC", password)


_NOBODY: list[str] = []


def _nobody() -> str:
    """A hash that no password fits, made when first needed."""
    if not _NOBODY:
        _NOBODY.append(_HASHER.hash(secrets.token_hex(32)))
    return _NOBODY[0]
