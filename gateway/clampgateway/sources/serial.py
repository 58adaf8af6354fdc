"""Devices on serial ports: USB, UART, and the ptys of simulated ones.

Owns which ports are wanted, opening them exclusively, trying again without end, and giving one
free for a while so that a flasher can have it. What runs over the port is `stream.py`.
"""

from __future__ import annotations

import asyncio
import errno
import glob
import logging
import os
import termios
from typing import Annotated

import serialx
from pydantic import AfterValidator, Field

from clampgateway.clocksync import Clocks
from clampgateway.committer import Committer
from clampgateway.config import Settings as BaseSettings
from clampgateway.config import Wrong
from clampgateway.link import Links
from clampgateway.stream import DeviceStream

_log = logging.getLogger(__name__)

SCAN_S = 0.5
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 2.0
ABSENT_MOST_S = 0.5
OPEN_TIMEOUT_S = 5.0
RELEASE_MOST_S = 3600.0
_SAID = {
    errno.ENOENT: "is not plugged in",
    errno.EACCES: "no permission: the gateway's user must be in the group that owns it (dialout)",
    errno.EBUSY: "another program uses it",
    errno.ENOTTY: "is not a serial port",
}


def _absolute(port: str) -> str:
    if not port.startswith("/"):
        raise Wrong(
            f"is {port!r}, must be an absolute path or a pattern of them",
            'for example "/dev/serial/by-id/*"',
        )
    return port


class Settings(BaseSettings):
    """[[serial]]: a port, or a pattern for several that may come and go."""

    port: Annotated[str, AfterValidator(_absolute)] = Field(
        description="Path of the port, or a pattern with * ? [ ]"
    )
    baud: Annotated[int, Field(ge=1200, le=4_000_000)] = 115_200


class Port:
    """One port, and how it fares. `state` is opening, open, waiting or released."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.state = "opening"
        self.opens = 0
        self.open_failures = 0
        self.disconnects = 0
        self.releases = 0
        self.retry_s = RETRY_FIRST_S
        self.error = ""
        self.stream: DeviceStream | None = None
        self.transport: serialx.BaseSerialTransport | None = None
        self.released_until_s = 0.0
        self._nudge = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until somebody nudges."""
        self._nudge.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        except TimeoutError:
            return

    def nudge(self) -> None:
        """Look at once what is to be done now."""
        self._nudge.set()

    def stats(self) -> dict[str, object]:
        session = self.stream.session if self.stream is not None else None
        return {
            "state": self.state,
            "device": session.device if session is not None else "",
            "opens": self.opens,
            "open_failures": self.open_failures,
            "disconnects": self.disconnects,
            "releases": self.releases,
            "retry_s": self.retry_s,
            "error": self.error,
            "pauses": self.stream.pauses if self.stream is not None else 0,
            "write_stalls": self.stream.write_stalls if self.stream is not None else 0,
        }


class SerialSource:
    """All ports of one [[serial]] section."""

    Settings = Settings

    def __init__(
        self, settings: Settings, links: Links, committer: Committer, clocks: Clocks
    ) -> None:
        self._settings = settings
        self._links = links
        self._committer = committer
        self._clocks = clocks
        self._pattern = glob.has_magic(settings.port)
        self._ports: dict[str, Port] = {}
        self._gone = 0
        self._root = _root_of(settings.port)
        self._scan_error = ""
        self._scan_failures = 0

    async def run(self) -> None:
        """Serve the ports until cancelled."""
        tasks: dict[str, asyncio.Task[None]] = {}
        self._ports.clear()
        async with asyncio.TaskGroup() as group:
            while True:
                for path in self._wanted():
                    if path not in tasks:
                        port = self._ports[path] = Port(path)
                        tasks[path] = group.create_task(self._keep(port), name=f"serial {path}")
                for path in [path for path, task in tasks.items() if task.done()]:
                    del tasks[path]
                    del self._ports[path]
                    self._gone += 1
                await asyncio.sleep(SCAN_S)

    def _wanted(self) -> list[str]:
        """Paths to serve now; of several names of one port the first."""
        if not self._pattern:
            return [self._settings.port]
        self._look_into_root()
        served = {os.path.realpath(path) for path in self._ports}
        wanted = []
        for path in sorted(glob.glob(self._settings.port)):  # noqa: PTH207 - Path.glob has no absolute patterns
            real = os.path.realpath(path)
            if real not in served:
                served.add(real)
                wanted.append(path)
        return wanted

    def _look_into_root(self) -> None:
        """Say why ports of a pattern cannot be found: glob keeps that to itself."""
        try:
            with os.scandir(self._root):
                self._scan_error = ""
        except FileNotFoundError:
            self._scan_error = ""  # no port is plugged in; /dev/serial comes and goes with them
        except OSError as error:
            self._scan_failures += 1
            said = f"cannot look for ports in {self._root}: {error.strerror}"
            if said != self._scan_error:
                self._scan_error = said
                _log.warning("%s", said)

    def _named(self, port: str | None) -> list[Port]:
        """The port with this path, or all; another name of the same port is as good."""
        if port is None:
            return list(self._ports.values())
        real = os.path.realpath(port)
        return [kept for kept in self._ports.values() if os.path.realpath(kept.path) == real]

    async def _keep(self, port: Port) -> None:
        """Open the port again and again; returns when a pattern's port is no longer there."""
        while True:
            left_s = port.released_until_s - self._now_s()
            if left_s > 0:
                port.state = "released"
                await port.wait(left_s)
                port.retry_s = RETRY_FIRST_S
                continue
            if self._pattern and not _there(port.path):
                return
            try:
                await self._serve(port)
            except (OSError, serialx.SerialException) as error:
                port.open_failures += 1
                self._say(port, error)
            if port.released_until_s > self._now_s():
                continue
            port.state = "waiting"
            # A name that is not there costs nothing to look for.
            most_s = RETRY_MOST_S if _there(port.path) else ABSENT_MOST_S
            port.retry_s = min(port.retry_s, most_s)
            await port.wait(port.retry_s)
            port.retry_s = 2 * port.retry_s

    def _now_s(self) -> float:
        return self._clocks.mono_us() / 1e6

    async def _serve(self, port: Port) -> None:
        """Open, and stay until the connection is lost. Raises OSError or SerialException."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[Exception | None] = loop.create_future()

        def on_lost(error: Exception | None) -> None:
            if not lost.done():
                lost.set_result(error)

        stream = DeviceStream(self._links, self._committer, self._clocks, port.path, on_lost)
        port.state = "opening"
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            transport, _protocol = await serialx.create_serial_connection(
                loop, lambda: stream, port.path, baudrate=self._settings.baud, exclusive=True
            )
        port.state, port.error = "open", ""
        port.opens += 1
        port.stream, port.transport = stream, transport
        _log.info("port is open port=%s", port.path)
        try:
            await lost
        finally:
            port.transport = None
            _abort(transport)
            await transport.wait_closed()
        session = stream.session
        if session is not None and session.stats()["frames"]:
            port.retry_s = RETRY_FIRST_S  # a device was there: it will be back soon
        if port.released_until_s <= self._now_s():
            port.disconnects += 1
            _log.warning("port was disconnected, trying again port=%s", port.path)

    def _say(self, port: Port, error: Exception) -> None:
        number = error.errno if isinstance(error, OSError) else None
        said = _SAID.get(number or 0) or str(error) or type(error).__name__
        if said != port.error:
            port.error = said
            _log.warning("port cannot be opened, trying again port=%s: %s", port.path, said)

    async def release(self, seconds: float, port: str | None = None) -> list[str]:
        """Give ports free for `seconds`, so that another program can have them; 0 takes back.

        `port` is one path, or all of this source. Returns the paths; when this returns they are
        closed. Raises ValueError for a time below 0 or above an hour.
        """
        if not 0 <= seconds <= RELEASE_MOST_S:
            raise ValueError(f"release for {seconds} s, must be 0 to {RELEASE_MOST_S:.0f} s")
        chosen = self._named(port)
        for kept in chosen:
            kept.released_until_s = self._now_s() + seconds
            kept.releases += seconds > 0
            kept.nudge()
            transport = kept.transport
            if seconds > 0 and transport is not None:
                _log.info("port is released port=%s seconds=%g", kept.path, seconds)
                _abort(transport)
                await transport.wait_closed()
        return [kept.path for kept in chosen]

    def stats(self) -> dict[str, object]:
        """Each port's state and counters."""
        return {
            "pattern": self._settings.port,
            "gone": self._gone,
            "scan_failures": self._scan_failures,
            "alarm": self._scan_error,
            "ports": {path: port.stats() for path, port in self._ports.items()},
        }


def _root_of(pattern: str) -> str:
    """The deepest folder of a pattern that is named in full."""
    root = os.path.dirname(pattern)  # noqa: PTH120 - a pattern is no path
    while glob.has_magic(root):
        root = os.path.dirname(root)  # noqa: PTH120
    return root


def _there(path: str) -> bool:
    return os.path.lexists(path)


def _abort(transport: serialx.BaseSerialTransport) -> None:
    """Close without waiting for what a device does not read: close() would, for up to 30 s."""
    if transport.is_closing():
        return
    try:
        transport.serial.reset_write_buffer()
    except (OSError, termios.error) as error:
        _log.debug("nothing to discard: %s", error)
    transport.abort()
