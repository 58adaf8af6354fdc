"""Block kernels: one signature each, the best form for this chip chosen once, at import.

`FORM` names it: `reference` (CPython, or MicroPython without native code), `viper` (any
MicroPython with native code), `asm_thumb` (RP2040 and RP2350, viper where assembler would gain
little). reference.py says what the arguments are. Everybody takes the functions from here; the
modules stay importable by name for tests and benchmarks.

A kernel is loaded when its name is first asked for, since the chips compile viper and assembler
from source and a board uses a few of them. So who needs one in a block takes it in the
constructor, before anything samples.
"""

import sys

from .words import ACC_WORDS, LUT_FRAC_BITS, VELOCITY_STATE_WORDS, clear_acc, isqrt, read_acc

# Architecture of native code, MicroPython's numbers: 4 is ARMv6-M, 5 to 8 are ARMv7-M and later.
# Asked first, because compiling the assembler in vain would cost a large part of a small heap.
_ARCH = (getattr(sys.implementation, "_mpy", 0) >> 10) & 0xF

try:
    from .viper_stuff import stuff

    FORM = "viper"
except (ImportError, SyntaxError):
    # CPython has no module micropython; a MicroPython without native code refuses the decorator.
    # Anything else wrong in that file shows as FORM: the tests insist on it.
    from .reference_block import stuff

    FORM = "reference"

if FORM == "viper" and 4 <= _ARCH <= 8:
    try:
        from . import thumb  # noqa: F401 - shows whether there is assembler

        FORM = "asm_thumb"
    except SyntaxError:  # built without inline assembler
        pass

# What is loaded at its first use: a module a line, and its names.
if FORM == "reference":
    PLACES = """\
reference cross linearise rms12 rms_q sums sums12 sums12_extremes sums_extremes
reference sums_lut sums_lut_extremes
reference_block moments
reference_fft fft
reference_filter biquad goertzel velocity
"""
else:
    PLACES = """\
viper_moments moments
viper_fft fft
"""
if FORM == "viper":
    PLACES += """\
viper cross linearise sums sums12
viper_extremes sums12_extremes sums_extremes sums_lut sums_lut_extremes
viper_filter biquad goertzel
viper_velocity velocity
viper_root rms12 rms_q
"""
elif FORM == "asm_thumb":
    PLACES += """\
thumb rms12 rms_q sums_lut sums_lut_extremes
thumb_codes sums sums_extremes
thumb_codes12 sums12 sums12_extremes
thumb_mains biquad cross goertzel linearise
thumb_velocity velocity
"""
PLACES += """\
design BIQUAD_COEF_WORDS BIQUAD_STATE_WORDS CROSS_WORDS GOERTZEL_COEF_WORDS GOERTZEL_STATE_WORDS
design MOM_WORDS biquad_design fft_amplitude fft_table goertzel_amplitude goertzel_design
design read_moments
velocityfilter VELOCITY_COEF_WORDS VELOCITY_FRAC_BITS velocity_design
"""

ONCE = ("velocityfilter",)  # modules that leave with who borrows them

__all__ = (
    "ACC_WORDS",
    "FORM",
    "LUT_FRAC_BITS",
    "PLACES",
    "VELOCITY_STATE_WORDS",
    "clear_acc",
    "isqrt",
    "read_acc",
    "stuff",
)


def __getattr__(name: str):  # noqa: ANN202 - a function, or a number of words
    """Loads the module that has `name`, and keeps what it has of it unless it serves once."""
    for line in PLACES.split("\n"):
        words = line.split()
        if name in words[1:]:
            module = __import__(__name__ + "." + words[0], None, None, (name,))
            found = getattr(module, name)
            if words[0] not in ONCE:
                globals()[name] = found
            return found
    raise AttributeError("clampdevice.kernels has no " + name)
