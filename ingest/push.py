"""Whether an HTTP push comes from the platform it says, and what the platform wants to hear. Pure.

What each platform offers:
- OneNET, classic and Studio: the signature base64(md5(token + nonce + msg)) in the body; before the first push a GET
  with msg, nonce and signature in the query, to be answered with msg. The signature covers what is decoded.
- Huawei IoTDA: the headers timestamp, nonce and signature = sha256 of token, timestamp and nonce, sorted and joined.
  It does not cover the body, so let the platform push over HTTPS only; an old timestamp is refused. What is not
  answered with 200 within 15 s it drops; after ten failures in a row it keeps a day of messages and comes again.
- oneM2M and CTWing sign nothing: there the secret is a token in the address the platform was given (?token=…) or in
  the header Authorization: Bearer. Every other codec is asked for the same. oneM2M wants its verification request
  (vrq) and every notification answered with a response status code. CTWing shows a client certificate where a proxy
  in front of us asks for one; it sends three times more what was not answered with 200, and after some failures in
  a row it pauses for a minute, whose messages are lost.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping

import msgspec

from ingest.readings import HOUR, SECOND, Micros

#: Of a signed timestamp against our clock. IoTDA keeps what it could not push for a day, and pushes it then.
FRESH = 25 * HOUR
_MILLISECONDS = 100_000_000_000  # numbers from here on


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The sender knows the secret. `body` is to be logged before the answer is given; None: there is nothing to log."""

    body: bytes | None
    answer: bytes = b""
    headers: dict[str, str] = {}


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Answer 401 and note the reason: what is missing or wrong, never what was expected."""

    reason: str


class _Push(msgspec.Struct, frozen=True, kw_only=True):
    secret: bytes
    headers: dict[str, str]
    query: Mapping[str, str]
    body: bytes
    now: Micros | None


def check(
    kind: str,
    *,
    secret: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    body: bytes,
    now: Micros | None = None,
) -> Accepted | Refused:
    """Judge one request to push/{source}; `kind` is the source's codec, `now` the time it came, where it is known.

    A GET is a request with an empty body. Never raises, whatever stands in it.
    """
    if not secret:
        return Refused(reason="no secret is set for this source, so nobody can prove to be the platform; set one")
    push = _Push(
        secret=secret.encode("utf-8", "surrogatepass"),
        headers={name.lower(): value for name, value in headers.items()},
        query=query,
        body=body,
        now=now,
    )
    return _CHECKS.get(kind, _token)(push)


def proven(kind: str, *, headers: Mapping[str, str], body: bytes) -> Accepted:
    """What to log and answer of a request whose sender has proved himself by an API token of ours."""
    if kind == "onem2m":
        return _notified({name.lower(): value for name, value in headers.items()}, body)
    return Accepted(body=body)


def _token(push: _Push) -> Accepted | Refused:
    scheme, _, bearer = push.headers.get("authorization", "").partition(" ")
    given = bearer.strip() if scheme.lower() == "bearer" else push.query.get("token", "")
    if not given:
        return Refused(reason="no token; give it in the address, ?token=…, or in the header Authorization: Bearer …")
    if not _same(given, push.secret):
        return Refused(reason="the token is not the one of this source")
    return Accepted(body=push.body)


def _huawei(push: _Push) -> Accepted | Refused:
    signature = push.headers.get("signature", "")
    if not signature:
        if "token" in push.query or "authorization" in push.headers:
            return _token(push)
        return Refused(reason="no header signature; set a token for the HTTP push in the platform's console")
    timestamp, nonce = push.headers.get("timestamp", ""), push.headers.get("nonce", "")
    if not timestamp or not nonce:
        return Refused(reason="a header signature without the headers timestamp and nonce")
    parts = sorted((push.secret, _bytes(timestamp), _bytes(nonce)))
    if not _same(signature.lower(), hashlib.sha256(b"".join(parts)).hexdigest().encode()):
        return Refused(reason="the header signature does not fit this source's token")
    if push.now is not None and not _fresh(timestamp, push.now):
        return Refused(reason="the signed timestamp is more than a day old, or in the future; check both clocks")
    return Accepted(body=push.body)


def _fresh(timestamp: str, now: Micros) -> bool:
    """Seconds or milliseconds since 1970 near enough to now; a form we do not know proves nothing against it."""
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 17):
        return True
    number = int(timestamp)
    return abs(now - number * (SECOND if number < _MILLISECONDS else 1000)) <= FRESH


def _onenet(push: _Push) -> Accepted | Refused:
    if not push.body:
        asked = _bytes(push.query.get("msg", ""))
        nonce, signature = _bytes(push.query.get("nonce", "")), push.query.get("signature", "")
        return _onenet_wrong(push.secret, nonce, asked, signature) or Accepted(body=None, answer=asked)
    try:
        parts = _decode_parts(push.body)
        if "enc_msg" in parts:
            return Refused(reason="the push is encrypted; choose plain text in the platform's console")
        nonce = _bytes(_text(parts.get("nonce")))
        signature = _text(parts.get("msg_signature")) or _text(parts.get("signature"))
        raw = bytes(parts.get("msg", b""))
        msg = _bytes(_text(msgspec.Raw(raw))) if raw.startswith(b'"') else raw
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refused(reason="the body is no push of OneNET; msg, nonce and msg_signature or signature would be right")
    return _onenet_wrong(push.secret, nonce, msg, signature) or Accepted(body=push.body)


def _onenet_wrong(secret: bytes, nonce: bytes, msg: bytes, signature: str) -> Refused | None:
    if not (msg and nonce and signature):
        return Refused(reason="no msg, nonce or signature; the platform signs every push and the check of the address")
    digest = hashlib.md5(secret + nonce + msg, usedforsecurity=False).digest()
    # a + that nobody escaped in the query arrives as a space
    if not _same(signature.replace(" ", "+"), base64.b64encode(digest)):
        return Refused(reason="the signature does not fit this source's token and the message")
    return None


def _onem2m(push: _Push) -> Accepted | Refused:
    told = _token(push)
    return told if isinstance(told, Refused) else _notified(push.headers, push.body)


def _notified(headers: Mapping[str, str], body: bytes) -> Accepted:
    request = headers.get("x-m2m-ri", "")
    answer = {"X-M2M-RSC": "2000"}
    if 0 < len(request) <= 200 and request.isascii() and request.isprintable():
        answer["X-M2M-RI"] = request
    return Accepted(body=None if _verification(body) else body, headers=answer)


def _verification(body: bytes) -> bool:
    try:
        notification = _decode_parts(body).get("m2m:sgn")
        return notification is not None and bytes(_decode_parts(bytes(notification)).get("vrq", b"")) == b"true"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


_CHECKS: dict[str, Callable[[_Push], Accepted | Refused]] = {
    "onenet": _onenet,
    "huawei-iotda": _huawei,
    "onem2m": _onem2m,
}
#: The values of an object as they stand in the body: OneNET signs its bytes, not its meaning.
_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def _text(raw: msgspec.Raw | None) -> str:
    return "" if raw is None else _decode_text(raw)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _same(given: str, expected: bytes) -> bool:
    return hmac.compare_digest(_bytes(given), expected)
