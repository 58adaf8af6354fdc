"""What the kernel bench runs: every kernel, its arguments in every form, its inputs, its limits.

Owns the table of kernels and the mapping of one public signature onto the arguments that the
machine code of a form takes. The plain reference is read from the firmware's folder and says
what is exact. Runs nothing; see kernelbench.py.
"""

from __future__ import annotations

import functools
import importlib
import math
import random
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from clamptools.data import device_dir

_PACKAGE = "_clampwork_kernel_reference"
MUTABLE = ("buf", "acc", "mom", "out", "state", "work", "dst")
# How many words at the end of a kernel's state are for its own use.
_PRIVATE = {"biquad": 1, "goertzel": 1, "velocity": 5}
BIAS_12, BIAS_16 = 2048, 32768


def kernels_dir() -> Path:
    """The folder of the kernels' sources."""
    return device_dir() / "clampdevice" / "kernels"


def reference_module(name: str) -> ModuleType:
    """Loads a plain-Python module of the kernels from the firmware's folder, under its own name.

    The firmware's package itself is never imported: it chooses a form for the interpreter.
    """
    if _PACKAGE not in sys.modules:
        package = ModuleType(_PACKAGE)
        package.__path__ = [str(kernels_dir())]
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.{name}")


@dataclass(frozen=True)
class Kernel:
    """One kernel.

    Attributes:
        label: its name in the bench.
        name: function in `clampdevice.kernels`.
        reference: module of the plain form.
        arguments: names of the public arguments, see `inputs`.
        bits: of the samples it is measured with.
        viper: module and function of the viper form, which takes the public arguments.
        thumb: module, function and arguments of the assembler, or nothing.
    """

    label: str
    name: str
    reference: str
    arguments: str
    bits: int
    viper: tuple[str, str]
    thumb: tuple[str, str, str] | None = None


_SUMS = "buf first n stride acc"
_RAILS = " rail_lo rail_hi"
_LUT = "buf first n stride lut acc"
_FILTER = "buf first n stride bias coef state"
_PLAIN = "at shape acc"
KERNELS = (
    Kernel(
        "sums",
        "sums12",
        "reference",
        _SUMS,
        12,
        ("viper", "sums12"),
        ("thumb_sums12", "sums12_asm", _PLAIN),
    ),
    Kernel(
        "sums_extremes",
        "sums12_extremes",
        "reference",
        _SUMS + _RAILS,
        12,
        ("viper_extremes", "sums_extremes"),
        ("thumb_extremes", "extremes12_asm", _PLAIN),
    ),
    Kernel(
        "sums_lut",
        "sums_lut",
        "reference",
        _LUT,
        12,
        ("viper_extremes", "sums_lut"),
        ("thumb_sums_lut", "sums_lut_asm", "at shape lut acc"),
    ),
    Kernel(
        "sums_lut_extremes",
        "sums_lut_extremes",
        "reference",
        _LUT + _RAILS,
        12,
        ("viper_extremes", "sums_lut_extremes"),
        ("thumb_lut", "lut_extremes_asm", "at shape lut acc"),
    ),
    Kernel(
        "sums16",
        "sums",
        "reference",
        _SUMS,
        16,
        ("viper", "sums"),
        ("thumb_sums", "sums_asm", _PLAIN),
    ),
    Kernel(
        "sums16_extremes",
        "sums_extremes",
        "reference",
        _SUMS + _RAILS,
        16,
        ("viper_extremes", "sums_extremes"),
        ("thumb_extremes16", "extremes16_asm", _PLAIN),
    ),
    Kernel(
        "linearise",
        "linearise",
        "reference",
        "buf first n stride lut",
        12,
        ("viper", "linearise"),
        ("thumb_filter", "linearise_asm", "at shape lut"),
    ),
    Kernel(
        "cross",
        "cross",
        "reference",
        "buf first first_b n stride out",
        16,
        ("viper", "cross"),
        ("thumb_filter", "cross_asm", "at shape delta out"),
    ),
    Kernel(
        "moments",
        "moments",
        "reference_block",
        "buf first n stride bias mom",
        12,
        ("viper_moments", "moments"),
    ),
    Kernel(
        "moments16",
        "moments",
        "reference_block",
        "buf first n stride bias mom",
        16,
        ("viper_moments", "moments"),
    ),
    Kernel(
        "velocity",
        "velocity",
        "reference_filter",
        _FILTER + " acc",
        16,
        ("viper_velocity", "velocity"),
        ("thumb_velocity", "velocity_asm", "at shape state acc"),
    ),
    Kernel(
        "biquad",
        "biquad",
        "reference_filter",
        _FILTER,
        16,
        ("viper_filter", "biquad"),
        ("thumb_filter", "biquad_asm", "at shape coef+4 state"),
    ),
    Kernel(
        "goertzel",
        "goertzel",
        "reference_filter",
        _FILTER,
        12,
        ("viper_filter", "goertzel"),
        ("thumb_filter", "goertzel_asm", "at shape coef state"),
    ),
    Kernel(
        "stuff", "stuff", "reference_block", "src n dst zero mask", 8, ("viper_stuff", "stuff")
    ),
)

# Label, form, layout: cycles per sample at most.
LIMITS = {
    ("sums", "asm_thumb", "contiguous"): 4.5,
    ("sums", "asm_thumb", "slot of 4"): 6.5,
    ("sums_lut", "asm_thumb", "contiguous"): 8.0,
    ("sums_extremes", "asm_thumb", "contiguous"): 9.0,
    ("sums_extremes", "asm_thumb", "slot of 4"): 9.0,
    ("velocity", "asm_thumb", "contiguous"): 60.0,
    ("sums", "viper", "contiguous"): 21.0,
}
FIRMWARE_LIMITS = {("sums", "viper", "contiguous"): 17.0}
WINDOW_LIMIT_CYCLES = 6000
MOST_SAMPLES = 8400  # 2,048 in a slot of 4, and some
STRIDES = {"contiguous": 1, "slot of 4": 4}


def _typical(i: int, bits: int, noise: random.Random) -> int:
    middle = 1 << (bits - 1)
    value = middle + 0.73 * middle * math.sin(i * 0.0613) + noise.gauss(0, middle / 64)
    return min((1 << bits) - 1, max(0, round(value)))


_SHAPES: dict[str, Callable[[int, int, random.Random], int]] = {
    "typical": _typical,
    "random": lambda i, bits, noise: noise.getrandbits(bits),
    "full scale": lambda i, bits, noise: (1 << bits) - 1,
    "zero": lambda i, bits, noise: 0,
    "extreme": lambda i, bits, noise: noise.choice((0, (1 << bits) - 1)),
    "clipped": lambda i, bits, noise: min(
        (1 << bits) - 1, max(0, _typical(i, bits, noise) * 3 - (2 << (bits - 1)))
    ),
}
SHAPES = tuple(_SHAPES)


@functools.cache
def _shaped(shape: str, bits: int) -> array[int]:
    noise = random.Random(f"{shape} {bits}")
    make = _SHAPES[shape]
    return array("H", [make(i, bits, noise) for i in range(MOST_SAMPLES)])


def samples(shape: str, bits: int, count: int) -> array[int]:
    """An input by name, the same at each call, at most `MOST_SAMPLES`."""
    return _shaped(shape, bits)[:count]


def inputs(
    kernel: Kernel, shape: str, n: int, stride: int, first: int = 0, start: str = "empty"
) -> dict[str, Any]:
    """Public arguments by name for one call over n samples.

    `start` is `empty`, or `carry`: sums that stand just below a carry into the upper word.
    """
    design = reference_module("design")
    buf = samples(shape, min(kernel.bits, 16), first + n * stride + 8)
    acc = array("I", [0, 0, 0, 0, 0xFFFF, 0, 0, 0])
    out = array("I", [0, 0, 0, 0])
    mom = array("I", bytes(32))
    if start == "carry":
        acc = array("I", [0xFFFFFFF0, 0, 0xFFFFFFFF, 1, 900, 3000, 0xFFFF, 7])
        out = array("I", [0xFFFFFFFE, 3, 5, 0])
        mom = array("I", [0xFFFFFFFF, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0, 9])
    named: dict[str, Any] = {
        "buf": buf,
        "first": first,
        "first_b": first + 1,
        "n": n,
        "stride": stride,
        "acc": acc,
        "out": out,
        "mom": mom,
        "bias": BIAS_12 if kernel.bits == 12 else BIAS_16,
        "rail_lo": 0,
        "rail_hi": (1 << kernel.bits) - 1,
        # Rises by four a code, with a step as the converters have them.
        "lut": array("H", [min(16383, 4 * i + (3 if i > 512 else 0)) for i in range(4096)]),
        "src": bytes(x & 0xFF for x in buf[:n]),
        "dst": bytearray(2 * n),
        "zero": 0,
        "mask": 1,
    }
    if kernel.name == "velocity":
        velocity_design = reference_module("velocityfilter").velocity_design
        named["coef"] = array("i", velocity_design(3200)[0])
        named["state"] = array("i", bytes(4 * reference_module("words").VELOCITY_STATE_WORDS))
    elif kernel.name == "biquad":
        named["coef"] = array("i", design.biquad_design((("lowpass", 400, 0.7071),), 3200))
        named["state"] = array("i", bytes(24))
    elif kernel.name == "goertzel":
        named["coef"] = array("i", design.goertzel_design(50, 6400, max(n, 1), 4096))
        named["state"] = array("i", bytes(12))
    return named


def machine_arguments(
    kernel: Kernel, form: str, named: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Yields the arguments of a form's machine code: names, with an integer or a buffer.

    A name that ends in "+", with an integer, stands for that address within the buffer.
    """
    if form == "viper":
        for name in kernel.arguments.split():
            yield name, named[name]
        return
    assert kernel.thumb
    for name in kernel.thumb[2].split():
        if name == "at":
            yield "buf+", 2 * named["first"]
        elif name == "coef+4":
            yield "coef+", 4
        elif name == "shape":
            yield name, named["n"] << 5 | named["stride"]
        elif name == "delta":
            yield name, 2 * (named["first_b"] - named["first"])
        else:
            yield name, named[name]


def preset(kernel: Kernel, named: dict[str, Any]) -> None:
    """Puts into the buffers what the wrappers of thumb.py put there before they call."""
    if "rail_lo" in kernel.arguments:
        named["acc"][4] |= (named["rail_lo"] + 1 & 0xFFFF) << 16
        named["acc"][5] |= (named["rail_hi"] - 1 & 0xFFFF) << 16
    if kernel.name in _PRIVATE:
        named["state"][-1] = named["bias"]
    if kernel.name == "velocity":
        named["state"][-5:-1] = named["coef"]


def public(kernel: Kernel, name: str, values: Sequence[int]) -> Sequence[int]:
    """What of an argument, after a call, is the same in all forms."""
    private = _PRIVATE.get(kernel.name, 0) if name == "state" else 0
    return values[: len(values) - private]
