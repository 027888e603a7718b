"""A real broker that asks us by HTTP: amqtt, asking as its own HTTP plugins and mosquitto-go-auth do.

Theirs need aiohttp and SQLAlchemy, which nothing else here does. As a process:
python -m tests.support.asking_broker PORT http://x:TOKEN@HOST:PORT
"""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from tests.support.ports import free_port
from tests.support.program import ROOT

_ACCESS = {Action.RECEIVE: 1, Action.PUBLISH: 2, Action.SUBSCRIBE: 4}


@dataclass
class Url:
    """Where to ask; user and password in it become HTTP Basic, as they do in Go, Erlang and aiohttp."""

    url: str = ""


async def _asked(url: str, question: dict[str, Any]) -> bool:
    async with httpx.AsyncClient(timeout=5) as client:
        return (await client.post(url, json=question)).is_success


class AskWho(BaseAuthPlugin):
    """May it connect?"""

    Config = Url  # type: ignore[assignment]

    async def authenticate(self, *, session: Session) -> bool:
        question = {"username": session.username, "password": session.password, "client_id": session.client_id}
        return await _asked(f"{self.config.url}/api/v1/broker/go-auth/authenticate", question)


class AskWhat(BaseTopicPlugin):
    """May it publish, subscribe, be sent this?"""

    Config = Url  # type: ignore[assignment]

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        assert session is not None and action is not None
        question = {
            "username": session.username,
            "client_id": session.client_id,
            "topic": topic,
            "acc": _ACCESS[action],
        }
        return await _asked(f"{self.config.url}/api/v1/broker/go-auth/authorize", question)


async def serve(port: int, url: str) -> None:
    """Serve on the loopback until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    plugins = {f"tests.support.asking_broker.{name}": {"url": url} for name in ("AskWho", "AskWhat")}
    listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}
    broker = Broker({"listeners": listeners, "plugins": plugins})
    await broker.start()
    print("serving", flush=True)
    await stop.wait()
    await broker.shutdown()


@contextmanager
def asking_broker(api: str, token: str) -> Iterator[str]:
    """Address of a broker that asks this API with this token."""
    port, url = free_port(), api.replace("http://", f"http://broker:{token}@")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.asking_broker", str(port), url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        if process.stdout.readline() != b"serving\n":
            process.kill()
            raise AssertionError(f"the broker did not start: {process.stderr.read().decode()[-2000:]}")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=20)


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
