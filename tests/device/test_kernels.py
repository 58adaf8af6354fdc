"""Sums, extremes, tables, products and the root, against sums of Python's own integers."""

import math
import sys
from array import array

from clampdevice import kernels

RANDOM_A, RANDOM_M = 1664525, 1 << 32


def noise(count, bits, seed=1):
    """Samples of a linear congruential generator, the same on both interpreters."""
    found = array("H", bytes(2 * count))
    for i in range(count):
        seed = (seed * RANDOM_A + 1013904223) % RANDOM_M
        found[i] = seed >> (32 - bits)
    return found


def patterns(count, bits):
    """Inputs by name: random, full scale, zero, alternating extremes, a sine with clipping."""
    top = (1 << bits) - 1
    sine = array("H", bytes(2 * count))
    for i in range(count):
        sine[i] = min(top, max(0, int(top * (0.5 + 0.7 * math.sin(i * 0.06)))))
    return (
        ("random", noise(count, bits)),
        ("full", full(count, top)),
        ("zero", array("H", bytes(2 * count))),
        ("extremes", array("H", [top * (x & 1) for x in noise(count, 8)])),
        ("sine", sine),
    )


def full(count, top):
    found = array("H", bytes(2 * count))
    for i in range(count):
        found[i] = top
    return found


def picked(buf, first, n, stride):
    """The samples a kernel means."""
    return [buf[first + i * stride] for i in range(n)]


def empty():
    acc = array("I", [0] * kernels.ACC_WORDS)
    kernels.clear_acc(acc)
    return acc


LAYOUTS = (
    (0, 0, 1),
    (0, 1, 1),
    (1, 31, 1),
    (1, 33, 1),
    (3, 300, 1),
    (0, 257, 1),
    (2, 90, 4),
    (1, 33, 3),
)
# Loaded before there are buffers, as by everybody who samples: what a compiler leaves behind lies
# between them else.
for place in kernels.PLACES.split("\n"):
    for name in place.split()[1:]:
        getattr(kernels, name)
TABLE = array("H", [min(16383, 4 * i + (3 if i > 512 else 0)) for i in range(4096)])


def test_form_is_the_one_for_this_interpreter():
    if sys.implementation.name == "micropython":
        assert kernels.FORM == "viper", kernels.FORM
    else:
        assert kernels.FORM == "reference"


def test_clear_and_read():
    acc = array("I", [7] * kernels.ACC_WORDS)
    kernels.clear_acc(acc)
    assert list(acc) == [0, 0, 0, 0, 0xFFFF, 0, 0, 0]
    acc = array("I", [1, 2, 3, 4, 5, 6, 7, 8])
    assert kernels.read_acc(acc) == (2 << 32 | 1, 4 << 32 | 3, 8)


def check_sums(name, bits, table=None, rails=None):
    for _label, buf in patterns(400, bits):
        acc = empty()
        wanted_s = wanted_q = wanted_n = rail_count = 0
        seen = []
        for first, n, stride in LAYOUTS:
            arguments = [buf, first, n, stride]
            if table is not None:
                arguments.append(table)
            arguments.append(acc)
            getattr(kernels, name)(*(arguments + list(rails or ())))
            raw = picked(buf, first, n, stride)
            values = raw if table is None else [table[x] for x in raw]
            wanted_s += sum(values)
            wanted_q += sum([x * x for x in values])
            wanted_n += n
            seen += raw
            assert kernels.read_acc(acc) == (wanted_s, wanted_q, wanted_n), (name, _label)
            if rails:
                rail_count = len([x for x in seen if x <= rails[0] or x >= rails[1]])
                wanted = [min(seen), max(seen), rail_count] if seen else [0xFFFF, 0, 0]
                assert list(acc)[4:7] == wanted, (name, _label, n)
            else:
                assert list(acc)[4:7] == [0xFFFF, 0, 0]


def test_sums_of_16_bit_samples():
    check_sums("sums", 16)


def test_sums_of_12_bit_samples():
    check_sums("sums12", 12)
    check_sums("sums", 12)


def test_sums_through_a_table():
    check_sums("sums_lut", 12, TABLE)


def test_extremes_and_rails():
    for rails in ((0, 65535), (100, 60000), (-1, 65536), (40000, 41000)):
        check_sums("sums_extremes", 16, None, rails)
    for rails in ((0, 4095), (-1, 65536), (3, 4000), (2000, 2100)):
        check_sums("sums12_extremes", 12, None, rails)
        check_sums("sums_lut_extremes", 12, TABLE, rails)


def test_sums_pass_the_32nd_bit_and_a_block_of_the_compiled_forms():
    buf = full(20000, 65535)
    acc = empty()
    kernels.sums(buf, 0, 20000, 1, acc)
    assert kernels.read_acc(acc) == (20000 * 65535, 20000 * 65535 * 65535, 20000)
    acc = array("I", [0xFFFFFFFF, 0, 0xFFFFFFFF, 0xFFFFFFF0, 0, 0, 0, 0])
    kernels.sums(buf, 0, 3, 1, acc)
    assert kernels.read_acc(acc)[:2] == (
        0xFFFFFFFF + 3 * 65535,
        (0xFFFFFFF0 << 32 | 0xFFFFFFFF) + 3 * 65535**2,
    )
    for name in ("sums", "sums_extremes"):
        acc = array("I", [0xFFFFFFFF, 9, 0xFFFFFFFF, 9, 0, 0, 0xFFFF, 0])
        getattr(kernels, name)(buf, 0, 2, 1, acc, *((-1, 65535) if "ext" in name else ()))
        assert kernels.read_acc(acc)[0] == (9 << 32 | 0xFFFFFFFF) + 2 * 65535
        assert kernels.read_acc(acc)[1] == (9 << 32 | 0xFFFFFFFF) + 2 * 65535**2
        if "ext" in name:
            assert acc[6] == 0xFFFF + 2


def test_sums_of_a_view():
    buf = noise(100, 12)
    acc = empty()
    kernels.sums12(memoryview(buf)[3:], 1, 50, 1, acc)
    assert kernels.read_acc(acc)[0] == sum(picked(buf, 4, 50, 1))


def test_linearise_in_place():
    for first, n, stride in LAYOUTS:
        buf = noise(400, 12)
        before = list(buf)
        kernels.linearise(buf, first, n, stride, TABLE)
        for i in range(n):
            before[first + i * stride] = TABLE[before[first + i * stride]]
        assert list(buf) == before


def test_cross_product():
    for _label, buf in patterns(400, 16):
        out = array("I", [0xFFFFFFFF, 5, 7, 0])
        total, count = 5 << 32 | 0xFFFFFFFF, 7
        for n, stride in ((0, 4), (1, 4), (90, 4), (7, 2), (300, 1)):
            for a, b in ((0, 1), (3, 1), (2, 2)):
                kernels.cross(buf, a, b, n, stride, out)
                total += sum([buf[a + i * stride] * buf[b + i * stride] for i in range(n)])
                count += n
                assert out[0] | out[1] << 32 == total, (_label, n, stride)
                assert out[2] == count


def test_isqrt_at_its_steps():
    for root in (0, 1, 2, 3, 255, 256, 65535, 65536, 3037000499, 4294967294, 4294967295):
        assert kernels.isqrt(root * root) == root
        if root:
            assert kernels.isqrt(root * root - 1) == root - 1
        assert kernels.isqrt(root * root + 2 * root) == root
    for wrong in (-1, -(1 << 40)):
        try:
            kernels.isqrt(wrong)
        except ValueError as error:
            assert str(wrong) in str(error)
        else:
            raise AssertionError("no error for " + str(wrong))


def is_nearest(result, s, q, n, frac_bits):
    """Whether result is sqrt(Q/n - (S/n)**2) * 2**frac_bits to the nearest, by integers alone."""
    scaled = (n * q - s * s) << 2 * frac_bits + 2
    low = 2 * result - 1
    high = 2 * result + 1
    return (low < 0 or low * low * n * n <= scaled) and scaled <= high * high * n * n


def test_rms_is_the_nearest_number():
    for bits in (12, 16):
        for _label, buf in patterns(400, bits):
            for n in (1, 2, 3, 100, 255, 256, 257, 400):
                acc = empty()
                kernels.sums(buf, 0, n, 1, acc)
                s, q, _n = kernels.read_acc(acc)
                for frac_bits in (0, 1, 4):
                    result = kernels.rms_q(acc, frac_bits)
                    assert is_nearest(result, s, q, n, frac_bits), (_label, n, frac_bits, result)
                for frac_bits in (8, 14):
                    wanted = math.sqrt(n * q - s * s) * (1 << frac_bits) / n
                    result = kernels.rms_q(acc, frac_bits)
                    assert abs(result - wanted) <= 0.5 + wanted * 2**-30 + 1e-6, (_label, n)


def test_rms_of_nothing_and_of_a_constant_is_0():
    assert kernels.rms_q(empty(), 8) == 0
    acc = empty()
    kernels.sums(full(300, 65535), 0, 300, 1, acc)
    assert kernels.rms_q(acc, 14) == 0


def test_rms_of_long_windows():
    """The largest spread that the contract allows: half the samples at either end."""
    for n, top in ((65536, 65535), (1 << 20, 4095)):
        s = n // 2 * top
        q = n // 2 * top * top
        acc = array("I", [s & 0xFFFFFFFF, s >> 32, q & 0xFFFFFFFF, q >> 32, 0, 0, 0, n])
        assert kernels.rms_q(acc, 1) == top
        assert kernels.rms_q(acc, 14) == top << 13


def test_rms12_is_sums_and_root_in_one():
    for _label, buf in patterns(600, 12):
        for n in (1, 31, 64, 300, 513, 600):
            acc = empty()
            kernels.sums12(buf, 0, n, 1, acc)
            assert kernels.rms12(buf, n, 6) == kernels.rms_q(acc, 6), (_label, n)
            s, q, _n = kernels.read_acc(acc)
            assert is_nearest(kernels.rms12(buf, n, 6), s, q, n, 6)
