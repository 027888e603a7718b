"""`emberwatch user …` and `emberwatch token …`. Secrets stand alone on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from getpass import getpass
from pathlib import Path

from api import people_store as store
from api.commands.store import connection
from api.passwords import hashed, made_up
from api.people import Role, User, vain_scopes
from api.tokens import Token, issue, shown
from ingest.errors import OperatorError
from ingest.readings import iso
from ingest.settings import load_settings


def user_add(name: str, role: Role, centres: Sequence[str], password_file: Path | None) -> int:
    """`emberwatch user add`."""
    settings = load_settings()
    password, generated = _password(password_file)
    try:
        kept = hashed(password)
    except ValueError as error:
        raise OperatorError(f"password of {name}: {error}") from None
    user = User(name=name, role=role, centres=frozenset(centres))
    with connection(settings) as opened:
        if unknown := store.unknown_centres(opened, centres):
            raise OperatorError(f"the inventory has no centre {', '.join(unknown)}; import it first")
        if not store.add_user(opened, user, kept):
            raise OperatorError(f"there is a user {name} already; see `emberwatch user list`")
    _say(f"added {name}: {role}, {_centres(user)}")
    if generated:
        _say("the password, shown only here:")
        print(password)
    return 0


def user_list() -> int:
    """`emberwatch user list`."""
    with connection(load_settings()) as opened:
        everybody = store.users(opened)
    rows = [
        (user.name, user.role.value, _centres(user), _time(user.created_at), "disabled" if user.disabled_at else "")
        for user in everybody
    ]
    _table(("NAME", "ROLE", "CENTRES", "ADDED", ""), rows)
    return 0


def user_disable(name: str, *, disabled: bool) -> int:
    """`emberwatch user disable` and `enable`."""
    word = "disabled" if disabled else "enabled"
    with connection(load_settings()) as opened:
        user = _user(opened, name)
        changed = store.disable_user(opened, user.name, disabled=disabled)
    print(f"{word} {user.name}" if changed else f"{user.name} was {word} already")
    return 0


def token_create(name: str, scopes: Sequence[str], user_name: str | None, expires_at: int | None) -> int:
    """`emberwatch token create`."""
    issued = issue()
    with connection(load_settings()) as opened:
        user = None if user_name is None else _user(opened, user_name)
        if user and (vain := vain_scopes(user, scopes)):
            raise OperatorError(f"{user.name} is {user.role}, whose token cannot have scope {', '.join(vain)}")
        token = Token(
            id=issued.id, name=name, digest=b"", scopes=tuple(sorted(set(scopes))), user=user, expires_at=expires_at
        )
        if not store.add_token(opened, issued, token):
            raise OperatorError(f"there is a token {name} already; revoke it first, or choose another name")
    whose = f"of {user.name}" if user else "of a program"
    _say(f"token {name} {whose}: {', '.join(token.scopes)}; {_until(token)}; shown only here:")
    print(issued.text)
    return 0


def token_list() -> int:
    """`emberwatch token list`."""
    with connection(load_settings()) as opened:
        every = store.tokens(opened)
    now = time.time_ns() // 1000
    rows = [
        (
            shown(token.id),
            token.name,
            token.user.name if token.user else "",
            ",".join(token.scopes),
            _time(token.expires_at),
            _time(token.last_used_at),
            token.fault(now) or "",
        )
        for token in every
    ]
    _table(("TOKEN", "NAME", "USER", "SCOPES", "EXPIRES", "LAST USED", ""), rows)
    return 0


def token_revoke(token: str) -> int:
    """`emberwatch token revoke`."""
    with connection(load_settings()) as opened:
        id = store.revoke_token(opened, token)
    if id is None:
        raise OperatorError(f"there is no token {token} in force; see `emberwatch token list`")
    print(f"revoked {shown(id)}")
    return 0


def _user(opened: store.Connection, name: str) -> User:
    user = store.find_user(opened, name)
    if user is None:
        raise OperatorError(f"there is no user {name}; see `emberwatch user list`")
    return user


def _password(file: Path | None) -> tuple[str, bool]:
    """The password, and whether it was made up here."""
    if file is not None:
        return _first_line(file), False
    if not sys.stdin.isatty():
        return made_up(), True
    password = getpass("Password (empty: one is made up): ")
    if not password:
        return made_up(), True
    if getpass("The same again: ") != password:
        raise OperatorError("these were two different passwords; nothing was changed")
    return password, False


def _first_line(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise OperatorError(f"{file}: {(error.strerror or str(error)).lower()}; name a readable text file") from None
    except UnicodeDecodeError:
        raise OperatorError(
            f"{file}: is not UTF-8 text; name a text file with the password in its first line"
        ) from None
    return lines[0] if lines else ""


def _centres(user: User) -> str:
    return ",".join(sorted(user.centres)) or "everywhere"


def _until(token: Token) -> str:
    return f"good until {_time(token.expires_at)}" if token.expires_at else "never runs out"


def _time(at: int | None) -> str:
    return "" if at is None else f"{iso(at)[:16]}Z"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
