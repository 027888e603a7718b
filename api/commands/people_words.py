"""How `emberwatch user` and `emberwatch token` are called, and what their `--help` teaches."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from api.commands.wording import Group
from api.people import SCOPES, Role, checked_name, checked_scope
from ingest.readings import DAY, HOUR, from_datetime

T = TypeVar("T")

_SPAN = re.compile(r"([1-9]\d{0,4})([hd])")
_SPANS = {"h": HOUR, "d": DAY}


def add_people_commands(commands: Group) -> None:
    """`user` and `token`."""
    _user_commands(commands.group("user", "the people of this installation"))
    _token_commands(commands.group("token", "tokens for programs and people"))


def _user_commands(user: Group) -> None:
    adding = user.add(
        "add",
        "a new person",
        """Add a person. A viewer sees everything; an operator also works on incidents; a dispatcher also sends teams;
an administrator does everything. With --centre they act for the sites of these centres alone; what they see is not
limited yet. The password is read from a file, asked for on a terminal, else made up and printed once. People get in by
a token (`emberwatch token create --user NAME`) until the console asks for names and passwords.""",
        _user_add,
    )
    adding.add_argument("user", type=_said(checked_name), metavar="NAME")
    adding.add_argument("--role", required=True, choices=[role.value for role in Role], help="what they may do")
    adding.add_argument("--centre", action="append", default=[], metavar="C", help="only for this centre; repeatable")
    adding.add_argument("--password-file", type=Path, metavar="F", help="its first line is the password")
    user.add("list", "everybody, with role and centres", "List everybody, with role and centres.", _user_list)
    for name, command, about in (
        ("disable", _user_disable, "Let this person and all tokens of theirs in no more. Takes effect within seconds."),
        ("enable", _user_enable, "Let a disabled person in again, and those tokens of theirs that were not revoked."),
    ):
        user.add(name, about.partition(".")[0].lower(), about, command).add_argument("user", metavar="NAME")


def _token_commands(token: Group) -> None:
    creating = token.add(
        "create",
        "a new token, printed once",
        f"""Make a token and print it on standard output, once: only its SHA-256 is kept. Scopes: {", ".join(SCOPES)}.
Without --user it is a program's own, and what it does bears the name token:NAME; with --user it is that person's, and
does no more than their role allows.""",
        _token_create,
    )
    creating.add_argument("token", type=_said(checked_name), metavar="NAME", help="what it is for, such as grafana")
    creating.add_argument(
        "--scope", required=True, action="append", type=_said(checked_scope), metavar="S", help="repeatable"
    )
    creating.add_argument("--user", metavar="NAME", help="whose token it is")
    creating.add_argument(
        "--expires", type=_said(moment), metavar="WHEN", help="such as 12h, 90d or 2027-01-31 (UTC); default: never"
    )
    token.add("list", "all tokens, never their secrets", "List all tokens; never their secrets.", _token_list)
    revoking = token.add(
        "revoke",
        "end a token for good",
        "End a token for good. Takes effect within seconds.",
        _token_revoke,
    )
    revoking.add_argument("token", metavar="NAME", help="its name or id (the eight characters behind ew_)")


def moment(text: str) -> int:
    """A time ahead (µs): a span from now, a day or an ISO 8601 time; ValueError when it is none."""
    now = time.time_ns() // 1000
    if match := _SPAN.fullmatch(text):
        return now + int(match[1]) * _SPANS[match[2]]
    try:
        stated = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; write 12h, 90d or 2027-01-31") from None
    at = from_datetime(stated if stated.tzinfo else stated.replace(tzinfo=UTC))
    if at <= now:
        raise ValueError(f"{text} is over; give a time to come")
    return at


def _said(convert: Callable[[str], T]) -> Callable[[str], T]:
    """The same for argparse, which shows only errors of its own kind."""

    def converted(text: str) -> T:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return converted


def _user_add(arguments: argparse.Namespace) -> int:
    from api.commands.people import user_add

    return user_add(arguments.user, Role(arguments.role), arguments.centre, arguments.password_file)


def _user_list(arguments: argparse.Namespace) -> int:
    from api.commands.people import user_list

    return user_list()


def _user_disable(arguments: argparse.Namespace) -> int:
    from api.commands.people import user_disable

    return user_disable(arguments.user, disabled=True)


def _user_enable(arguments: argparse.Namespace) -> int:
    from api.commands.people import user_disable

    return user_disable(arguments.user, disabled=False)


def _token_create(arguments: argparse.Namespace) -> int:
    from api.commands.people import token_create

    return token_create(arguments.token, arguments.scope, arguments.user, arguments.expires)


def _token_list(arguments: argparse.Namespace) -> int:
    from api.commands.people import token_list

    return token_list()


def _token_revoke(arguments: argparse.Namespace) -> int:
    from api.commands.people import token_revoke

    return token_revoke(arguments.token)
