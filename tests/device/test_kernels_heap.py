"""No kernel allocates: each is called with the heap locked, which MicroPython then refuses.

CPython has no such lock; there the same calls only prove that they are legal and complete.
"""

import sys
from array import array

from clampdevice import kernels

if sys.implementation.name == "micropython":
    micropython = __import__("micropython")
    lock = micropython.heap_lock
    unlock = micropython.heap_unlock
else:
    lock = unlock = list

N = 256
# Read out once a window or designed once at start: these may allocate.
MAY_ALLOCATE = (
    "biquad_design",
    "fft_amplitude",
    "fft_table",
    "goertzel_amplitude",
    "goertzel_design",
    "isqrt",
    "read_acc",
    "read_moments",
    "velocity_design",
)


LOCKED = (
    "biquad",
    "clear_acc",
    "cross",
    "fft",
    "goertzel",
    "linearise",
    "moments",
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
)


def test_no_kernel_allocates():
    buf = array("H", [(i * 37) % 4096 for i in range(4 * N + 4)])
    acc = array("I", [0] * kernels.ACC_WORDS)
    lut = array("H", [4 * i for i in range(4096)])
    words = array("I", [0] * 8)
    source = bytes(range(256))
    target = bytearray(600)
    velocity = array("i", kernels.velocity_design(3200)[0])
    biquad = array("i", kernels.biquad_design((("lowpass", 400, 0.7),), 3200))
    goertzel = array("i", kernels.goertzel_design(50, 6400, N, 2048))
    state = array("i", [0] * 8)
    filter_state = array("i", [0] * 8)
    resonator = array("i", [0] * 3)
    table = kernels.fft_table(N)
    work = array("i", [0] * N)
    out = array("I", [0] * (N // 2 + 1))
    step = 0
    for name in LOCKED:
        getattr(kernels, name)  # loaded before, as everybody does who samples
    # Written out, because a call with *arguments would allocate itself.
    lock()
    try:
        kernels.biquad(buf, 0, N, 1, 2048, biquad, filter_state)
        step += 1
        kernels.clear_acc(acc)
        step += 1
        kernels.cross(buf, 0, 1, N, 4, words)
        step += 1
        kernels.fft(buf, 0, N, 1, 2048, 1, table, work, out)
        step += 1
        kernels.goertzel(buf, 0, N, 1, 2048, goertzel, resonator)
        step += 1
        kernels.linearise(buf, 0, 0, 1, lut)
        step += 1
        kernels.moments(buf, 1, N, 1, 2048, words)
        step += 1
        kernels.rms12(buf, N, 8)
        step += 1
        kernels.rms_q(acc, 8)
        step += 1
        kernels.stuff(source, 256, target, 0, 1)
        step += 1
        kernels.sums(buf, 1, N, 4, acc)
        step += 1
        kernels.sums12(buf, 1, N, 1, acc)
        step += 1
        kernels.sums12_extremes(buf, 1, N, 4, acc, 0, 4095)
        step += 1
        kernels.sums_extremes(buf, 1, N, 4, acc, 0, 65535)
        step += 1
        kernels.sums_lut(buf, 1, N, 4, lut, acc)
        step += 1
        kernels.sums_lut_extremes(buf, 1, N, 4, lut, acc, 0, 4095)
        step += 1
        kernels.velocity(buf, 0, N, 1, 2048, velocity, state, acc)
        step += 1
    except MemoryError:
        unlock()
        raise AssertionError(LOCKED[step] + " allocates")
    unlock()
    assert step == len(LOCKED)


def test_the_lock_is_real():
    if sys.implementation.name == "micropython":
        lock()
        try:
            bytearray(10)
        except MemoryError:
            held = True
        else:
            held = False
        unlock()
        assert held


def test_every_kernel_is_in_the_list():
    named = [name for name in kernels.__all__ if name.upper() != name]
    for line in kernels.PLACES.split("\n"):
        named += [name for name in line.split()[1:] if name.upper() != name]
    assert sorted(set(named)) == sorted(LOCKED + MAY_ALLOCATE)
