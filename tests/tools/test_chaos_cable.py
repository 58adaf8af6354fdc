"""The demo's cable between a device's terminal and the gateway: cut, silent, noisy."""

import asyncio
import errno
import os
import tty
from pathlib import Path

import pytest

from clamptools.demo.relay import Relay
from support.gateway_parts import until


class Line:
    """A device's pty with a cable; `host` is what the gateway would open."""

    def __init__(self, folder: Path) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self.master, False)
        self.inner, self.outer = folder / "inner", folder / "outer"
        self.inner.symlink_to(os.ttyname(slave))
        self._slave = slave
        self.relay = Relay(self.inner, self.outer)
        self.host = -1

    def open(self) -> None:
        self.host = os.open(self.outer, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def die(self) -> None:
        os.close(self._slave)
        os.close(self.master)


async def through(data: bytes, source: int, sink: int) -> bytes:
    """Writes at one end; what came at the other when these bytes were the last of it."""
    came = bytearray()

    def there() -> bool:
        came.extend(waiting_at(sink))
        return came.endswith(data)

    os.write(source, data)
    await until(there, f"{data!r} in {came!r}")
    return bytes(came)


def waiting_at(sink: int) -> bytes:
    """What can be read there now."""
    try:
        return os.read(sink, 65536)
    except BlockingIOError:
        return b""


def test_cable_carries_both_ways_and_is_cut(tmp_path: Path) -> None:
    async def run() -> None:
        line = Line(tmp_path)
        line.relay.plug()
        line.open()
        every = bytes(range(256))
        assert await through(every, line.master, line.host) == every
        assert await through(every, line.host, line.master) == every
        line.relay.silent = True
        os.write(line.master, every)
        # What is swallowed is dropped where it is read: nothing of it is on its way any more.
        await until(lambda: line.relay.swallowed == len(every), "all of it swallowed")
        assert waiting_at(line.host) == b""
        line.relay.calm()
        line.relay.unplug()
        assert not line.outer.exists()
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            os.write(line.host, b"x")
        os.close(line.host)
        line.relay.plug()
        line.open()
        assert await through(every, line.master, line.host) == every
        assert line.relay.plugs == 2
        line.die()
        await until(lambda: not line.relay.plugged, "an end of the cable")
        with pytest.raises(FileNotFoundError):
            line.relay.plug()  # its link is there, but nobody is behind it

    asyncio.run(run())


def test_noisy_cable_spoils_what_passes(tmp_path: Path) -> None:
    chunk = b"\x7e" + bytes(40)

    async def run() -> tuple[list[bytes], int]:
        line = Line(tmp_path)
        line.relay.plug()
        line.open()
        line.relay.disturb(3)
        got = []
        for number in range(1, 41):
            os.write(line.master, chunk)
            await until(lambda number=number: line.relay.carried == number * len(chunk))
            await asyncio.sleep(0.02)  # the terminal's own time; `injected` does not hang on it
            got.append(waiting_at(line.host))
        line.relay.calm()
        assert (await through(b"clean", line.master, line.host)).endswith(b"clean")
        line.relay.unplug()
        return got, line.relay.injected

    got, injected = asyncio.run(run())
    assert 10 <= injected <= 38
    assert sum(each != chunk for each in got) >= 10
