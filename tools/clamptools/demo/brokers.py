"""The broker of a demo: Debian's mosquitto with its default settings, or the embedded one.

Owns the command line, the configuration and what each can be made to suffer. Mosquitto is found,
not brought; without it the embedded broker serves, which speaks MQTT 3.1.1 only and keeps nothing
on disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

HOST = "127.0.0.1"
# Debian puts daemons where the PATH of an ordinary user does not look.
_SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
_ALL = "topic readwrite #\n"
# Ref: MQTT 5.0, 3.2.2.2, 0x88 "Server unavailable"; MQTT 3.1.1, 3.2.2.3, 0x03 the same.
_REFUSALS = {5: bytes((0x20, 3, 0, 0x88, 0)), 4: bytes((0x20, 2, 0, 3))}
_PROTOCOL_LEVEL_AT = 6
CONNECT_BYTES_MAX = 4096


def find_mosquitto() -> str | None:
    """Path of the installed broker; None without one."""
    return shutil.which("mosquitto", path=_SEARCH)


def as_ourselves() -> list[str]:
    """Lines of mosquitto.conf that keep it our user's.

    A root's broker would become a user who may not write to the folder, and with that lose the tie
    by which it ends with us.
    """
    return ["user root"] if os.geteuid() == 0 else []


class BrokerPlan:
    """How the broker is started. `mosquitto` is its path; None means the embedded one.

    As packages have it: sessions and queues are written at a SIGTERM and every half hour, so that
    a killed broker has lost what it acknowledged.
    """

    def __init__(self, folder: Path, port: int, mosquitto: str | None = None) -> None:
        self.port = port
        self.mosquitto = mosquitto
        self._acl = folder / "broker.acl"
        self._config = folder / "mosquitto.conf"
        if mosquitto is None:
            return
        lines = [
            f"listener {port} {HOST}",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {folder}/",
            f"acl_file {self._acl}",
            "log_dest stderr",
        ]
        self._config.write_text("\n".join([*lines, *as_ourselves(), ""]))
        self.allow()

    @property
    def text(self) -> str:
        """What it is, for the user."""
        return "mosquitto, MQTT 5" if self.mosquitto else "embedded, MQTT 3.1.1 only"

    def command(self) -> Sequence[str]:
        if self.mosquitto is None:
            return [sys.executable, "-m", "clamptools.broker", "--port", str(self.port)]
        return [self.mosquitto, "-c", str(self._config)]

    def deny(self, topic: str) -> None:
        """Nobody may publish or read the topic, once the broker reads its configuration again."""
        self._acl.write_text(f"topic deny {topic}\n{_ALL}")

    def allow(self) -> None:
        """Everybody may do everything."""
        self._acl.write_text(_ALL)


class Refuser:
    """Takes the place of a broker that is down and refuses every CONNECT. `refused` counts."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self.refused = 0

    async def start(self) -> None:
        """Listen. Raises OSError if the port is in use."""
        self._server = await asyncio.start_server(self._refuse, HOST, self._port)

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()  # not waiting for clients: one of them may be frozen
            self._server = None

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connect = await reader.read(CONNECT_BYTES_MAX)
            answer = refusal(connect)
            if answer:
                self.refused += 1
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass  # the client has gone before it heard us
        finally:
            writer.close()


def refusal(connect: bytes) -> bytes:
    """The CONNACK that refuses a CONNECT, in its own version; empty for anything else."""
    at = 1
    while at < len(connect) and connect[at] & 0x80:
        at += 1  # the rest of the packet's length
    at += 1 + _PROTOCOL_LEVEL_AT
    if len(connect) <= at or connect[0] != 0x10:
        return b""
    return _REFUSALS.get(connect[at], _REFUSALS[4])
