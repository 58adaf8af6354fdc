"""Windows and records in exact integers, against sums done the long way."""

from array import array

from clampdevice import kernels
from clampdevice.feature import step_for, without_noise
from clampdevice.window import FRAC_BITS, Window

ONE = 1 << FRAC_BITS


def _noise(n: int, seed: int, low: int, span: int) -> array:
    out = array("H")
    x = seed
    for _ in range(n):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        out.append(low + (x >> 8) % span)
    return out


def _variance_q(samples: array) -> int:
    """n**2 * variance, exactly."""
    n = len(samples)
    s = sum(samples)
    return n * sum(x * x for x in samples) - s * s


def _is_rounded_root(root_q: int, square: int, divisor: int) -> bool:
    """Whether root_q is sqrt(square / divisor) * ONE, rounded to nearest: exact comparison."""
    wanted = 4 * square * ONE * ONE
    return max(0, 2 * root_q - 1) ** 2 * divisor <= wanted <= (2 * root_q + 1) ** 2 * divisor


def test_a_window_is_exact():
    for low, span in ((0, 4096), (1900, 300), (0, 65536), (32768, 2)):
        for n in (1, 2, 640, 1281):
            samples = _noise(n, 7 + n, low, span)
            window = Window(kernels, 0, 1, 0, 4095)
            window.add(samples, 0, n)
            window.close()
            assert window.n == n
            assert _is_rounded_root(window.rms_q, _variance_q(samples), n * n), (low, span, n)
            assert abs(window.mean_q * n - sum(samples) * ONE) <= n / 2
            mean = sum(samples) / n
            peak = max(max(samples) - mean, mean - min(samples))
            assert abs(window.peak_q / ONE - peak) < 0.02  # single floats: 65535 has 7 digits
            assert window.rails == sum(x <= 0 or x >= 4095 for x in samples)


def test_slot_and_pieces_do_not_matter():
    frames = 600
    samples = _noise(frames * 4, 3, 0, 4096)
    whole = Window(kernels, 2, 4, 0, 4095)
    whole.add(samples, 0, frames)
    pieces = Window(kernels, 2, 4, 0, 4095)
    at = 0
    for n in (1, 255, 300, 44):
        pieces.add(samples, 4 * at, n)
        at += n
    single = Window(kernels, 0, 1, 0, 4095)
    single.add(array("H", [samples[4 * i + 2] for i in range(frames)]), 0, frames)
    for window in (whole, pieces, single):
        window.close()
        assert (window.n, window.rms_q, window.mean_q, window.peak_q, window.rails) == (
            whole.n,
            whole.rms_q,
            whole.mean_q,
            whole.peak_q,
            whole.rails,
        )


def test_a_record_is_the_mean_square_of_its_windows():
    window = Window(kernels, 0, 1, 0, 4095)
    square = total = peak = 0
    for k, n in enumerate((1280, 1280, 1279, 1280, 640)):
        # Another mean in each window: it belongs to the window, not to the RMS of the record.
        samples = _noise(n, k + 1, 300 * k, 1500 - 200 * k)
        window.add(samples, 0, n)
        window.close()
        square += _variance_q(samples) / n
        total += n
        peak = max(peak, window.peak_q)
    n, rms_q, _mean_q, peak_q, _rails = window.take_record()
    assert n == total
    assert abs(rms_q / ONE - (square / total) ** 0.5) < 0.001
    assert peak_q == peak
    assert window.take_record()[0] == 0


def test_an_empty_window_changes_nothing():
    samples = _noise(640, 5, 0, 4096)
    window = Window(kernels, 0, 1, 0, 4095)
    window.add(samples, 0, 640)
    window.close()
    alone = window.rms_q
    window.close()
    assert (window.n, window.rms_q) == (0, 0)
    n, rms_q, _mean, _peak, _rails = window.take_record()
    assert n == 640
    assert abs(rms_q - alone) <= 1


def test_a_tiny_signal_keeps_its_size():
    # 1 sample of 640 is one LSB up: the deviation sums to less than 1 LSB**2.
    samples = array("H", [2070] * 640)
    samples[100] = 2071
    window = Window(kernels, 0, 1, 0, 4095)
    for _ in range(5):
        window.add(samples, 0, 640)
        window.close()
    rms_q = window.take_record()[1]
    assert abs(rms_q / ONE - (639 / 640 / 640) ** 0.5) < 0.0005


def test_steps_are_fine_and_decimal():
    for limit, codes in ((16.5, 65534), (8.25, 65534), (655.34, 65534), (1.0, 32767), (1e6, 254)):
        mult, exp = step_for(limit, codes)
        step = mult * 10.0**exp
        assert 10 <= mult <= 99
        assert step * codes >= limit * 0.999999
        assert (step - 10.0**exp) * codes <= limit * 1.000001, (limit, mult, exp)


def test_noise_is_taken_off_in_quadrature():
    assert abs(without_noise(5.0, 3.0) - 4.0) < 1e-6
    assert without_noise(3.0, 0.0) == 3.0
    assert without_noise(2.0, 3.0) == 0.0
    assert without_noise(3.5, 3.0) == 0.0  # 1.8 is left, less than the noise
    assert without_noise(4.5, 3.0) > 3.0
