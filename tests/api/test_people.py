"""Roles, scopes, names, tokens, passwords and wrong tokens, without server or database."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import passwords
from api.access import may_push
from api.failures import ADDRESSES, BURST, REFILL, Failures
from api.people import (
    OWNER,
    Right,
    Role,
    User,
    checked_name,
    checked_scope,
    program_caller,
    user_caller,
    vain_scopes,
    who_may,
)
from api.problems import Problem
from api.tokens import Fault, Token, digest, issue, public_id, shown
from ingest.readings import SECOND

NOW = 1_772_352_000_000_000
WORDS = (*Right, "push:ctwing", "push:onenet")


def allowed(role: Role, *scopes: str) -> set[str]:
    """What a person of this role may do by a token with these scopes."""
    caller = user_caller(User(name="ada", role=role), "t", scopes)
    return {right for right in WORDS if caller.may(right)}


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        (Role.VIEWER, {"read"}),
        (Role.OPERATOR, {"read", "act"}),
        (Role.DISPATCHER, {"read", "act", "dispatch"}),
        (Role.ADMINISTRATOR, set(WORDS)),
    ],
)
def test_a_role_allows_this_and_no_more(role: Role, rights: set[str]) -> None:
    assert allowed(role, "admin") == rights


def test_a_token_of_a_person_does_what_both_role_and_scopes_allow() -> None:
    assert allowed(Role.VIEWER, "read", "act") == {"read"}
    assert allowed(Role.OPERATOR, "act") == {"act"}
    assert allowed(Role.DISPATCHER, "act") == {"act", "dispatch"}
    assert allowed(Role.ADMINISTRATOR, "read", "push:ctwing") == {"read", "push:ctwing"}
    assert allowed(Role.OPERATOR, "hook", "push:ctwing") == set()
    assert allowed(Role.ADMINISTRATOR) == set()


def test_a_program_does_what_its_scopes_say_and_pushes_for_its_source_alone() -> None:
    platform = program_caller("platform", ["push:ctwing"])
    assert platform.may("push:ctwing")
    assert not any(platform.may(right) for right in WORDS if right != "push:ctwing")
    assert program_caller("grafana", ["read"]).rights == {"read"}
    assert all(program_caller("script", ["admin"]).may(right) for right in WORDS)
    assert not any(program_caller("nothing", []).may(right) for right in WORDS)


def test_a_push_is_refused_for_another_source_and_the_refusal_names_the_scope() -> None:
    platform = program_caller("platform", ["push:ctwing"])
    asyncio.run(may_push(platform, "ctwing"))
    with pytest.raises(Problem, match="scope push:onenet; token platform has scope push:ctwing") as refusal:
        asyncio.run(may_push(platform, "onenet"))
    assert refusal.value.status == 403


def test_acts_of_programs_people_and_the_owner_bear_names_that_cannot_be_taken_for_one_another() -> None:
    assert user_caller(User(name="ada", role=Role.OPERATOR), "phone", ["act"]).author == "ada"
    assert program_caller("ada", ["act"]).author == "token:ada"
    assert OWNER.author == "owner"
    for taken in ("owner", "Owner", "token:ada"):
        with pytest.raises(ValueError):
            checked_name(taken)


def test_somebody_without_centres_works_everywhere_and_others_for_theirs_alone() -> None:
    bound = user_caller(User(name="ada", role=Role.OPERATOR, centres=frozenset({"c1", "c2"})), "t", ["act"])
    assert bound.works_for(["c0", "c2"])
    assert not bound.works_for(["c3"]) and not bound.works_for([])
    assert OWNER.works_for([]) and OWNER.works_for(["c9"])


def test_scopes_that_a_role_makes_useless_are_named() -> None:
    assert vain_scopes(User(name="ada", role=Role.VIEWER), ["read", "act", "hook", "push:x"]) == [
        "act",
        "hook",
        "push:x",
    ]
    assert vain_scopes(User(name="ada", role=Role.ADMINISTRATOR), ["read", "act", "hook", "push:x"]) == []


def test_a_refusal_names_every_role_and_scope_that_would_do() -> None:
    assert who_may("read") == "role viewer or operator or dispatcher or administrator, or a token with scope read"
    assert who_may("dispatch") == "role dispatcher or administrator, or a token with scope act"
    assert who_may("push:ctwing") == "role administrator, or a token with scope push:ctwing"


@pytest.mark.parametrize("name", ["ada", "李雷", "a.b-c_d@e", "x" * 64, "123"])
def test_names_are_letters_of_any_script(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", " ", "a b", "a:b", "a\n", "a/b", ".a", "-a", "x" * 65, "a\x00", "a'"])
def test_no_name_holds_what_a_log_or_a_shell_would_misread(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        checked_name(name)


@pytest.mark.parametrize(
    "text", ["", "Read", "push", "push:", "push:a b", "push:a/b", "push:*", "dispatch", "read,act"]
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no scope"):
        checked_scope(text)


# --- tokens


def test_a_token_shows_its_id_and_keeps_its_secret() -> None:
    issued = issue()
    assert public_id(issued.text) == issued.id and len(issued.id) == 8
    assert len(issued.text) == 3 + 8 + 1 + 43
    assert digest(issued.text) == hashlib.sha256(issued.text.encode()).digest()
    assert shown(issued.id) in f"{issued.text[:12]}…" and len(shown(issued.id)) == 13
    assert len({issue().text for _ in range(50)}) == 50


def test_only_the_whole_token_is_the_token() -> None:
    issued, other = issue(), issue()
    token = Token(id=issued.id, name="t", digest=digest(issued.text), scopes=("read",))
    assert token.is_made_of(issued.text)
    for wrong in (other.text, issued.text[:-1], issued.text + "0", issued.text.swapcase(), "", issued.id):
        assert not token.is_made_of(wrong)


@given(st.text())
def test_any_other_text_is_no_token(text: str) -> None:
    assert public_id(text) is None and public_id(f"ew_{text}") is None


def test_a_token_opens_until_it_runs_out_is_revoked_or_its_person_is_disabled() -> None:
    def fault(
        expires_at: int | None = None, revoked_at: int | None = None, disabled_at: int | None = None
    ) -> Fault | None:
        user = User(name="ada", role=Role.VIEWER, disabled_at=disabled_at)
        kept = Token(
            id="12345678", name="t", digest=b"", scopes=(), user=user, expires_at=expires_at, revoked_at=revoked_at
        )
        return kept.fault(NOW)

    assert fault() is None and fault(expires_at=NOW + 1) is None
    assert fault(expires_at=NOW) is Fault.EXPIRED
    assert fault(revoked_at=1) is Fault.REVOKED
    assert fault(disabled_at=1) is Fault.DISABLED


# --- passwords


def test_a_password_is_kept_as_argon2id_with_a_salt_of_its_own() -> None:
    kept, again = passwords.hashed("correct horse battery"), passwords.hashed("correct horse battery")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$") and kept != again
    assert passwords.verify(kept, "correct horse battery")
    for wrong in ("correct horse batterY", "", "correct horse battery ", "x" * 100_000, "\ud800" * 20):
        assert not passwords.verify(kept, wrong)


def test_full_width_digits_of_a_chinese_keyboard_are_the_same_password() -> None:
    assert passwords.verify(passwords.hashed("消防中心密码消防车１２３４"), "消防中心密码消防车1234")


def test_nobody_and_a_broken_hash_let_no_password_in() -> None:
    assert not passwords.verify(None, "correct horse battery")
    assert not passwords.verify("not a hash", "correct horse battery")


@pytest.mark.parametrize(
    "bad", ["", "short", "elevenchars", "aaaaaaaaaaaaaaaa", "x1y2z3" * 50, "tab\tin the middle", "\ud800" * 20]
)
def test_a_bad_password_is_refused_with_a_reason(bad: str) -> None:
    with pytest.raises(ValueError, match="a password has"):
        passwords.hashed(bad)


def test_a_made_up_password_is_a_good_one() -> None:
    assert len({passwords.made_up() for _ in range(50)}) == 50
    assert passwords.LEAST < len(passwords.made_up()) < 30


# --- wrong tokens


def test_an_address_may_be_wrong_so_often_and_then_once_in_a_while() -> None:
    failures = Failures()
    for _ in range(BURST):
        assert failures.wait("10.0.0.1", NOW) == 0
        failures.note("10.0.0.1", NOW)
    assert failures.wait("10.0.0.1", NOW) == REFILL // SECOND
    assert failures.wait("10.0.0.2", NOW) == 0
    assert failures.wait("10.0.0.1", NOW + REFILL - 1) == 1
    assert failures.wait("10.0.0.1", NOW + REFILL) == 0
    failures.note("10.0.0.1", NOW + REFILL)
    assert failures.wait("10.0.0.1", NOW + REFILL) > 0


def test_a_flood_does_not_add_up_and_a_clock_set_back_keeps_nobody_out() -> None:
    failures = Failures()
    for _ in range(1000):
        failures.note("10.0.0.1", NOW)
    assert failures.wait("10.0.0.1", NOW + REFILL) == 0
    assert failures.wait("10.0.0.1", NOW - 1000 * REFILL) == 0


def test_addresses_of_one_ipv6_network_count_together() -> None:
    failures = Failures()
    for host in range(BURST):
        failures.note(f"2001:db8:1:2::{host:x}", NOW)
    assert failures.wait("2001:db8:1:2:ffff::1", NOW) > 0
    assert failures.wait("2001:db8:1:3::1", NOW) == 0
    for _ in range(BURST):
        failures.note("::ffff:10.0.0.1", NOW)
    assert failures.wait("10.0.0.1", NOW) > 0 and failures.wait("::ffff:10.0.0.2", NOW) == 0


def test_memory_of_wrong_tokens_is_bounded_and_keeps_the_newest() -> None:
    failures = Failures()
    for number in range(ADDRESSES + 500):
        failures.note(f"host-{number}", NOW)
    assert len(failures) == ADDRESSES
