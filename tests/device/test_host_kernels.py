"""The kernels' machine code for ARMv6-M on the emulated core, and properties over many inputs.

Here 32 bits are 32 bits: viper integers have 64 on the PC, so what wraps shows only in this file.
"""

import json
import math
from array import array
from collections.abc import Callable
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clampdevice import kernels
from clampdevice.kernels import design, velocityfilter
from clamptools import kernelbench as bench
from clamptools import kernelcases as cases
from clamptools.kernelgate import KernelGateError, M0Core, NativeFunction, read_mpy

FORMS = bench.Forms()
CORE = M0Core()
CODE = [
    (kernel, form, function)
    for kernel in cases.KERNELS
    for form, function in FORMS.of(kernel).items()
]
STARTS = ("empty", "carry")
IDS = [f"{kernel.label}-{form}" for kernel, form, _ in CODE]


@pytest.mark.parametrize(("kernel", "form", "function"), CODE, ids=IDS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_machine_code_on_any_samples(
    kernel: cases.Kernel, form: str, function: NativeFunction, data: st.DataObject
) -> None:
    n = data.draw(st.integers(0, 70), label="n")
    stride = data.draw(st.integers(1, 7), label="stride")
    first = data.draw(st.integers(0, 5), label="first")
    named = cases.inputs(kernel, "zero", n, stride, first, data.draw(st.sampled_from(STARTS)))
    top = (1 << kernel.bits) - 1
    edge = st.sampled_from((0, 1, top // 2, top // 2 + 1, top - 1, top))
    for i in range(first, len(named["buf"])):
        named["buf"][i] = data.draw(st.integers(0, top) | edge)
    named["src"] = bytes(x & 0xFF for x in named["buf"][:n])
    if "rail_lo" in kernel.arguments:
        named["rail_lo"] = data.draw(st.integers(-1, top - 1), label="rail_lo")
        named["rail_hi"] = data.draw(st.integers(1, top + 1), label="rail_hi")
    expected = deepcopy(named)
    wanted = bench.reference_call(kernel, expected)
    got, _ = bench.call(CORE, kernel, form, function, named)
    if wanted is not None:
        assert got == wanted
    for name in cases.MUTABLE:
        if name in kernel.arguments.split():
            mine = cases.public(kernel, name, named[name])
            assert mine == cases.public(kernel, name, expected[name]), name


def spread(n: int, top: int) -> st.SearchStrategy[tuple[int, int]]:
    """S and Q of n samples with two values."""
    return st.builds(
        lambda k, a, b: (k * a + (n - k) * b, k * a * a + (n - k) * b * b),
        st.integers(0, n),
        st.integers(0, top),
        st.integers(0, top),
    )


def words_of(s: int, q: int, n: int) -> array:
    return array("I", [s & 0xFFFFFFFF, s >> 32, q & 0xFFFFFFFF, q >> 32, 0, 0, 0, n])


@pytest.mark.parametrize("form", ["asm_thumb", "viper"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_root_on_the_core_is_the_nearest(form: str, data: st.DataObject) -> None:
    top, most = data.draw(st.sampled_from(((65535, 65536), (4095, 1 << 20))))
    n = data.draw(st.integers(1, most) | st.sampled_from((1, 2, 1023, 1024, 1280, most)))
    s, q = data.draw(spread(n, top))
    frac_bits = data.draw(st.integers(0, 14))
    CORE.clear()
    at = CORE.put(words_of(s, q, n))
    if form == "asm_thumb":
        result = CORE.call(FORMS.module("thumb_root")["rms12"], at, 0, frac_bits).result
    else:
        result = CORE.call(FORMS.module("viper_root")["rms_q"], at, frac_bits).result
    assert result == kernels.rms_q(words_of(s, q, n), frac_bits)
    scaled = (n * q - s * s) << 60
    wanted = math.isqrt(scaled) / n * 2.0 ** (frac_bits - 30)
    assert abs(result - wanted) <= 0.5 + wanted * 2**-29 + 2**-15


@given(st.integers(0, (1 << 64) - 1) | st.integers(0, (1 << 32) - 1).map(lambda x: x * x))
def test_isqrt_is_pythons(x: int) -> None:
    assert kernels.isqrt(x) == math.isqrt(x)


def test_all_is_exact_and_within_its_cycles(
    capsys: pytest.CaptureFixture[str], report_line: Callable[[str], None]
) -> None:
    """Every form against the reference on six kinds of input, as the bench says."""
    result = bench.run(json=True)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said == result
    rows = {(row["kernel"], row["form"], row["layout"]): row for row in said["kernels"]}
    for row in rows.values():
        assert row["exact"], row
    for key, limit in cases.LIMITS.items():
        row = rows[key]
        assert row["limit"] == limit
        assert row["cycles_per_sample"] <= limit, key
        report_line(f"{' '.join(key)}: {row['cycles_per_sample']} cycles per sample")
    window = rows["rms_window", "asm_thumb", "contiguous, 1024 to RMS"]
    assert window["cycles"] <= cases.WINDOW_LIMIT_CYCLES
    report_line(f"1,024 samples to RMS in assembler: {window['cycles']} cycles")
    anchors = {row["name"]: row["cycles_per_sample"] for row in said["anchors"]}
    sums = rows["sums", "asm_thumb", "contiguous"]["cycles_per_sample"]
    assert anchors["hand-written C, blocks of 256, gcc -O3"] / sums > 2
    assert {row["kind"] for row in said["anchors"]} == {"measured", "published"}
    assert said["met"]


def test_every_kernel_of_the_package_is_measured() -> None:
    measured = {kernel.name for kernel in cases.KERNELS} | {"rms12", "rms_q", "fft"}
    helpers = {"clear_acc", "read_acc", "read_moments", "isqrt"}
    lazy = [name for line in kernels.PLACES.splitlines() for name in line.split()[1:]]
    functions = {name for name in [*kernels.__all__, *lazy] if not name.isupper()}
    designs = {name for name in functions if name in vars(design) | vars(velocityfilter)}
    assert functions - helpers - designs == measured


def test_a_wrong_kernel_is_found() -> None:
    """One wrong instruction in the middle of the sums, one register not restored, one astray."""
    kernel, form, function = CODE[0]
    assert (kernel.label, form) == ("sums", "asm_thumb")
    middle = function.code.index(bytes.fromhex("4943"))  # mul r1, r1
    broken = function.code[:middle] + bytes.fromhex("5143") + function.code[middle + 2 :]
    assert bench.differences(CORE, kernel, form, NativeFunction("broken", form, broken))
    careless = bytes.fromhex("88467047")  # mov r8, r1; bx lr
    with pytest.raises(KernelGateError, match="does not restore"):
        CORE.call(NativeFunction("careless", "asm_thumb", careless), 0, 1)
    astray = bytes.fromhex("0020c04300687047")  # ldr r0 from the last byte of all
    with pytest.raises(KernelGateError, match="astray"):
        CORE.call(NativeFunction("astray", "asm_thumb", astray))
    outward = FORMS.module("viper")["sums"].code.replace(bytes.fromhex("fb68"), b"\xbb\x69")
    with pytest.raises(KernelGateError, match="calls into MicroPython"):
        CORE.call(NativeFunction("outward", "viper", outward), 0, 0, 0, 1, 0)
    with pytest.raises(KernelGateError, match="of format 6"):
        read_mpy(b"M\x05\x00\x1f")


def _impulse_responses(rate_hz: float, count: int) -> list[tuple[float, ...]]:
    """Responses of the velocity filter's inner values to one sample of 1, in floats."""
    coef, _ = kernels.velocity_design(rate_hz)
    f, q1, q2 = coef[0] / 2048, coef[1] / 256, coef[2] / 256
    lp1 = bp1 = lp2 = bp2 = 0.0
    found = []
    for i in range(count):
        lp1 += f * bp1
        inner1 = lp1 + q1 * bp1
        hp1 = (i == 0) - inner1
        bp1 += f * hp1
        lp2 += f * bp2
        inner2 = lp2 + q2 * bp2
        hp2 = hp1 - inner2
        bp2 += f * hp2
        found.append((lp1, bp1, lp2, bp2, inner1, inner2, hp1, hp2))
    return found


@pytest.mark.parametrize("rate_hz", [784, 800, 1600, 3187.5, 3200, 6400, 6528])
def test_no_input_overflows_the_velocity_filter(rate_hz: float) -> None:
    """The sum of the absolute impulse response bounds what any input of 32768 can reach."""
    responses = _impulse_responses(rate_hz, int(3 * rate_hz))
    bounds = [32768 * sum(abs(row[i]) for row in responses) for i in range(8)]
    lp1, bp1, lp2, bp2, inner1, inner2, hp1, hp2 = bounds
    f, q1, q2, b1 = kernels.velocity_design(rate_hz)[0]
    limit = 2**31 * 0.98  # what is left covers the roundings
    for value, bits in ((lp1, 14), (bp1, 15), (lp2, 14), (bp2, 15), (inner1, 14), (inner2, 14)):
        assert value * 2**bits < limit
    assert f * hp1 * 2**4 < limit
    assert f * hp2 * 2**4 < limit
    assert f * bp1 * 2**6 < limit
    assert q1 * bp1 * 2**6 < limit
    assert q2 * bp2 * 2**6 < limit
    assert b1 * f * hp2 * 2**4 / 2**8 < limit
    assert (bp2 + b1 / 256 * f / 2048 * hp2) * 2**6 < 2**24  # |v| as the kernel splits it
