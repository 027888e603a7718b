"""Why a broker cannot be reached, in words for the person who can change it. Pure."""

from __future__ import annotations

import ssl

import msgspec

from ingest.errors import OperatorError
from ingest.mqtt import BrokerAddress


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen, and what to change."""

    seen: str
    change: str = ""

    def __str__(self) -> str:
        return f"{self.seen}; {self.change}" if self.change else self.seen


_OURS = "our client certificate (cert= in MQTT_URL)"
#: A piece of OpenSSL's name for what the broker said of our certificate, what it means, what to change.
_ALERTS = (
    ("CERTIFICATE_EXPIRED", f"the broker refuses {_OURS}: it has expired", "renew it"),
    ("CERTIFICATE_REVOKED", f"the broker refuses {_OURS}: it is revoked", "have another signed"),
    ("UNKNOWN_CA", f"the broker does not know who signed {_OURS}", "have it signed by the authority in its cafile"),
    ("CERTIFICATE_REQUIRED", "the broker asks for a client certificate", "give cert= and key= in MQTT_URL"),
    ("BAD_CERTIFICATE", f"the broker refuses {_OURS}", "have it signed by the authority in its cafile"),
    ("CERTIFICATE_UNKNOWN", f"the broker refuses {_OURS}", "have it signed by the authority in its cafile"),
    ("HANDSHAKE_FAILURE", "the broker and we do not agree on TLS", "if it asks for a client certificate, give cert="),
    ("WRONG_VERSION_NUMBER", "no TLS is spoken there", "take the port of its TLS listener, or mqtt://"),
)


def trouble(error: Exception, address: BrokerAddress) -> Trouble:
    """What an error of connecting or reading means."""
    if isinstance(error, OperatorError):
        return Trouble(seen=str(error))
    if isinstance(error, ssl.SSLCertVerificationError):
        return Trouble(
            seen=f"TLS with {address} failed: {error.verify_message or 'its certificate is not trusted'}",
            change="ca= in MQTT_URL must name the authority that signed the certificate of this very host name",
        )
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    for piece, seen, change in _ALERTS:
        if piece in reason:
            return Trouble(seen=f"TLS with {address} failed: {seen}", change=change)
    if address.tls and isinstance(error, ssl.SSLError | ConnectionResetError | BrokenPipeError):
        return Trouble(
            seen=f"TLS with {address} failed: {reason.replace('_', ' ').lower() or 'the broker closed the connection'}",
            change=f"its log may say why: it may want a client certificate, or refuse {_OURS}",
        )
    what = getattr(error, "strerror", "") or str(error) or "timed out"
    return Trouble(
        seen=f"no broker answers at {address}: {what.lower()}", change="start it, or set EMBERWATCH_MQTT_URL"
    )
