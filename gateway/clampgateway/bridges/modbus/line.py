"""The serial side of Modbus: the same units on an RS-485 or RS-232 line.

Owns the port, opened exclusively and again and again while it is away, and the timer that ends a
frame. What a frame is and which are answered is `registers/rtu.py`. The port is opened with
termios alone: the serial library is the sources', and of it nothing but raw bytes is needed here.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import termios
import tty

from clampgateway.bridges.modbus.settings import RtuSettings
from clampgateway.registers.rtu import Slave

_log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.2
RETRY_MOST_S = 5.0
RECEIVE = 1024
_PARITIES = {"none": 0, "even": termios.PARENB, "odd": termios.PARENB | termios.PARODD}


class RtuLine:
    """One line with one slave behind it."""

    def __init__(self, settings: RtuSettings, slave: Slave) -> None:
        self._settings = settings
        self._slave = slave
        self._said = ""
        self.opens = 0
        self.is_open = False

    def stats(self) -> dict[str, int]:
        """Counters since the start, and whether the port is open."""
        slave = self._slave
        return {
            "rtu_open": int(self.is_open),
            "rtu_opens": self.opens,
            "rtu_requests": slave.requests,
            "rtu_exceptions": slave.exceptions,
            "rtu_broken": slave.broken,
            "rtu_foreign": slave.foreign,
            "rtu_cut": slave.cut,
        }

    async def run(self) -> None:
        """Serves until cancelled."""
        retry_s = RETRY_FIRST_S
        while True:
            try:
                await self._serve()
                retry_s = RETRY_FIRST_S
            except (OSError, termios.error) as error:
                self._say(os.strerror(error.args[0]))
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_MOST_S)

    async def _serve(self) -> None:
        """Opens, and stays until the port is lost. Raises what the port does."""
        settings = self._settings
        line = _Line(open_port(settings), self._slave)
        self.opens += 1
        self.is_open = True
        self._said = ""
        _log.info("serving line port=%s baud=%d", settings.port, settings.baud)
        try:
            await line.lost
        finally:
            self.is_open = False
            line.close()
        _log.warning("line was disconnected, trying again port=%s", settings.port)

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            _log.warning(
                "line cannot be opened, trying again port=%s: %s", self._settings.port, what
            )


def open_port(settings: RtuSettings) -> int:
    """Opens a serial port for this process alone, raw. Raises OSError or termios.error."""
    port = os.open(settings.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        fcntl.flock(port, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tty.setraw(port)
        iflag, oflag, cflag, lflag, _in_speed, _out_speed, control = termios.tcgetattr(port)
        speed = getattr(termios, f"B{settings.baud}")
        cflag &= ~(termios.PARENB | termios.PARODD | termios.CSTOPB)
        cflag |= termios.CLOCAL | termios.CREAD | _PARITIES[settings.parity]
        if settings.stop_bits == 2:
            cflag |= termios.CSTOPB
        attributes = [iflag, oflag, cflag, lflag, speed, speed, control]
        termios.tcsetattr(port, termios.TCSANOW, attributes)
        termios.tcflush(port, termios.TCIOFLUSH)
    except BaseException:
        os.close(port)
        raise
    return port


class _Line:
    """Bytes of the line; its silence is a timer that each of them sets anew."""

    def __init__(self, port: int, slave: Slave) -> None:
        self._port = port
        self._slave = slave
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(port, self._readable)

    def close(self) -> None:
        """Gives the port back."""
        self._loop.remove_reader(self._port)
        if self._timer is not None:
            self._timer.cancel()
        self._slave.silence()  # half a frame of a line that is gone is nothing
        os.close(self._port)

    def _readable(self) -> None:
        try:
            data = os.read(self._port, RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._slave.receive(data), self._silent)

    def _silent(self) -> None:
        self._timer = None
        reply = self._slave.silence()
        if not reply:
            return
        try:
            # At most 256 bytes into the driver's empty buffer of a page: it takes them whole.
            self._slave.cut += os.write(self._port, reply) < len(reply)
        except BlockingIOError:
            self._slave.cut += 1  # the master hears nothing, and asks again
        except OSError:
            self._end()

    def _end(self) -> None:
        self._loop.remove_reader(self._port)
        if not self.lost.done():
            self.lost.set_result(None)
