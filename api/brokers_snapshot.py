"""What lets devices connect while the database is away, also after a restart of ours: files in DATA_DIR, mode 0600.

They hold hashes of random secrets, never a secret; of the tokens only those that machines use.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import msgspec
import structlog

from api.people import PUSH, Right
from api.tokens import Token
from ingest.inventory import Device

DEVICES, TOKENS = "broker-devices.jsonl", "broker-tokens.json"
#: Devices encoded at once: encoding holds up every other thread, so it is done in small pieces.
PIECE = 2_000

_log = structlog.get_logger()
_DEVICES = msgspec.json.Decoder(Device)
_TOKENS = msgspec.json.Decoder(list[Token])


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: how many lines follow, so that a file cut short is noticed."""

    devices: int


def write_devices(path: Path, devices: Iterable[Device], count: int) -> None:
    """Put `count` devices into the file, whole or not at all."""
    _write(path, _pieces(devices, count))


def read_devices(path: Path) -> Iterator[Device]:
    """What was written. FileNotFoundError before the first time, ValueError for a file that is damaged."""
    with path.open("rb") as file:
        head = msgspec.json.decode(file.readline(), type=Head)
        read = 0
        for line in file:
            yield _DEVICES.decode(line)
            read += 1
    if read != head.devices:
        raise ValueError(f"{read} devices where {head.devices} were written")


def _pieces(devices: Iterable[Device], count: int) -> Iterator[bytes]:
    encoder, rest = msgspec.json.Encoder(), iter(devices)
    yield encoder.encode(Head(devices=count)) + b"\n"
    while piece := list(islice(rest, PIECE)):
        yield encoder.encode_lines(piece)


class MachineTokens:
    """Tokens of brokers, platforms and our own roles: what must go on while people can wait for the database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: list[Token] | None = None

    def read(self) -> dict[str, Token]:
        """Those known last; none before the first time, and of a file that is damaged."""
        try:
            return {token.id: token for token in _TOKENS.decode(self._path.read_bytes())}
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("the tokens kept for brokers cannot be read; the database is asked", error=str(error))
            return {}

    def write(self, tokens: Mapping[str, Token]) -> None:
        """Keep the machines' among these, when they are not the same as before."""
        machines = [
            msgspec.structs.replace(token, last_used_at=None) for token in tokens.values() if _is_machines(token)
        ]
        if machines != self._written:
            _write(self._path, [msgspec.json.encode(machines)])
            self._written = machines


def _is_machines(token: Token) -> bool:
    return any(right in (Right.HOOK, Right.BROKER) or right.startswith(PUSH) for right in token.caller().rights)


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
