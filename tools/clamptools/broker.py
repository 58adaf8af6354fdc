"""An embedded MQTT broker as a process of its own: `python -m clamptools.broker`.

Wraps amqtt for the demo and for tests without a broker of the system. It speaks MQTT 3.1.1 only,
keeps nothing on disk and listens on loopback. It prints one line with its address when it is
ready, and ends at SIGTERM, SIGINT, or when its standard input closes, so that it never outlives
the one who started it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig

HOST = "127.0.0.1"
READY = "mqtt 3.1.1 broker on"
_PLUGINS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the broker until it is told to end. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="clamptools.broker", allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True, help=f"TCP port on {HOST}")
    port = parser.parse_args(argv).port
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)
    asyncio.run(_serve(port))
    return 0


async def _serve(port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = ListenerConfig(bind=f"{HOST}:{port}")
    broker = Broker(BrokerConfig(listeners={"default": listener}, plugins=_PLUGINS))
    await broker.start()
    print(f"{READY} {HOST}:{port}", flush=True)
    loop.add_reader(sys.stdin.fileno(), _watch_stdin, stop)
    await stop.wait()
    loop.remove_reader(sys.stdin.fileno())
    await broker.shutdown()


def _watch_stdin(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1):
        stop.set()


if __name__ == "__main__":
    sys.exit(main())
