"""`emberwatch device …`: secrets that devices show brokers. A secret leaves us once, to the terminal or a new file."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from api.commands.store import connection
from ingest.credential_store import Connection, credential_of, set_credentials, without_credential
from ingest.credentials import CERTIFICATE, mint
from ingest.errors import OperatorError
from ingest.inventory_store import lock_inventory
from ingest.settings import load_settings


def device_secret(site: str, device: str, out: Path | None) -> int:
    """`emberwatch device secret`: a new one for this device, in place of what it had."""
    minted = mint()
    with connection(load_settings()) as opened:
        lock_inventory(opened)
        before = credential_of(opened, (site, device))
        if before is None:
            raise OperatorError(f"the inventory has no device {site}/{device}; import it first")
        set_credentials(opened, {(site, device): minted.credential})
        if out is not None:  # on disk before the hash is in the database
            with _new_file(out) as file:
                file.write(f"{minted.secret}\n")
    _say(f"{site}/{device}: this is its MQTT user name{_instead_of(before)}")
    if out is None:
        _say("the secret, which is its MQTT password, shown only here:")
        print(minted.secret)
    return 0


def device_secrets(out: Path) -> int:
    """`emberwatch device secrets`: one for every registered device that has no credential."""
    with connection(load_settings()) as opened:
        lock_inventory(opened)
        with _new_file(out) as file:
            count = _mint_all(opened, file)
    print(f"{out}: secrets of {count} devices; keep this file safe, they are nowhere else")
    return 0


def _mint_all(opened: Connection, file: TextIO) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("user", "secret"))
    count = 0
    for keys in without_credential(opened):
        minted = {key: mint() for key in keys}
        writer.writerows((f"{site}/{id}", new.secret) for (site, id), new in minted.items())
        set_credentials(opened, {key: new.credential for key, new in minted.items()})
        count += len(keys)
    return count


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A file only its owner can read, on disk at the end. One that exists is never written over: it may hold the only
    copy of other secrets."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise OperatorError(f"{path} exists already and may hold other secrets; name a new file") from None
    except OSError as error:
        raise OperatorError(
            f"{path}: {(error.strerror or str(error)).lower()}; name a file that can be written"
        ) from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _instead_of(before: str) -> str:
    if before == CERTIFICATE:
        return "; its client certificate is no longer accepted where a broker asks us"
    return "; the secret it had before is no longer accepted" if before else ""


def _say(text: str) -> None:
    print(text, file=sys.stderr)
