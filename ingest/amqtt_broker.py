"""The demo broker where mosquitto is not installed: python -m ingest.amqtt_broker PORT, ended by SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from amqtt.broker import Broker
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session


class AdmitAll(BaseAuthPlugin):
    """Everybody on the loopback may come in, and is no stranger: amqtt queues nothing for anonymous clients."""

    async def authenticate(self, *, session: Session) -> bool:
        session.is_anonymous = False
        return True


async def serve(port: int) -> None:
    """Serve on the loopback until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"ingest.amqtt_broker.AdmitAll": {}},
        }
    )
    await broker.start()
    await stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)  # it logs every connection without a CONNECT as an error
    asyncio.run(serve(int(sys.argv[1])))
