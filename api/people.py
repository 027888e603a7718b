"""Who may do what: people by their role, programs by the scopes of their token. Pure.

A right is one word: `read`, `act`, `dispatch`, `hook`, `broker`, `admin`, or `push:` with the source it may push
for. `admin` includes all others. A token of a person has what both its scopes and the person's role allow.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Right(StrEnum):
    """What can be allowed."""

    READ = "read"  #: look at everything there is to see
    ACT = "act"  #: acknowledge, comment, close, reset …
    DISPATCH = "dispatch"  #: send teams, call in others
    HOOK = "hook"  #: ask for a broker whether a device may connect, publish, subscribe
    BROKER = "broker"  #: connect to a broker as one of our own roles
    ADMIN = "admin"  #: all of it


class Role(StrEnum):
    """What a person is here."""

    VIEWER = "viewer"  #: sees, touches nothing
    OPERATOR = "operator"  #: works on incidents
    DISPATCHER = "dispatcher"  #: also sends teams
    ADMINISTRATOR = "administrator"  #: everything


PUSH = "push:"  #: the right to push for one source is this and its name

ROLE_RIGHTS: dict[Role, frozenset[str]] = {
    Role.VIEWER: frozenset({Right.READ}),
    Role.OPERATOR: frozenset({Right.READ, Right.ACT}),
    Role.DISPATCHER: frozenset({Right.READ, Right.ACT, Right.DISPATCH}),
    Role.ADMINISTRATOR: frozenset({Right.ADMIN}),
}
_SCOPE_RIGHTS: dict[str, frozenset[str]] = {
    "read": frozenset({Right.READ}),
    "act": frozenset({Right.ACT, Right.DISPATCH}),
    "hook": frozenset({Right.HOOK}),
    "broker": frozenset({Right.BROKER}),
    "admin": frozenset({Right.ADMIN}),
}
SCOPES = (*_SCOPE_RIGHTS, f"{PUSH}SOURCE")  #: as a person writes them

#: The author that is no user and no token: whoever holds DATA_DIR/api.token.
OWNER_NAME = "owner"

_NAME = re.compile(r"\w[\w.@-]{0,63}")  # letters of any script; no colon, which sets a token apart among authors
_SOURCE = re.compile(r"[\w.-]{1,64}")


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person. No `centres`: not limited to any. Times are µs."""

    name: str
    role: Role
    centres: frozenset[str] = frozenset()
    created_at: int = 0
    disabled_at: int | None = None


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a request comes from and what it may do; `described` says so in a refusal."""

    author: str
    described: str
    rights: frozenset[str]
    centres: frozenset[str] = frozenset()

    def may(self, right: str) -> bool:
        return right in self.rights or Right.ADMIN in self.rights

    def works_for(self, centres: Iterable[str]) -> bool:
        """Whether any of the centres responsible for a place is one this caller works for."""
        return not self.centres or not self.centres.isdisjoint(centres)


OWNER = Caller(author=OWNER_NAME, described="the owner of this installation", rights=frozenset({Right.ADMIN}))


def user_caller(user: User, token: str, scopes: Iterable[str]) -> Caller:
    """A person who calls by a token of theirs."""
    described = f"{user.name} is {user.role}, here by token {token} with scope {_listed(scopes)}"
    rights = _both(ROLE_RIGHTS[user.role], rights_of(scopes))
    return Caller(author=user.name, described=described, rights=rights, centres=user.centres)


def program_caller(token: str, scopes: Iterable[str]) -> Caller:
    """A program with a token of its own. Its author can be no person's name."""
    described = f"token {token} has scope {_listed(scopes)}"
    return Caller(author=f"token:{token}", described=described, rights=rights_of(scopes))


def rights_of(scopes: Iterable[str]) -> frozenset[str]:
    """What these scopes allow; each push scope is the right it names."""
    return frozenset().union(*(_SCOPE_RIGHTS.get(scope, {scope}) for scope in scopes))


def vain_scopes(user: User, scopes: Iterable[str]) -> list[str]:
    """Scopes that give this person's token nothing, because the role does not have it."""
    return [scope for scope in scopes if not _both(ROLE_RIGHTS[user.role], rights_of([scope]))]


def who_may(right: str) -> str:
    """The roles and the scope that would do."""
    roles = [role for role, rights in ROLE_RIGHTS.items() if right in rights or Right.ADMIN in rights]
    scopes = [scope for scope, rights in _SCOPE_RIGHTS.items() if right in rights] or [right]
    return f"role {' or '.join(roles)}, or a token with scope {' or '.join(scopes)}"


def checked_scope(text: str) -> str:
    """The scope somebody wrote; ValueError when there is none like it."""
    source = text.removeprefix(PUSH)
    if text in _SCOPE_RIGHTS or (source != text and _SOURCE.fullmatch(source)):
        return text
    raise ValueError(f"{text!r} is no scope; there are {', '.join(SCOPES)}")


def checked_name(text: str) -> str:
    """A name for a person or token as it is kept; ValueError when it cannot be one."""
    text = unicodedata.normalize("NFC", text)
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name; use up to 64 letters, digits, and . _ @ - behind the first")
    if text.casefold() == OWNER_NAME:
        raise ValueError(f"{text!r} is whoever holds DATA_DIR/api.token; choose another name")
    return text


def _both(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    if Right.ADMIN in one:
        return other
    return one if Right.ADMIN in other else one & other


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"
