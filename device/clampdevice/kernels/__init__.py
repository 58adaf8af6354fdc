"""Block kernels: one signature each, the best form for this chip chosen once, at import.

`FORM` names it: `reference` (CPython, or MicroPython without native code), `viper` (any
MicroPython with native code), `asm_thumb` (RP2040 and RP2350, viper where assembler would gain
little). The modules stay importable by name for tests and benchmarks; everybody else takes the
functions from here. reference.py says what the arguments are.
"""

import sys

from .design import (
    GOERTZEL_COEF_WORDS,
    VELOCITY_COEF_WORDS,
    VELOCITY_FRAC_BITS,
    biquad_design,
    fft_amplitude,
    fft_table,
    goertzel_amplitude,
    goertzel_design,
    velocity_design,
)
from .words import (
    ACC_WORDS,
    BIQUAD_COEF_WORDS,
    BIQUAD_STATE_WORDS,
    CROSS_WORDS,
    GOERTZEL_STATE_WORDS,
    MOM_WORDS,
    VELOCITY_STATE_WORDS,
    clear_acc,
    isqrt,
    read_acc,
    read_moments,
)

# Architecture of native code, MicroPython's numbers: 4 is ARMv6-M, 5 to 8 are ARMv7-M and later.
# Asked first, because compiling the assembler in vain would cost a large part of a small heap.
_ARCH = (getattr(sys.implementation, "_mpy", 0) >> 10) & 0xF

try:
    from .viper_block import moments, stuff, velocity
    from .viper_fft import fft

    FORM = "viper"
except (ImportError, SyntaxError):
    # CPython has no module micropython; a MicroPython without native code refuses the decorator.
    # Anything else wrong in these files shows as FORM: the tests insist on it.
    from .reference_block import moments, stuff
    from .reference_fft import fft
    from .reference_filter import velocity

    FORM = "reference"

if FORM == "viper" and 4 <= _ARCH <= 8:
    try:
        from .thumb import (
            biquad,
            cross,
            goertzel,
            linearise,
            rms12,
            rms_q,
            sums,
            sums12,
            sums12_extremes,
            sums_extremes,
            sums_lut,
            sums_lut_extremes,
        )

        FORM = "asm_thumb"
    except SyntaxError:  # built without inline assembler
        pass

if FORM == "viper":
    from .viper import cross, linearise, sums, sums12
    from .viper_extremes import sums_extremes, sums_lut, sums_lut_extremes
    from .viper_filter import biquad, goertzel
    from .viper_root import rms12, rms_q

    sums12_extremes = sums_extremes
elif FORM == "reference":
    from .reference import (
        cross,
        linearise,
        rms12,
        rms_q,
        sums,
        sums12,
        sums12_extremes,
        sums_extremes,
        sums_lut,
        sums_lut_extremes,
    )
    from .reference_filter import biquad, goertzel

__all__ = (
    "ACC_WORDS",
    "BIQUAD_COEF_WORDS",
    "BIQUAD_STATE_WORDS",
    "CROSS_WORDS",
    "FORM",
    "GOERTZEL_COEF_WORDS",
    "GOERTZEL_STATE_WORDS",
    "MOM_WORDS",
    "VELOCITY_COEF_WORDS",
    "VELOCITY_FRAC_BITS",
    "VELOCITY_STATE_WORDS",
    "biquad",
    "biquad_design",
    "clear_acc",
    "cross",
    "fft",
    "fft_amplitude",
    "fft_table",
    "goertzel",
    "goertzel_amplitude",
    "goertzel_design",
    "isqrt",
    "linearise",
    "moments",
    "read_acc",
    "read_moments",
    "rms12",
    "rms_q",
    "stuff",
    "sums",
    "sums12",
    "sums12_extremes",
    "sums_extremes",
    "sums_lut",
    "sums_lut_extremes",
    "velocity",
    "velocity_design",
)
