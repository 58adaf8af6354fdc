"""Block kernels: one signature each, the best form for this chip chosen once, at import.

`FORM` names it: `reference` (CPython, or MicroPython without native code), `viper` (any
MicroPython with native code), `thumb` (ARMv6-M and later). The modules stay importable by name
for tests and benchmarks; everybody else takes the functions from here.
"""

from .reference import (
    ACC_WORDS,
    CROSS_WORDS,
    MOM_WORDS,
    clear_acc,
    cross,
    isqrt,
    moments,
    read_acc,
    read_moments,
    rms_q,
    stuff,
    sums,
    sums12,
    sums_extremes,
)
from .reference_filter import (
    VELOCITY_COEF_WORDS,
    VELOCITY_FRAC_BITS,
    VELOCITY_STATE_WORDS,
    velocity,
    velocity_design,
)

FORM = "reference"

try:
    from .viper import cross, stuff, sums, sums12, sums_extremes
    from .viper_filter import moments, velocity

    FORM = "viper"
except (ImportError, SyntaxError):
    # CPython has no module micropython; a MicroPython without native code refuses the decorator
    pass

__all__ = (
    "ACC_WORDS",
    "CROSS_WORDS",
    "FORM",
    "MOM_WORDS",
    "VELOCITY_COEF_WORDS",
    "VELOCITY_FRAC_BITS",
    "VELOCITY_STATE_WORDS",
    "clear_acc",
    "cross",
    "isqrt",
    "moments",
    "read_acc",
    "read_moments",
    "rms_q",
    "stuff",
    "sums",
    "sums12",
    "sums_extremes",
    "velocity",
    "velocity_design",
)
