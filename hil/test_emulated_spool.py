"""The flash ring of `boards/pico.toml` in the emulated Pico: from `clampwork prepare` to a reset.

The whole firmware samples while the port is closed, until its RAM, made small, spills into the
ring, with a flash as slow as the data sheet allows. Then the port is open again, and everything
must come: each number once, each second of device time once, fine or condensed. In a second outage
the board is reset; what the host reads in the flash at that moment must come after it.
"""

import asyncio
import contextlib
import json
import math
import os
import struct
import sys
import tty
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import firmware
import pytest
from emulator import Pico
from flashtimes import WORST_MS
from test_emulated_firmware import AMPLITUDES, CODEC, LSB_A, RMS_SHARE, connect

from clampdevice.flashring import FlashRing
from clamptools.boardlayout import FRONT_BYTES, SECTOR, Layout, layout_of
from clamptools.boards import read_board
from clampwire.messages import TO_THE_END, WINDOW_MS
from gateway import EVENT, GAP, RECORD, Gateway

pytestmark = pytest.mark.timeout(7200)

SECONDS = int(os.environ.get("CLAMPWORK_HIL_SECONDS", "60"))
# Of the first outage: ten seconds of records are condensed, and the events of some bursts fill
# pages. The second lasts for three bursts. With both starts that makes 50 emulated seconds, or 45.
FIRST_BURST_S = 11
BURSTS = 5 if SECONDS >= 60 else 3
PAGES_MIN = BURSTS - 2
BURST_EVENTS = 20
BURST_S = 2.0
SPOOL = {"ram_bytes": 2816, "ram_items": 128}
INPUT_PIN = 15
BOOT_MOST_US = 30e6
DRAIN_MOST_US = 20e6
FLAGGED = 2500  # bytes of the flash that a test marks beyond the files
MAIN = Path(firmware.DEVICE) / "main.py"


class HostFlash:
    """The emulated flash as the host reads it, for the firmware's own ring to look into."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, offset: int, buf: bytearray) -> None:
        buf[:] = self._data[offset : offset + len(buf)]


class Line:
    """The emulated USB as a serial port of this computer, at `port`."""

    def __init__(self, pico: Pico, folder: Path) -> None:
        self._pico = pico
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        # By another name: mpremote reads a pty without ever giving up.
        self.port = folder / "ttyACM0"
        self.port.symlink_to(os.ttyname(self._slave))
        self._out = b""
        pico.on_bytes = self._keep

    def _keep(self, data: bytes) -> None:
        self._out += data

    def carry(self) -> None:
        """Both ways, what there is."""
        with contextlib.suppress(BlockingIOError):
            self._out = self._out[os.write(self._master, self._out) :]
        with contextlib.suppress(BlockingIOError):
            self._pico.send(os.read(self._master, 4096))

    def close(self) -> None:
        self._pico.on_bytes = None
        os.close(self._master)
        os.close(self._slave)


def region(pico: Pico, start: int, size: int) -> slice:
    """Bytes of MicroPython's storage in the whole flash."""
    begin = pico.storage_start + start
    return slice(begin, begin + size)


async def command(pico: Pico, line: Line, *arguments: str) -> dict[str, Any]:
    """Runs `clampwork` while the board runs; its JSON, and "code"."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "clamptools.cli", *arguments, "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    said = asyncio.create_task(process.communicate())
    while not said.done():
        line.carry()
        await pico.wait(2000)
    out, err = said.result()
    return {"code": process.returncode, "error": err.decode(), **json.loads(out or b"{}")}


def test_prepare_divides_the_flash_over_the_serial_port(
    emulated: Callable, measured: Callable, tmp_path: Path
) -> None:
    layout = layout_of(read_board("pico"))
    assert layout is not None

    async def scene() -> None:
        async with emulated({"old.txt": b"x" * 3000}) as pico:
            line = Line(pico, tmp_path)
            beyond = region(pico, layout.ring_start, FLAGGED)
            marked = pico.mcu.flash[beyond] = bytes(i % 251 for i in range(FLAGGED))
            begun_us = pico.now_us
            port = str(line.port)
            refused = await command(pico, line, "prepare", port, "--board", "pico")
            assert refused["code"] == 2
            assert "/old.txt" in refused["error"]
            done = await command(pico, line, "prepare", port, "--board", "pico", "--yes")
            assert (done["code"], done.get("changed")) == (0, True), done
            again = await command(pico, line, "prepare", port, "--board", "pico")
            assert (again["code"], again.get("changed")) == (0, False), again
            assert bytes(pico.mcu.flash[beyond]) == marked
            measured(
                f"{done['machine']}, MicroPython {done['micropython']}: files "
                f"{done['files_bytes'] // 1024} KB, ring {done['ring_bytes'] // 1024} KB; three "
                f"runs of the command in {(pico.now_us - begun_us) / 1e6:.1f} emulated seconds"
            )
            line.close()

    asyncio.run(scene())


def account(gateway: Gateway, boot: int) -> tuple[set[int], int, int]:
    """(numbers that came or are covered, fine records, records in condensed ones) of a power-up.

    Each second must come once: no interval of a record overlaps another, and no number that came
    as a record of its own is within the span of a condensed one.
    """
    came = {seq for of, seq in gateway.items if of == boot}
    covered: set[int] = set()
    intervals = []
    fine = condensed = 0
    for (of, seq), item in sorted(gateway.items.items()):
        if of != boot or item.kind != RECORD:
            continue
        record = CODEC.decode(item.payload)[1]
        before = record.before or 0
        span = set(range(seq - before, seq))
        inside = {number for number in span & came if gateway.items[boot, number].kind == RECORD}
        assert not inside, f"{seq} covers {inside}, which came"
        assert not span & covered, f"{seq} covers {span & covered}, which another does"
        covered |= span - came
        intervals.append((record.end_ms - WINDOW_MS * record.windows, record.end_ms))
        if record.windows == 5:
            fine += 1
        else:
            condensed += record.windows // 5
    intervals.sort()
    for (_begin, end), (begin, _end) in pairwise(intervals):
        assert begin >= end, f"a second ends at {end} and the next begins at {begin}"
    return came | covered, fine, condensed


def whole(gateway: Gateway, boot: int, most: int) -> bool:
    """Whether all numbers up to `most` are there."""
    return set(range(most + 1)) <= account(gateway, boot)[0]


async def ask(pico: Pico, gateway: Gateway) -> dict[str, Any]:
    """The device's answer to `status`."""
    answers: list[Any] = []
    gateway.session.command("status", {}, answers.append, pico.now_us)
    await pico.wait_until(lambda: bool(answers), 6e6)
    return answers[0].body


async def bursts(pico: Pico, count: int) -> int:
    """A contact that bounces slowly: `count` times 20 edges; returns how many in all."""
    pin = pico.mcu.gpio[INPUT_PIN]
    for number in range(count * BURST_EVENTS):
        pin.set_input_value(bool(number & 1))
        rest = BURST_S - (BURST_EVENTS - 1) * 0.06 if (number + 1) % BURST_EVENTS == 0 else 0.06
        await pico.wait(rest * 1e6)
    return count * BURST_EVENTS


def in_flash(pico: Pico, layout: Layout) -> set[tuple[int, int]]:
    """Names of the items that a power-up will find in the ring and has to deliver."""
    data = bytes(pico.mcu.flash[region(pico, layout.ring_start, layout.ring_bytes)])
    ring = FlashRing(HostFlash(data), layout.ring_bytes // SECTOR)
    names = set()
    found = ring.read(ring.tail)
    while found is not None:
        names.add(struct.unpack_from("<II", found[0], 1))
        found = ring.read(found[1])
    assert ring.crc_errors == 0
    return names


def plug(pico: Pico, gateway: Gateway, plugged: bool) -> None:
    """A gateway that has the port open, or none: then nobody takes the device's packets."""
    gateway.reading = plugged
    pico.open_port(plugged)
    pico.host_reads(plugged)


async def first_outage(pico: Pico, gateway: Gateway, measured: Callable) -> None:
    pico.flash.clear()
    dropped, begun_us = pico.adc.dropped, pico.now_us
    known = len(gateway.items)
    plug(pico, gateway, False)
    await pico.wait(FIRST_BURST_S * 1e6)
    events = await bursts(pico, BURSTS)
    assert len(gateway.items) == known
    outage_s = (pico.now_us - begun_us) / 1e6
    pages, sectors = pico.flash.pages, pico.flash.sectors
    assert pages >= PAGES_MIN
    assert sectors >= 1
    plug(pico, gateway, True)
    begun_us = pico.now_us
    await pico.wait_until(
        lambda: (
            len(gateway.readings(EVENT)) > events
            and whole(gateway, 1, max(seq for _boot, seq in gateway.items))
        ),
        DRAIN_MOST_US,
    )
    back_s = (pico.now_us - begun_us) / 1e6
    await pico.wait(1.2e6)
    assert whole(gateway, 1, max(seq for _boot, seq in gateway.items))
    _numbers, fine, condensed = account(gateway, 1)
    assert condensed >= 10
    assert not gateway.readings(GAP)
    for record in gateway.readings(RECORD):
        for channel, amplitude in enumerate(AMPLITUDES):
            found = record.channels[f"current{channel + 1}"]["rms"]
            if found is not None:  # the first second of a power-up may have none
                assert abs(found / (amplitude / math.sqrt(2) * LSB_A) - 1) < RMS_SHARE
    told = await ask(pico, gateway)
    assert pico.adc.dropped == dropped
    assert told["overruns"] == told["lost_samples"] == told["dropped"] == 0
    assert told["flash_forced"] == told["flash_failed"] == told["flash_crc_errors"] == 0
    assert told["condensed"] == condensed
    assert told["inputs"]["edges_lost"] == 0
    measured(
        f"outage of {outage_s:.1f} s, flash worst: {fine} records fine, {condensed} condensed, "
        f"{told['moved']} items moved as they were, {len(gateway.readings(EVENT))} events; "
        f"{pages} pages and {sectors} sectors, {pico.flash.pages} and {pico.flash.sectors} when "
        f"all was delivered, stalled {pico.flash.stalled_ms:.0f} ms, longest "
        f"call {told['flash_longest_us'] / 1000:.0f} ms, 0 forced; delivered {back_s:.1f} s after "
        f"the port was open; redelivered {gateway.redelivered}; heap free {told['heap_free']}"
    )


async def second_outage(pico: Pico, gateway: Gateway, layout: Layout, measured: Callable) -> None:
    delivered = set(gateway.items)
    pico.flash.clear()
    plug(pico, gateway, False)
    await bursts(pico, 3)
    await pico.wait(2e6)
    kept = in_flash(pico, layout) - delivered
    assert kept, "nothing went down before the reset"
    pages = pico.flash.pages
    await pico.reset()
    plug(pico, gateway, True)
    booted_us = pico.now_us
    await pico.wait_until(lambda: any(boot == 2 for boot, _seq in gateway.items), BOOT_MOST_US)
    await pico.wait_until(lambda: kept <= gateway.items.keys(), DRAIN_MOST_US)
    back_s = (pico.now_us - booted_us) / 1e6
    cuts = [gap for gap in gateway.readings(GAP) if gap.reason == "power_cut"]
    assert len(cuts) == len(gateway.readings(GAP)) == 1
    gap = next(
        CODEC.decode(item.payload)[1] for item in gateway.items.values() if item.kind == GAP
    )
    assert (gap.of_boot, gap.last_seq) == (1, TO_THE_END)
    last = max(seq for boot, seq in kept)
    assert last - 16 < gap.first_seq <= last + 1
    numbers, _fine, _condensed = account(gateway, 1)
    assert set(range(gap.first_seq)) <= numbers
    told = await ask(pico, gateway)
    assert told["overruns"] == told["lost_samples"] == told["dropped"] == 0
    measured(
        f"reset in an outage: {len(kept)} items in {pages} pages of flash, all delivered "
        f"{back_s:.1f} s after the reset; the rest is one power_cut gap from {gap.first_seq} on; "
        f"redelivered {gateway.redelivered}; heap free {told['heap_free']}"
    )


def test_an_outage_goes_through_the_flash_and_a_reset(
    emulated: Callable, measured: Callable
) -> None:
    board = read_board("pico")
    layout = layout_of(board)
    assert layout is not None
    board["spool"].update(SPOOL)
    files = firmware.device_files()
    files["main.py"] = MAIN.read_bytes()
    files["board.json"] = json.dumps(board).encode()

    async def scene() -> None:
        async with emulated(files, layout.make) as pico:
            about = await pico.run("import os; print(os.statvfs('/')[1:4])")
            size, blocks, free = map(int, about.strip("() \r\n").split(","))
            assert size * blocks == layout.ring_start - FRONT_BYTES
            assert free > blocks // 4, "a quarter of the file system is to stay free"
            measured(
                f"files: {len(files)} of {sum(map(len, files.values())):,} bytes take "
                f"{size * (blocks - free) // 1024} of {size * blocks // 1024} KB"
            )
            connect(pico)
            pico.flash.set(WORST_MS)
            await pico.reset()
            gateway = Gateway(pico)
            gateway.start()
            await pico.wait_until(lambda: bool(gateway.readings(RECORD)), BOOT_MOST_US)
            await first_outage(pico, gateway, measured)
            await second_outage(pico, gateway, layout, measured)

    asyncio.run(scene())
