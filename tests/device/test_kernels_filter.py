"""Filters against their formulas: velocity 1/(2 pi f), biquad gains, Goertzel amplitudes."""

import math
from array import array

from clampdevice import kernels

ZERO = 32768


def sine(rate_hz, frequency_hz, amplitude, count, zero=ZERO, start=0):
    """Samples of a sine in whole LSB, offset binary."""
    found = array("H", bytes(2 * count))
    w = 2 * math.pi * frequency_hz / rate_hz
    for i in range(count):
        found[i] = int(zero + amplitude * math.sin(w * (start + i) + 0.3) + 0.5)
    return found


def empty():
    acc = array("I", [0] * kernels.ACC_WORDS)
    kernels.clear_acc(acc)
    return acc


class Velocity:
    """The filter with its state, in mm/s for 1 g per LSB."""

    def __init__(self, rate_hz):  # noqa: ANN204
        self.rate_hz = rate_hz
        coef, self.scale = kernels.velocity_design(rate_hz)
        assert len(coef) == kernels.VELOCITY_COEF_WORDS
        self.coef = array("i", coef)
        self.state = array("i", [0] * kernels.VELOCITY_STATE_WORDS)

    def rms(self, buf, first, n, stride=1):
        acc = empty()
        kernels.velocity(buf, first, n, stride, ZERO, self.coef, self.state, acc)
        assert acc[7] == n
        s, q, n = kernels.read_acc(acc)
        assert s == 0
        return math.sqrt(q / n) * self.scale

    def of_sine(self, frequency_hz, amplitude, from_s, to_s):
        """RMS from one second to another of a sine, in blocks as a sampler brings them."""
        step = int(self.rate_hz / 10)
        squares = count = 0
        for block in range(int(10 * to_s)):
            buf = sine(self.rate_hz, frequency_hz, amplitude, step, ZERO, block * step)
            rms = self.rms(buf, 0, step)
            if block >= 10 * from_s:
                squares += rms * rms
                count += 1
        return math.sqrt(squares / count)


def true_velocity(frequency_hz, amplitude):
    """RMS in mm/s of a sine of acceleration whose amplitude is in g."""
    return amplitude / math.sqrt(2) * 9806.65 / (2 * math.pi * frequency_hz)


def test_velocity_is_right_within_2_percent():
    for rate_hz in (800, 1600, 3200, 6400, 3187.5, 1000):
        for frequency_hz in (10, 12, 16, 25, 50, 100, 160, 250, 400, 640, 1000):
            if frequency_hz <= 0.4 * rate_hz:
                result = Velocity(rate_hz).of_sine(frequency_hz, 6000, 1, 2)
                error = result / true_velocity(frequency_hz, 6000) - 1
                limit = 0.01 if rate_hz >= 3000 else 0.02
                assert abs(error) < limit, (rate_hz, frequency_hz, error)


def test_velocity_of_a_few_lsb():
    """With 4 mg per LSB these are 0.06 to 1.6 mm/s; what is lost is the rounding to LSB."""
    for rate_hz, frequency_hz in ((3200, 10), (3200, 40), (3200, 100), (1600, 50), (6400, 160)):
        for amplitude in (16, 20, 27):
            found = Velocity(rate_hz).of_sine(frequency_hz, amplitude, 1, 3)
            error = found / true_velocity(frequency_hz, amplitude) - 1
            assert abs(error) < 0.03, (rate_hz, frequency_hz, amplitude, error)


def test_velocity_keeps_its_range():
    """Full scale at the corner, and a square wave of full scale."""
    for rate_hz in (800, 3200, 6400):
        found = Velocity(rate_hz).of_sine(16, 32700, 1, 2)
        assert abs(found / true_velocity(16, 32700) - 1) < 0.02, (rate_hz, found)
        square = Velocity(rate_hz)
        half = rate_hz // 12  # of a period of 6 Hz
        low = array("H", [0] * half)
        high = array("H", [65535] * half)
        first = second = 0.0
        for _ in range(18):
            first = square.rms(low, 0, half)
            second = square.rms(high, 0, half)
        # The fundamental of a square wave of amplitude A is 4 A / pi; the gain at the corner of
        # a 4th-order Butterworth is 0.71, all harmonics together add less than 10 %.
        wanted = true_velocity(6, 32768 * 4 / math.pi) * math.sqrt(0.5)
        assert 0.9 < math.sqrt((first * first + second * second) / 2) / wanted < 1.15, rate_hz


def test_velocity_in_blocks_and_slots_is_the_same():
    buf = sine(3200, 80, 3000, 1500)
    whole = Velocity(3200)
    wanted = [whole.rms(buf, 0, 500), whole.rms(buf, 500, 1), whole.rms(buf, 501, 400)]
    slotted = array("H", bytes(2 * 3 * 1500))
    for i in range(1500):
        slotted[3 * i + 1] = buf[i]
    parts = Velocity(3200)
    assert [
        parts.rms(slotted, 1, 500, 3),
        parts.rms(slotted, 1501, 1, 3),
        parts.rms(slotted, 1504, 400, 3),
    ] == wanted
    assert list(parts.state) == list(whole.state)


def test_gravity_does_not_ring_at_start_and_a_step_settles():
    quiet = Velocity(3200)
    buf = sine(3200, 10, 0, 4000, ZERO + 256)
    assert quiet.rms(buf, 0, 4000) == 0
    # A step of 1 g at 256 LSB per g, what is left after 0.3, 0.5 and 1 s, in mm/s
    buf = sine(3200, 10, 0, 4800)
    assert quiet.rms(buf, 0, 320) > 10 * 256
    assert quiet.rms(buf, 320, 640) > 256
    assert quiet.rms(buf, 960, 640) < 1.0 * 256
    assert quiet.rms(buf, 1600, 1600) < 0.1 * 256
    assert quiet.rms(buf, 3200, 1600) == 0


def test_velocity_design_refuses_other_rates():
    for rate_hz in (0, 780, 6600, 26667):
        try:
            kernels.velocity_design(rate_hz)
        except ValueError as error:
            assert str(rate_hz) in str(error)
        else:
            raise AssertionError(rate_hz)


def filtered(sections, rate_hz, buf, bias=ZERO):
    coef = array("i", kernels.biquad_design(sections, rate_hz))
    state = array("i", [0] * (len(sections) * kernels.BIQUAD_STATE_WORDS))
    third = len(buf) // 3
    kernels.biquad(buf, 0, third, 1, bias, coef, state)
    kernels.biquad(buf, third, len(buf) - third, 1, bias, coef, state)
    return buf


def rms_of(buf, first):
    values = [buf[i] for i in range(first, len(buf))]
    mean = sum(values) / len(values)
    return math.sqrt(sum([(x - mean) ** 2 for x in values]) / len(values))


def analogue_gain(kind, f, f0, q, rate_hz):
    """Gain of the prototype at the bilinear transform's frequency."""
    x = math.tan(math.pi * f / rate_hz) / math.tan(math.pi * f0 / rate_hz)
    below = math.sqrt((1 - x * x) ** 2 + (x / q) ** 2)
    return {"lowpass": 1, "highpass": x * x, "bandpass": x / q}[kind] / below


def test_biquad_gains():
    rate_hz = 3200
    for kind, f0, q in (
        ("lowpass", 400, 0.7071),
        ("lowpass", 60, 1.2),
        ("highpass", 200, 0.7071),
        ("bandpass", 300, 2.0),
    ):
        for f in (40, 100, 300, 500, 900):
            buf = filtered(((kind, f0, q),), rate_hz, sine(rate_hz, f, 8000, 1600))
            wanted = 8000 / math.sqrt(2) * analogue_gain(kind, f, f0, q, rate_hz)
            assert abs(rms_of(buf, 800) - wanted) < 0.02 * wanted + 2, (kind, f0, f)


def test_biquad_chain_multiplies():
    buf = filtered(
        (("highpass", 100, 0.7071), ("lowpass", 500, 0.7071)), 3200, sine(3200, 200, 9000, 1600)
    )
    wanted = 9000 / math.sqrt(2)
    wanted *= analogue_gain("highpass", 200, 100, 0.7071, 3200)
    wanted *= analogue_gain("lowpass", 200, 500, 0.7071, 3200)
    assert abs(rms_of(buf, 800) - wanted) < 0.02 * wanted


def test_biquad_keeps_a_constant_exactly_and_clips():
    buf = filtered((("lowpass", 200, 0.7071),), 3200, sine(3200, 10, 0, 900, 40001))
    assert list(buf)[600:] == [40001] * 300
    buf = filtered((("highpass", 50, 0.7071),), 3200, sine(3200, 10, 0, 3000, 40001))
    assert sum(list(buf)[2000:]) == 1000 * ZERO
    step = array("H", [0] * 50 + [65535] * 50)
    filtered((("highpass", 50, 0.7071),), 3200, step)
    assert min(step) >= 0
    assert step[50] == 65535


def test_biquad_design_refuses_what_it_cannot():
    for sections, said in (
        ((("notch", 100, 1),), "notch"),
        ((("lowpass", 1, 1),), "1"),
        ((("lowpass", 1600, 1),), "1600"),
    ):
        try:
            kernels.biquad_design(sections, 3200)
        except ValueError as error:
            assert said in str(error)
        else:
            raise AssertionError(sections)


def goertzel_of(buf, frequency_hz, rate_hz, n, peak, bias, blocks=(0.3, 0.7)):
    coef = kernels.goertzel_design(frequency_hz, rate_hz, n, peak)
    assert len(coef) == kernels.GOERTZEL_COEF_WORDS
    words = array("i", coef)
    state = array("i", [0] * kernels.GOERTZEL_STATE_WORDS)
    cut = int(n * blocks[0])
    kernels.goertzel(buf, 0, cut, 1, bias, words, state)
    kernels.goertzel(buf, cut, n - cut, 1, bias, words, state)
    return kernels.goertzel_amplitude(coef, state, n)


def dft_amplitude(buf, frequency_hz, rate_hz, n):
    w = 2 * math.pi * frequency_hz / rate_hz
    re = sum([buf[i] * math.cos(w * i) for i in range(n)])
    im = sum([buf[i] * math.sin(w * i) for i in range(n)])
    return 2 * math.sqrt(re * re + im * im) / n


def test_goertzel_finds_the_harmonics_of_the_mains():
    rate_hz, n = 6400, 1280
    harmonics = ((1, 1500.0), (3, 200.0), (5, 80.0), (11, 20.0), (15, 10.0))
    buf = array("H", bytes(2 * n))
    for i in range(n):
        x = 2048.5
        for k, amplitude in harmonics:
            x += amplitude * math.sin(2 * math.pi * 50 * k * i / rate_hz + k)
        buf[i] = int(x)
    for k in range(1, 16):
        found = goertzel_of(buf, 50 * k, rate_hz, n, 2048, 2048)
        wanted = dft_amplitude(buf, 50 * k, rate_hz, n)
        # what is not there shows as up to 0.02 % of the largest component
        assert abs(found - wanted) < 0.001 * wanted + 2e-4 * 1500, (k, found, wanted)
    for k, wanted in harmonics:
        assert abs(goertzel_of(buf, 50 * k, rate_hz, n, 2048, 2048) - wanted) < 0.3, k


def test_goertzel_over_the_whole_band():
    for rate_hz, n, amplitude, zero in ((6400, 1280, 1900, 2048), (3200, 640, 30000, ZERO)):
        for k in (2, 7, 40, n // 4, 5 * n // 16, 7 * n // 20):
            f = k * rate_hz / n
            buf = sine(rate_hz, f, amplitude, n, zero)
            found = goertzel_of(buf, f, rate_hz, n, zero, zero)
            assert abs(found / amplitude - 1) < 0.002, (rate_hz, f, found)


def test_goertzel_design_refuses_what_would_wrap():
    for arguments, said in (
        ((5, 6400, 1280), "5"),
        ((50, 6400, 5000), "at most"),
        ((6400, 6400, 9), "6400"),
    ):
        try:
            kernels.goertzel_design(*arguments)
        except ValueError as error:
            assert said in str(error)
        else:
            raise AssertionError(arguments)
