"""An emulated Pico: the real MicroPython firmware of a UF2, our files, signals on its pins.

Owns booting, files, the raw REPL, the serial line as a host sees it, emulated time and the count
of CPU cycles. Patches are `patches.py`, the ADC `analog.py`, the flash `flashtimes.py`. Needs the
package rp2040py and a UF2 that somebody else provides; none is part of this project.

Times are lower bounds of a real board's: the emulator knows no flash cache misses and no
interrupt entry.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import patches
from analog import Adc
from flashtimes import FlashTimes
from rp2040py.boards import BOARDS, resolve_firmware
from rp2040py.device import MicroPythonDevice

ADC_BASE = 0x4004C
CLOCK_HZ = 125_000_000
# The emulated flash chip has 16 MB, the board's 2 MB are what the firmware knows of. Files lie
# above them for the guest to copy, which is a thousand times faster than the serial line.
WINDOW = 0x400000
XIP_BASE = 0x10000000
EXEC_TIMEOUT_S = 600

_COPY = """
import os, uctypes
def _copy(at, name, size):
    folder = ""
    for part in name.split("/")[:-1]:
        folder = folder + "/" + part if folder else part
        try:
            os.mkdir(folder)
        except OSError:
            pass
    with open(name, "wb") as file:
        file.write(uctypes.bytearray_at(at, size))
"""


class GuestError(RuntimeError):
    """Code in the guest raised; the message is what it printed, and the traceback."""


class Pico:
    """One board from power-up to `stop`.

    Args:
        uf2: MicroPython's firmware for the board.
        board: `pico` or `pico_w`.

    Attributes:
        adc: see `analog.Adc`; `adc.signals` is what is on the pins.
        flash: see `flashtimes.FlashTimes`.
        received: bytes the device sent over USB since somebody took them.
        on_bytes: called with each packet instead, if set.
    """

    def __init__(self, uf2: str | Path, board: str = "pico") -> None:
        patches.install()
        self._spec = resolve_firmware(BOARDS[board], "micropython", str(uf2))
        self._device = MicroPythonDevice(board=self._spec)
        self.mcu = self._device.mcu
        self.adc = Adc(self.mcu)
        self.mcu.adc = self.adc
        self.mcu.peripherals[ADC_BASE] = self.adc
        self.flash = FlashTimes(self.mcu)
        self.received = bytearray()
        self.on_bytes: Callable[[bytes], None] | None = None
        self._reading = True
        self._held: list[tuple[int, int]] = []
        self._hold_when_not_reading()

    # --- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Boots; returns when the host has seen the device on USB."""
        await self._device.astart()
        self.listen()

    def stop(self) -> None:
        self._device.stop()

    @property
    def storage_start(self) -> int:
        """Where in `mcu.flash` the storage begins that the firmware leaves."""
        layout = self._spec.layout
        if layout is None:
            raise ValueError("the board's flash layout is not known")
        return layout.fs_start

    async def reset(self) -> None:
        """The reset button; flash survives, packets that wait for the host do not."""
        self.received.clear()
        self._held.clear()
        await self._device.ahard_reset()
        self.listen()

    def listen(self) -> None:
        """Takes what the device sends into `received`, or to `on_bytes`."""
        self._device.cdc.on_serial_data = self._on_bytes

    async def run(self, code: str) -> str:
        """Runs code at the raw REPL and returns what it printed.

        Raises:
            GuestError: it raised.
        """
        out, err = await self._device.aexec(code, EXEC_TIMEOUT_S)
        self.listen()
        if err:
            raise GuestError((out + err).decode(errors="replace"))
        return out.decode()

    async def load(self, files: Mapping[str, bytes], divide: str = "") -> None:
        """Writes files into the guest's own file system, or takes an image made before.

        `divide`: code that makes other file systems than the firmware does. The image of equal
        files on equal firmware is kept in the temporary folder.
        """
        start, layout = self.storage_start, self._spec.layout
        assert layout is not None
        size = layout.fs_blocksize * layout.fs_blockcount
        region = slice(start, start + size)
        digest = hashlib.sha256(bytes(self.mcu.flash[:start]))
        digest.update(divide.encode())
        for name in sorted(files):
            digest.update(name.encode() + b"\0" + files[name] + b"\0")
        cached = Path(tempfile.gettempdir()) / f"clampwork-hil-{digest.hexdigest()[:24]}.img"
        if cached.is_file():
            self.mcu.flash[region] = cached.read_bytes()
            return
        self.mcu.flash[region] = b"\xff" * size
        await self.reset()
        if divide:
            await self.run(divide)
            await self.reset()
        at = WINDOW
        lines = [_COPY]
        for name in sorted(files):
            self.mcu.flash[at : at + len(files[name])] = files[name]
            lines.append(f"_copy({XIP_BASE + at}, {name!r}, {len(files[name])})")
            at += (len(files[name]) + 3) & ~3
        await self.run("\n".join(lines))
        partial = cached.with_suffix(".part")
        partial.write_bytes(bytes(self.mcu.flash[region]))
        partial.replace(cached)

    # --- serial line -----------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Bytes from the host to the device."""
        for byte in data:
            self._device.cdc.send_serial_byte(byte)

    def host_reads(self, reading: bool) -> None:
        """Whether the host takes what the device sends; DTR stays set either way."""
        self._reading = reading
        if reading:
            held, self._held = self._held, []
            for offset, value in held:
                self._dpram_updated(offset, value)

    def open_port(self, opened: bool) -> None:
        """DTR and RTS as a host sets them when it opens and drops them when it closes."""
        self._device.set_control_lines(dtr=opened, rts=opened)

    def _on_bytes(self, data: bytes | bytearray) -> None:
        if self.on_bytes is not None:
            self.on_bytes(bytes(data))
        else:
            self.received.extend(data)

    def _hold_when_not_reading(self) -> None:
        usb = self.mcu.usb_ctrl
        self._dpram_updated = usb.dpram_updated

        def updated(offset: int, value: int) -> None:
            # Buffer control of an IN endpoint other than 0: the packet stays AVAILABLE.
            if not self._reading and 0x88 <= offset <= 0xF8 and not offset & 7 and value & 1 << 10:
                self._held.append((offset, value))
            else:
                self._dpram_updated(offset, value)

        usb.dpram_updated = updated

    # --- emulated time ---------------------------------------------------------------------

    @property
    def now_us(self) -> int:
        """Emulated microseconds since power-up."""
        return int(self.mcu.clock.nanos / 1000)

    @property
    def cycles(self) -> int:
        """Cycles the core has executed; sleeping counts none."""
        return self.mcu.core.cycles

    def at(self, delay_us: float, function: Callable[[], None]) -> None:
        """Calls `function` at exactly that emulated time from now."""
        self.mcu.clock.create_alarm(function).schedule(delay_us * 1000)

    async def wait(self, us: float) -> None:
        """Lets the device run for that much emulated time."""
        over = asyncio.Event()
        self.at(us, over.set)
        await self._device.simulator.wait_for(over, None)

    async def wait_until(self, condition: Callable[[], bool], most_us: float) -> None:
        """Lets the device run until `condition`, looked at each emulated ms.

        Raises:
            TimeoutError: `most_us` have gone by.
        """
        end_us = self.now_us + most_us
        while not condition():
            if self.now_us > end_us:
                raise TimeoutError(f"not within {most_us / 1e6:g} emulated seconds")
            await self.wait(1000)


class Meter:
    """CPU share of a stretch of emulated time: `with Meter(pico) as meter: await pico.wait(...)`.

    A core that stands still for the flash executes nothing, so that time is no share.
    """

    def __init__(self, pico: Pico) -> None:
        self._pico = pico
        self.cycles = self.us = 0

    def __enter__(self) -> "Meter":
        self._cycles = self._pico.cycles
        self._us = self._pico.now_us
        return self

    def __exit__(self, *failure: object) -> None:
        self.cycles = self._pico.cycles - self._cycles
        self.us = self._pico.now_us - self._us

    @property
    def share(self) -> float:
        """Cycles executed of all cycles, 0 to 1."""
        return self.cycles / (self.us * CLOCK_HZ / 1e6)
