"""Channel `webhook`: an HTTP POST, signed, that can be sent again without harm."""

from __future__ import annotations

import functools
import hashlib
import hmac
import ssl
import time
from email.utils import parsedate_to_datetime

import httpx

from alerts.channels.contract import Answer
from alerts.outbox import DeliveryOutcome
from alerts.teams import Channel
from ingest.readings import SECOND

CONNECT_TIMEOUT_S = 5.0
LONGEST_RETRY_AFTER_S = 60.0  #: a team's server may slow us down, it may not silence a fire
COME_AGAIN = frozenset({408, 425, 429})
_DRAIN_BYTES = 1 << 16
_DRAIN_S = 1.0

#: Raised before the first byte of a request has left: the other side surely has nothing.
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_IMPOSSIBLE = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError)


class WebhookSender:
    """Posts pages to one URL. Redirects are not followed and proxies of the environment not used."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        timeout = httpx.Timeout(channel.timeout_s, connect=min(CONNECT_TIMEOUT_S, channel.timeout_s))
        self._client = httpx.Client(timeout=timeout, verify=_tls(), trust_env=False, follow_redirects=False)

    def send(self, body: bytes, *, key: str, now: int) -> Answer:
        try:
            with self._client.stream("POST", self._channel.url, content=body, headers=self._headers(body, key)) as got:
                answer = _judge(got, now)
                _drain(got)
                return answer
        except _NOTHING_SENT as error:
            return Answer(outcome=DeliveryOutcome.RETRY, detail=f"nothing sent: {_said(error)}")
        except _IMPOSSIBLE as error:
            return Answer(outcome=DeliveryOutcome.REFUSED, detail=f"cannot be sent: {_said(error)}")
        except Exception as error:  # the contract: whatever happened, the page may have arrived
            return Answer(outcome=DeliveryOutcome.UNKNOWN, detail=f"no answer seen: {_said(error)}")

    def close(self) -> None:
        self._client.close()

    def _headers(self, body: bytes, key: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": key}
        if self._channel.secret:
            headers["X-Emberwatch-Signature"] = signature(self._channel.secret, body)
        return headers


def signature(secret: bytes, body: bytes) -> str:
    """The value of X-Emberwatch-Signature for this body."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def _judge(response: httpx.Response, now: int) -> Answer:
    status = response.status_code
    said = f"HTTP {status} {response.reason_phrase}".strip()
    if 200 <= status < 300:
        return Answer(outcome=DeliveryOutcome.ACCEPTED, detail=said)
    if status in COME_AGAIN or status >= 500:
        wait = retry_after(response.headers.get("Retry-After", ""), now)
        return Answer(outcome=DeliveryOutcome.RETRY, detail=said, retry_after_s=wait)
    if 300 <= status < 400:
        said += f" to {response.headers.get('Location', 'nowhere')}; redirects are not followed, correct the url"
    return Answer(outcome=DeliveryOutcome.REFUSED, detail=said)


def retry_after(header: str, now: int) -> float:
    """Seconds to wait by a Retry-After header (a number or a date), within 0 and 60; 0 when it says nothing."""
    try:
        wait = float(header) if header.strip().isdecimal() else parsedate_to_datetime(header).timestamp() - now / SECOND
    except (ValueError, OverflowError):
        return 0.0
    return min(max(wait, 0.0), LONGEST_RETRY_AFTER_S)


def _drain(response: httpx.Response) -> None:
    """Read a small answer to its end, so that the connection serves again; the status is already judged."""
    size, deadline = 0, time.monotonic() + _DRAIN_S
    try:
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > _DRAIN_BYTES or time.monotonic() > deadline:
                return
    except httpx.HTTPError:
        return


def _said(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()
