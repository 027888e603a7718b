"""The owner's way in: one token kept in a file, as a bearer header or exchanged for a signed session cookie. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac

from ingest.readings import HOUR, SECOND

COOKIE = "emberwatch_session"
SESSION = 12 * HOUR

#: What a caller may read without a token: probes and scrapers, which carry none.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/login"})
#: Platforms prove themselves each in its own way, which the routes below know.
PUSH_PATHS = "/api/v1/push/"


class Doorkeeper:
    """Knows the token and signs sessions with the installation's key; a new token ends every session."""

    def __init__(self, *, token: str, key: bytes) -> None:
        self._token = token.encode()
        self._key = hashlib.sha256(b"session\0" + key + b"\0" + self._token).digest()

    def knows(self, token: str) -> bool:
        """Whether this is the token, compared in constant time."""
        return hmac.compare_digest(token.strip().encode(), self._token)

    def session(self, now: int) -> str:
        """A cookie value that lets its bearer in until SESSION from `now` (µs)."""
        until = str((now + SESSION) // SECOND)
        return f"{until}.{self._sign(until)}"

    def lets_in(self, *, authorization: str, cookies: str, now: int) -> bool:
        """Whether these request headers carry the token or a session that has not run out."""
        if (given := bearer(authorization)) is not None:
            return self.knows(given)
        until, _, signature = _cookie(cookies).partition(".")
        signed = hmac.compare_digest(signature.encode(), self._sign(until).encode())
        return signed and int(until) * SECOND > now

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def bearer(authorization: str) -> str | None:
    """The token of an Authorization header, None when it has none.

    Bearer, or the password of Basic: some brokers can send nothing but what stands in a URL.
    """
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    return _password(given.strip()) if scheme.lower() == "basic" else None


def _password(given: str) -> str | None:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2] or None
    except ValueError:
        return None


def _cookie(header: str) -> str:
    """Our cookie's value. Split by hand: http.cookies drops all cookies when another program's is malformed."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def same_origin(origin: str, host: str) -> bool:
    """Whether a browser's Origin header names the host it was sent to; no Origin is no browser."""
    return not origin or origin.partition("://")[2] == host
