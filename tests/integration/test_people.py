"""Users and tokens over a real PostgreSQL: the commands that make them, and what they open."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from api import cli, passwords
from api.failures import BURST
from tests.support.database import fresh_database
from tests.support.http import TOKEN, Served, clock, served
from tests.support.program import as_url
from tests.support.rows import Rows

pytestmark = pytest.mark.integration

DAY = 86_400_000_000
MADE = re.compile(r"ew_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}\n")


class Said:
    """What a command answered."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Emberwatch = Callable[..., Said]


@pytest.fixture
def emberwatch(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Emberwatch:
    """The command line over this database, without a process of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBERWATCH_DATABASE_URL", as_url(database))
    monkeypatch.setenv("EMBERWATCH_DATA_DIR", str(tmp_path / "data"))

    def call(*words: str, code: int = 0) -> Said:
        capsys.readouterr()
        try:
            got = cli.main(words)
        except SystemExit as end:
            got = int(str(end.code))
        said = capsys.readouterr()
        assert got == code, said
        assert not code or (said.err.count("\n") == 1 and "Traceback" not in said.err), said
        return Said(got, said.out, said.err)

    return call


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.strip()}"}


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


# --- commands


def test_people_are_added_listed_disabled_and_enabled(emberwatch: Emberwatch, rows: Rows, tmp_path: Path) -> None:
    rows.insert("centres", id="c1")
    (tmp_path / "password").write_text("correct horse battery\n", encoding="utf-8")
    added = emberwatch("user", "add", "李雷", "--role", "operator", "--centre", "c1", "--password-file", "password")
    assert added.out == "" and "operator, c1" in added.err
    generated = emberwatch("user", "add", "ada", "--role", "administrator").out
    assert re.fullmatch(r"(\w{5}-){3}\w{5}\n", generated)
    for (kept,) in rows.execute("SELECT password FROM users"):
        assert kept.startswith("$argon2id$") and "horse" not in kept and generated.strip() not in kept
    listed = emberwatch("user", "list").out.splitlines()
    assert len(listed) == 3 and "ada" in listed[1] and "everywhere" in listed[1] and "李雷" in listed[2]
    assert emberwatch("user", "disable", "ada").out == "disabled ada\n"
    assert emberwatch("user", "disable", "ADA").out == "ada was disabled already\n"
    assert "disabled" in emberwatch("user", "list").out.splitlines()[1]
    assert emberwatch("user", "enable", "ada").out == "enabled ada\n"


def test_on_a_terminal_the_password_is_asked_for_twice(
    emberwatch: Emberwatch, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("api.commands.people.getpass", lambda prompt: typed.pop(0))
    typed[:] = ["correct horse battery", "correct horse batterY"]
    assert "different" in emberwatch("user", "add", "ada", "--role", "viewer", code=1).err
    typed[:] = ["correct horse battery", "correct horse battery"]
    assert emberwatch("user", "add", "ada", "--role", "viewer").out == ""
    ((kept,),) = rows.execute("SELECT password FROM users")
    assert passwords.verify(kept, "correct horse battery")
    typed[:] = [""]
    assert emberwatch("user", "add", "bob", "--role", "viewer").out.count("-") == 3


def test_mistakes_with_people_are_one_line_and_change_nothing(
    emberwatch: Emberwatch, rows: Rows, tmp_path: Path
) -> None:
    (tmp_path / "short").write_text("short\n", encoding="utf-8")
    assert "12 to 256" in emberwatch("user", "add", "a", "--role", "viewer", "--password-file", "short", code=1).err
    assert "no such file" in emberwatch("user", "add", "a", "--role", "viewer", "--password-file", "no", code=1).err
    assert "no centre c9" in emberwatch("user", "add", "a", "--role", "viewer", "--centre", "c9", code=1).err
    assert "'king'" in emberwatch("user", "add", "a", "--role", "king", code=2).err
    assert "api.token" in emberwatch("user", "add", "owner", "--role", "viewer", code=2).err
    assert "no user a;" in emberwatch("user", "disable", "a", code=1).err
    assert rows.execute("SELECT count(*) FROM users") == [(0,)]
    emberwatch("user", "add", "Ada", "--role", "viewer")
    assert "already" in emberwatch("user", "add", "ada", "--role", "viewer", code=1).err


def test_a_token_is_printed_once_listed_by_its_prefix_and_revoked_by_name_or_id(
    emberwatch: Emberwatch, rows: Rows
) -> None:
    made = emberwatch("token", "create", "grafana", "--scope", "read", "--expires", "90d")
    assert MADE.fullmatch(made.out) and "read" in made.err and made.out.strip() not in made.err
    second = emberwatch("token", "create", "platform", "--scope", "push:ctwing", "--scope", "hook").out
    assert made.out.strip()[12:] not in str(rows.execute("SELECT tokens::text FROM tokens"))
    listed = emberwatch("token", "list").out
    assert f"{made.out[:12]}…" in listed and made.out.strip() not in listed and "hook,push:ctwing" in listed
    assert "already" in emberwatch("token", "create", "Grafana", "--scope", "read", code=1).err
    assert emberwatch("token", "revoke", "grafana").out == f"revoked {made.out[:12]}…\n"
    assert "no token grafana" in emberwatch("token", "revoke", "grafana", code=1).err
    assert emberwatch("token", "revoke", second[3:11]).out.startswith("revoked ew_")
    assert emberwatch("token", "list").out.count("revoked") == 2
    emberwatch("token", "create", "grafana", "--scope", "read")


def test_mistakes_with_tokens_are_one_line(emberwatch: Emberwatch) -> None:
    emberwatch("user", "add", "eve", "--role", "viewer")
    create = ("token", "create", "t")
    assert "viewer" in emberwatch(*create, "--scope", "act", "--user", "eve", code=1).err
    assert "no user bob" in emberwatch(*create, "--scope", "act", "--user", "bob", code=1).err
    assert "is no scope" in emberwatch(*create, "--scope", "write", code=2).err
    assert "is over" in emberwatch(*create, "--scope", "read", "--expires", "2020-01-01", code=2).err
    assert "90d" in emberwatch(*create, "--scope", "read", "--expires", "soon", code=2).err


# --- what they open


class People:
    """Makes users and tokens over one database."""

    def __init__(self, emberwatch: Emberwatch) -> None:
        self._emberwatch = emberwatch

    def user(self, name: str, role: str, *centres: str) -> None:
        self._emberwatch("user", "add", name, "--role", role, *(f"--centre={centre}" for centre in centres))

    def token(self, name: str, *scopes: str, user: str = "") -> dict[str, str]:
        words = ["token", "create", name, *(f"--scope={scope}" for scope in scopes)]
        return bearer(self._emberwatch(*words, *([f"--user={user}"] if user else [])).out)


@pytest.fixture
def people(emberwatch: Emberwatch) -> People:
    return People(emberwatch)


@pytest.fixture
def api(database: str) -> Iterator[Served]:
    with served(database) as running:
        yield running


def test_who_acts_is_whose_token_it_is(api: Served, people: People, rows: Rows) -> None:
    incident = rows.incident()
    people.user("ada", "operator")
    path = f"/api/v1/incidents/{incident}/acknowledge"
    for headers, author in (
        (people.token("phone", "read", "act", user="ada"), "ada"),
        (people.token("bot", "act"), "token:bot"),
        (bearer(TOKEN), "owner"),
    ):
        answer = httpx.post(f"{api.url}{path}", headers=headers)
        assert answer.status_code == 202 and answer.json()["author"] == author, answer.text
    assert {author for (author,) in rows.execute("SELECT author FROM acts")} == {"ada", "token:bot", "owner"}


def test_a_key_of_another_author_is_no_repeat(api: Served, people: People, rows: Rows) -> None:
    path = f"{api.url}/api/v1/incidents/{rows.incident()}/acknowledge"
    one, other = people.token("one", "act"), people.token("other", "act")
    first = httpx.post(path, headers=one | {"Idempotency-Key": "k"})
    assert httpx.post(path, headers=one | {"Idempotency-Key": "k"}).json()["id"] == first.json()["id"]
    assert "new key" in refused(httpx.post(path, headers=other | {"Idempotency-Key": "k"}), 422)


def test_what_role_or_scope_do_not_allow_is_403_and_says_what_would_do(api: Served, people: People, rows: Rows) -> None:
    people.user("eve", "viewer")
    incident = f"{api.url}/api/v1/incidents/{rows.incident()}"
    viewer, hook = people.token("eves", "read", user="eve"), people.token("broker", "hook")
    assert httpx.get(incident, headers=viewer).status_code == 200
    said = refused(httpx.post(f"{incident}/acknowledge", headers=viewer), 403)
    assert "operator" in said and "scope act" in said and "eve is viewer" in said
    answer = httpx.get(incident, headers=hook)
    assert "scope read" in refused(answer, 403)
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="read"'
    assert rows.execute("SELECT count(*) FROM acts") == [(0,)]


def test_people_of_a_centre_act_for_its_areas_and_those_below_alone(api: Served, people: People, rows: Rows) -> None:
    for area, parent in (("city", ""), ("east", "city"), ("grid", "east"), ("west", "city"), ("loop", "loop")):
        rows.insert("areas", id=area, parent=parent)
    for centre, area in (("c-city", "city"), ("c-east", "east"), ("c-west", "west")):
        rows.insert("centres", id=centre, parent=area)
    rows.site("shed-east", area="grid")
    rows.site("shed-west", area="west")
    rows.site("shed-lost", area="loop")
    sites = ("shed-east", "shed-west", "shed-lost", "shed-nowhere")
    incidents = {site: rows.incident(site) for site in sites}

    def acts(user: str, *centres: str) -> set[str]:
        people.user(user, "dispatcher", *centres)
        headers = people.token(f"of-{user}", "act", user=user)
        answers = {
            site: httpx.post(f"{api.url}/api/v1/incidents/{incident}/acknowledge", headers=headers)
            for site, incident in incidents.items()
        }
        for answer in answers.values():
            assert answer.status_code == 202 or "works for centre" in refused(answer, 403)
        return {site for site, answer in answers.items() if answer.status_code == 202}

    assert acts("ea", "c-east") == {"shed-east"}
    assert acts("ew", "c-east", "c-west") == {"shed-east", "shed-west"}
    assert acts("city", "c-city") == {"shed-east", "shed-west"}
    assert acts("all") == set(sites)
    alert = rows.alert(incidents["shed-west"], site="shed-west")
    headers = people.token("again", "act", user="ea")
    assert "c-west" in refused(httpx.post(f"{api.url}/api/v1/alerts/{alert}/reset", headers=headers), 403)


def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


def test_revoking_disabling_and_time_end_a_token_within_seconds(
    database: str, emberwatch: Emberwatch, people: People
) -> None:
    passed = [0]
    with served(database, now=lambda: clock() + passed[0]) as api:
        people.user("ada", "viewer")
        revoked, disabled = people.token("a", "read"), people.token("b", "read", user="ada")
        expiring = bearer(emberwatch("token", "create", "c", "--scope", "read", "--expires", "2d").out)

        def get(headers: dict[str, str]) -> httpx.Response:
            return httpx.get(f"{api.url}/api/v1/sites", headers=headers)

        assert [get(headers).status_code for headers in (revoked, disabled, expiring)] == [200, 200, 200]
        emberwatch("token", "revoke", "a")
        emberwatch("user", "disable", "ada")
        eventually(lambda: get(revoked).status_code == 401)
        eventually(lambda: get(disabled).status_code == 401)
        assert "disabled" in refused(get(disabled), 401)
        assert get(expiring).status_code == 200
        passed[0] = 2 * DAY
        assert "run out" in refused(get(expiring), 401)
    assert re.search(r"c .* read .*Z .*Z", emberwatch("token", "list").out), "the last use is kept"


def test_wrong_tokens_are_held_back_by_address_but_never_a_good_one(api: Served, people: People) -> None:
    good, fresh = people.token("good", "read"), "ew_00000000_" + "x" * 43
    url = f"{api.url}/api/v1/sites"
    assert httpx.get(url, headers=good).status_code == 200
    with httpx.Client() as client:
        for _ in range(BURST):
            refused(client.get(url, headers=bearer(fresh)), 401)
        answer = client.get(url, headers=bearer("nonsense"))
        assert "too many" in refused(answer, 429) and int(answer.headers["retry-after"]) <= 6
        assert client.post(f"{api.url}/login", data={"token": "guess"}).status_code == 429
        for header in (good, bearer(TOKEN)):
            assert client.get(url, headers=header).status_code == 200
        assert client.post(f"{api.url}/login", data={"token": TOKEN}).status_code == 303
    assert 'emberwatch_api_refused_total{reason="too_many"}' in httpx.get(f"{api.url}/metrics").text


def test_while_the_database_is_away_known_tokens_and_the_owner_are_still_known(
    postgres: str, people_of: Callable[[str], People]
) -> None:
    with fresh_database(postgres) as database, served(database) as api:
        token = people_of(database).token("known", "read")
        assert httpx.get(f"{api.url}/api/v1/teams", headers=token).status_code == 200
        rename(postgres, database)
        try:
            for headers in (token, bearer(TOKEN)):
                assert httpx.get(f"{api.url}/api/v1/teams", headers=headers, timeout=20).status_code == 200
            never_seen = bearer("ew_00000000_" + "x" * 43)
            answer = httpx.get(f"{api.url}/api/v1/teams", headers=never_seen, timeout=20)
            assert "cannot be checked" in refused(answer, 503) and answer.headers["retry-after"]
        finally:
            rename(postgres, database, back=True)


def rename(postgres: str, database: str, *, back: bool = False) -> None:
    """Take a database away from its users, or give it back."""
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    names = (f"{name}_away", name) if back else (name, f"{name}_away")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (names[0],))
        connection.execute(f"ALTER DATABASE {names[0]} RENAME TO {names[1]}".encode())


@pytest.fixture
def people_of(emberwatch: Emberwatch, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], People]:
    """The same over another database."""

    def other(database: str) -> People:
        monkeypatch.setenv("EMBERWATCH_DATABASE_URL", as_url(database))
        return People(emberwatch)

    return other


def test_nothing_under_the_api_is_open_to_a_caller_without_the_right(api: Served, people: People) -> None:
    nothing = people.token("broker", "hook")
    asked = 0
    with httpx.Client(base_url=api.url, headers=nothing) as client:
        for path, methods in client.get("/openapi.json").json()["paths"].items():
            # who pushes proves itself in ways of its own: tests/integration/test_push.py
            for method in methods if path.startswith("/api/") and "/push/" not in path else ():
                right = "act" if method == "post" else "read"
                answer = client.request(method, re.sub(r"{\w+}", str(uuid.uuid4()), path))
                assert f"scope {right}" in refused(answer, 403), path
                asked += 1
    assert asked > 15


def test_unknown_incidents_are_404_before_anybody_asks_for_a_centre(api: Served, people: People) -> None:
    headers: dict[str, Any] = people.token("t", "act")
    refused(httpx.post(f"{api.url}/api/v1/incidents/{uuid.uuid4()}/acknowledge", headers=headers), 404)
