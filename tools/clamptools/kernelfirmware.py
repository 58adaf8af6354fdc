"""The kernels on the real RP2040 firmware, emulated: compiled on the board, called from Python.

Owns one emulated Pico for the kernel bench: its boot, the sources in its file system, buffers
that the host fills and reads in its memory, and cycles between two edges of a pin, interrupts
off. The emulator knows no flash cache misses: what Python does costs more on a real board, the
kernels in SRAM do not. Needs rp2040py and a UF2 of MicroPython, which is never part of this
project.
"""

from __future__ import annotations

import asyncio
from array import array
from copy import deepcopy
from pathlib import Path
from typing import Any

from clamptools import kernelcases as cases
from clamptools.errors import UserError
from clamptools.kernelcases import KERNELS, Kernel

WHERE = "firmware on emulated RP2040"
_PIN = 25
# Beyond the 2 MB of flash that the firmware knows of: read by the guest, not written.
_FLASH_WINDOW = 0x400000
_FLASH_BASE = 0x10000000
_TIMEOUT_S = 600
_COUNTS = {"asm_thumb": (256, 1024), "viper": (256, 1024), "reference": (32, 128)}

_PRELUDE = """
import array, gc, machine, micropython, os, uctypes
pin = machine.Pin(25, machine.Pin.OUT, value=0)
at = uctypes.addressof
def copy(address, name, size):
    folder = ""
    for part in name.split("/")[:-1]:
        folder += part + "/"
        try:
            os.mkdir(folder[:-1])
        except OSError:
            pass
    with open(name, "wb") as file:
        file.write(uctypes.bytearray_at(address, size))
"""
# The first pair of edges tells what the edges themselves cost. `f` is called three times, first on
# copies, and the least counts: a call may find no name in the firmware's cache of look-ups, or
# meet a task of the USB stack that was due. No form but the reference may allocate.
_TIMED = """
def timed(f, on, off, {names}):
    on()
    off()
    on()
    result = f({names})
    off()
    return result
on, off = pin.on, pin.off
result = None
interrupts = machine.disable_irq()
if {locked}:
    micropython.heap_lock()
try:
    timed(f, on, off, {first_copies})
    timed(f, on, off, {second_copies})
    result = timed(f, on, off, {names})
finally:
    if {locked}:
        micropython.heap_unlock()
    machine.enable_irq(interrupts)
print(result, {addresses})
"""


class _Board:
    def __init__(self, uf2: Path) -> None:
        from rp2040py.boards import BOARDS, resolve_firmware
        from rp2040py.device import MicroPythonDevice

        board = resolve_firmware(BOARDS["pico"], "micropython", str(uf2))
        self._device = MicroPythonDevice(board=board)
        self._mcu = self._device.mcu
        self._edges: list[int] = []

    async def start(self) -> str:
        """Boots, copies the kernels, and returns the firmware's version."""
        await self._device.astart()
        self._mcu.gpio[_PIN].add_listener(lambda *_: self._edges.append(self._mcu.core.cycles))
        await self.run(_PRELUDE)
        lines = []
        window = _FLASH_WINDOW
        files = {f"k/{path.name}": path.read_bytes() for path in cases.kernels_dir().glob("*.py")}
        for name, content in files.items():
            self._mcu.flash[window : window + len(content)] = content
            lines.append(f"copy({_FLASH_BASE + window}, {name!r}, {len(content)})")
            window += (len(content) + 3) & ~3
        await self.run("\n".join(lines))
        version = await self.run("import sys; print(sys.version.split('; ')[-1])")
        return version.strip()

    def stop(self) -> None:
        self._device.stop()

    async def run(self, code: str) -> str:
        out, error = await self._device.aexec(code, _TIMEOUT_S)
        if error:
            raise UserError(f"the emulated board says: {error.decode(errors='replace').strip()}")
        return out.decode()

    async def call(self, arguments: dict[str, Any], locked: bool) -> tuple[str, int]:
        """Calls the guest's `f` on the arguments, whose mutable buffers change.

        With `locked` the guest cannot allocate meanwhile.

        Returns:
            What it returned, as text, and its cycles with those of the call.
        """
        lines = ["gc.collect()"]
        buffers = [name for name, value in arguments.items() if not isinstance(value, int)]
        window = _FLASH_WINDOW
        for name, value in arguments.items():
            if isinstance(value, int):
                lines.append(f"{name} = {value}")
                continue
            raw = value.tobytes() if isinstance(value, array) else bytes(value)
            self._mcu.flash[window : window + len(raw)] = raw
            kind = (
                f"array.array({value.typecode!r}, " if isinstance(value, array) else "bytearray("
            )
            lines.append(
                f"{name} = {kind}uctypes.bytearray_at({_FLASH_BASE + window}, {len(raw)}))"
            )
            lines += [f"{name}_{i} = {kind}{name})" for i in (1, 2)]
            window += (len(raw) + 3) & ~3
        self._edges.clear()
        said = await self.run(
            "\n".join(lines)
            + _TIMED.format(
                names=", ".join(arguments),
                first_copies=", ".join(f"{n}_1" if n in buffers else n for n in arguments),
                second_copies=", ".join(f"{n}_2" if n in buffers else n for n in arguments),
                locked=locked,
                addresses=", ".join(f"at({name})" for name in buffers),
            )
        )
        result, *addresses = said.split()
        for name, address in zip(buffers, addresses, strict=True):
            if name in cases.MUTABLE:
                arguments[name] = self._read(int(address), arguments[name])
        edges = iter(self._edges)
        spent = [
            (fourth - third) - (second - first)
            for first, second, third, fourth in zip(edges, edges, edges, edges, strict=True)
        ]
        return result, min(spent)

    def _read(self, address: int, like: array | bytearray) -> array | bytearray:
        size = len(like) * (like.itemsize if isinstance(like, array) else 1)
        raw = b"".join(
            self._mcu.read_uint32(address + i).to_bytes(4, "little") for i in range(0, size, 4)
        )[:size]
        if isinstance(like, bytearray):
            return bytearray(raw)
        found = array(like.typecode)
        found.frombytes(raw)
        return found


def measure_firmware(uf2: str) -> tuple[str, list[dict[str, Any]]]:
    """Runs every kernel in every form on the emulated board.

    Returns:
        The firmware's version, and rows as of `kernelbench.measure`.

    Raises:
        UserError: the UF2 is no file, or the board reports an error.
    """
    path = Path(uf2)
    if not path.is_file():
        raise UserError(f"PICO_UF2={uf2} is no file: give the path of MicroPython for the Pico")
    return asyncio.run(_measure(path))


async def _measure(uf2: Path) -> tuple[str, list[dict[str, Any]]]:
    board = _Board(uf2)
    version = await board.start()
    try:
        used = await board.run(
            "gc.collect(); free = gc.mem_free()\nimport k\ngc.collect()\n"
            "print(free - gc.mem_free(), k.FORM)"
        )
        rows = [
            await _kernel_row(board, kernel, form)
            for kernel in KERNELS
            for form in ("asm_thumb", "viper", "reference")
            if form != "asm_thumb" or kernel.thumb
        ]
        rows.append(await _window_row(board))
    finally:
        board.stop()
    heap, form = used.split()
    return (
        f"{version}; chosen: {form}; heap taken by those that every board loads: {heap} bytes",
        rows,
    )


async def _kernel_row(board: _Board, kernel: Kernel, form: str) -> dict[str, Any]:
    module, function = {
        "asm_thumb": ("k", kernel.name),  # the package itself, which takes assembler there
        "viper": (f"k.{kernel.viper[0]}", kernel.viper[1]),
        "reference": (f"k.{kernel.reference}", kernel.name),
    }[form]
    await board.run(f"gc.collect()\nfrom {module} import {function} as f")
    spent = []
    exact = True
    for n in _COUNTS[form]:
        named = cases.inputs(kernel, "typical", n, 1)
        arguments = {name: named[name] for name in kernel.arguments.split()}
        expected = deepcopy(arguments)
        plain = getattr(cases.reference_module(kernel.reference), kernel.name)
        wanted = plain(*expected.values())
        try:
            result, cycles = await board.call(arguments, form != "reference")
        except UserError as error:
            raise UserError(f"{kernel.label} in {form}, {n} samples: {error}") from None
        spent.append(cycles)
        exact = exact and result == str(wanted)
        for name in cases.MUTABLE:
            if name in expected:
                mine = cases.public(kernel, name, arguments[name])
                exact = exact and mine == cases.public(kernel, name, expected[name])
    short, long = _COUNTS[form]
    per_sample = (spent[1] - spent[0]) / (long - short)
    row: dict[str, Any] = {
        "kernel": kernel.label,
        "form": form,
        "layout": "contiguous",
        "cycles_per_sample": round(per_sample, 2),
        "exact": exact,
        "where": WHERE,
        "function": kernel.name,
        "cycles_per_call": round(spent[0] - short * per_sample),
    }
    limit = cases.FIRMWARE_LIMITS.get((kernel.label, form, "contiguous"))
    if limit is not None:
        row["limit"] = limit
        row["met"] = exact and per_sample <= limit
    return row


async def _window_row(board: _Board) -> dict[str, Any]:
    """1,024 samples to their RMS in one call from Python: argument handling and root included."""
    n = 1024
    buf = cases.samples("typical", 12, n)
    await board.run("gc.collect()\nfrom k import rms12 as f")
    result, cycles = await board.call({"buf": buf, "n": n, "frac_bits": 8}, True)
    wanted = cases.reference_module("reference").rms12(buf, n, 8)
    exact = result == str(wanted)
    return {
        "kernel": "rms_window",
        "form": "asm_thumb",
        "layout": "contiguous, 1024 to RMS",
        "cycles_per_sample": round(cycles / n, 2),
        "exact": exact,
        "where": WHERE,
        "function": "rms12",
        "cycles": cycles,
        "limit_cycles": cases.WINDOW_LIMIT_CYCLES,
        "met": exact and cycles <= cases.WINDOW_LIMIT_CYCLES,
    }
