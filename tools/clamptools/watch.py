"""Shows the devices of a running gateway, live, as MQTT tells of them.

A terminal gets a table that is redrawn; a pipe gets plain lines every 5 s. Ends with Ctrl-C, or
after --for seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time

import aiomqtt

from clamptools.errors import UserError
from clamptools.livetable import LiveTable
from clamptools.liveview import View

EXAMPLE = "clampwork watch --host 192.168.1.20"

RETRY_S = 1.0
PERIOD_S = 0.5
CONNECT_TIMEOUT_S = 5.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="MQTT broker (default %(default)s)")
    parser.add_argument("--port", type=int, default=1883, help="its port (default %(default)s)")
    parser.add_argument(
        "--root", default="clampwork", help="first part of the topics (%(default)s)"
    )
    parser.add_argument(
        "--for", type=float, dest="seconds", metavar="SECONDS", help="end after so long"
    )


def run(args: argparse.Namespace) -> int:
    """Raises UserError if the broker cannot be reached at the start."""
    return asyncio.run(_watch(args.host, args.port, args.root, args.seconds))


async def _watch(host: str, port: int, root: str, seconds: float | None) -> int:
    view = View(root)
    table = LiveTable(sys.stdout, f"{root} at {host}:{port}", "connecting")
    listening = asyncio.create_task(_listen(host, port, view, table))
    with table:
        try:
            async with asyncio.timeout(seconds):
                while not listening.done():
                    table.show(view.rows(time.time() * 1000))
                    await asyncio.wait([listening], timeout=PERIOD_S)
                await listening
        except TimeoutError:
            table.show(view.rows(time.time() * 1000), last=True)
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, UserError):
                await listening
    return 0


async def _listen(host: str, port: int, view: View, table: LiveTable) -> None:
    """Feeds the view for ever; reconnects. Raises UserError if the first connection fails."""
    connected_once = False
    while True:
        try:
            async with aiomqtt.Client(
                host,
                port,
                # Every broker speaks it, and a watcher needs nothing of MQTT 5.
                protocol=aiomqtt.ProtocolVersion.V311,
                timeout=CONNECT_TIMEOUT_S,
            ) as client:
                connected_once = True
                table.caption = "Ctrl-C ends"
                await client.subscribe(f"{view.root}/#", qos=1)
                async for message in client.messages:
                    view.took(message.topic.value, _payload(message.payload))
        except aiomqtt.MqttError as error:
            if not connected_once:
                raise UserError(
                    f"no MQTT broker at {host}:{port}: {error}; name one with --host and --port"
                ) from error
            table.caption = f"broker lost: {error}; trying again"
            await asyncio.sleep(RETRY_S)


def _payload(payload: object) -> bytes:
    return bytes(payload) if isinstance(payload, bytes | bytearray) else b""
