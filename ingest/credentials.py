"""How a device shows a broker that it is itself: by a secret we made, or by a client certificate. Pure but for minting.

A secret has 256 random bits, so its plain SHA-256 is kept: nobody finds it by trying, and a slow hash would keep a
district waiting that reconnects.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NamedTuple

NONE = ""  #: it cannot connect where a broker asks us
CERTIFICATE = "cert"  #: it comes with a client certificate whose CN is SITE/DEVICE; no secret is accepted
HASHED = "sha256:"  #: and 64 hexadecimal digits

_FORM = re.compile(rf"{HASHED}[0-9a-f]{{64}}")


class Minted(NamedTuple):
    """A credential just made. `secret` is shown once and never kept."""

    secret: str
    credential: str


def mint() -> Minted:
    """A new secret, which is the device's MQTT password, and what the inventory keeps of it."""
    secret = secrets.token_urlsafe(32)
    return Minted(secret, f"{HASHED}{hashlib.sha256(secret.encode()).hexdigest()}")


def checked_credential(text: str) -> str:
    """A credential as the inventory keeps it; ValueError, without the text, when it is none: it may be a secret."""
    credential = text.lower() if text.lower().startswith(HASHED) else text
    if credential in (NONE, CERTIFICATE) or _FORM.fullmatch(credential):
        return credential
    raise ValueError(
        "credential is neither empty, nor cert, nor sha256: with 64 hexadecimal digits; leave it empty and run "
        "`emberwatch device secrets --out FILE.csv`"
    )


def secret_digest(credential: str) -> bytes | None:
    """The SHA-256 of the secret; None for a credential that is of another kind."""
    return bytes.fromhex(credential.removeprefix(HASHED)) if _FORM.fullmatch(credential) else None
