"""Credentials of devices: what they may look like, and what is kept of a secret."""

from __future__ import annotations

import hashlib

import pytest

from ingest.credentials import CERTIFICATE, NONE, checked_credential, mint, secret_digest


def test_what_is_kept_of_a_new_secret_is_its_hash_and_no_two_are_alike() -> None:
    one, other = mint(), mint()
    assert one.secret != other.secret and len(one.secret) == 43
    assert secret_digest(one.credential) == hashlib.sha256(one.secret.encode()).digest()
    assert checked_credential(one.credential) == one.credential


@pytest.mark.parametrize("text", [NONE, CERTIFICATE])
def test_without_a_secret_there_is_no_digest(text: str) -> None:
    assert checked_credential(text) == text
    assert secret_digest(text) is None


@pytest.mark.parametrize("text", ["hunter2", "CERT", " cert", "sha256:", "sha256:" + "0" * 65, "0" * 64])
def test_anything_else_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="neither empty") as refused:
        checked_credential(text)
    assert "hunter2" not in str(refused.value)
    assert secret_digest(text) is None
