"""The table that straightens an ADC: its entries, the windows that use it, who gets one."""

from array import array

from clampdevice import board, kernels, linear
from clampdevice.window import FRAC_BITS, Window

try:
    micropython = __import__("micropython")
except ImportError:
    micropython = None

# Ref: kitanokitsune, rp2040adc_correction, rp2040adc_corr.py and rp2350adc_corr.py, commit
# 61898dd: the whole LSB that its author adds from this code on; the last entry only
# ends the one before. Not made by the same arithmetic.
PUBLISHED_RP2040 = (
    (16, -15), (512, -5), (895, -6), (1407, -7), (1536, 2), (1664, 1), (2048, -1), (2431, -2),
    (2560, 7), (2943, 6), (3455, 5), (3584, 15), (3711, 14), (4081, 0),
)  # fmt: skip
STEPS = (511, 1535, 2047, 2559, 3583)

CHANNELS = [{"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 1}]
ADC = {"rate_hz": 6400, "slots": 2, "bits": 12, "vref_v": 4096.0, "zero_lsb": 2150}


def test_table_rises_and_fits_the_kernels():
    for chip in linear.CHIPS:
        table = linear.table(chip)
        assert len(table) == 4096
        assert max(table) < 16384
        assert all(table[i] <= table[i + 1] for i in range(4095))
        # From end to end it is nearly a line: no LSB of the range is made or lost.
        assert all(abs(table[code] - 4 * code) < 4 * 20 for code in range(4096))


def test_table_agrees_with_the_published_correction():
    table = linear.table("rp2040")
    compared = 0
    for i in range(len(PUBLISHED_RP2040) - 1):
        first, shift = PUBLISHED_RP2040[i]
        for code in range(first, PUBLISHED_RP2040[i + 1][0]):
            if code in STEPS:
                continue
            compared += 1
            assert abs(table[code] / 4 - (code + shift)) <= 1.75, code
    assert compared > 4000


def test_an_ideal_curve_changes_nothing():
    code = 4096
    for threshold in linear.thresholds(((0, 0, 0), (2048, 0, 0)), (0, 0, 0)):
        code -= 1
        assert threshold == 128 * code - 64
    assert code == 0


def test_no_curve_of_another_chip():
    for name in ("esp32", "none", ""):
        try:
            linear.table(name)
            raise AssertionError(name)
        except ValueError as error:
            assert "rp2040" in str(error)


def test_window_sums_what_the_table_says():
    table = linear.table("rp2040")
    codes = array("H", [(i * 7919) % 4000 + 40 for i in range(1281 * 2)])
    straight = array("H", [table[code] for code in codes])
    window = Window(kernels, 1, 2, 0, 4095, table)
    plain = Window(kernels, 1, 2, 0, 65535)
    for samples, sums in ((codes, window), (straight, plain)):
        sums.add(samples, 0, 700)
        sums.add(samples, 1400, 581)
        sums.close()
    assert window.n == plain.n == 1281
    one = 1 << FRAC_BITS
    for name in ("rms_q", "mean_q", "peak_q"):
        assert abs(getattr(window, name) / one - getattr(plain, name) / one / 4) < 0.001, name
    whole, quarters = window.take_record(), plain.take_record()
    for i in (1, 2, 3):
        assert abs(whole[i] / one - quarters[i] / one / 4) < 0.001, i


def test_codes_that_the_table_cannot_tell_apart_are_clipped():
    table = linear.table("rp2040")
    window = Window(kernels, 0, 1, 0, 4095, table)
    assert table[15] == table[0] < table[16]
    assert table[4083] == table[4095] > table[4082]
    window.add(array("H", [15, 16, 2000, 4082, 4083, 4095]), 0, 6)
    window.close()
    assert window.rails == 3


BOARD = {
    "board": "b",
    "chip": "rp2040",
    "name": "n",
    "sources": {"adc": ADC},
    "channels": CHANNELS,
}


def _checked(chip: str, **adc: object) -> dict:
    parts = dict(BOARD)
    parts["chip"] = chip
    parts["sources"] = {"adc": dict(ADC)}
    parts["sources"]["adc"].update(adc)
    before = dict(parts["sources"]["adc"])
    checked = board.check(parts)
    assert parts["sources"]["adc"] == before  # the caller's stays as it is
    return checked


def test_a_chip_with_a_curve_is_straightened_unless_told_not_to():
    for chip, adc, expected in (
        ("rp2040", {}, "rp2040"),
        ("rp2350", {}, "rp2350"),
        ("sim", {}, "none"),
        ("sim", {"linearise": "rp2350"}, "rp2350"),
        ("rp2040", {"linearise": "none"}, "none"),
    ):
        assert _checked(chip, **adc)["sources"]["adc"]["linearise"] == expected, chip
    for adc, said in (
        ({"linearise": "esp32"}, "linearise: 'esp32'"),
        ({"linearise": "rp2040", "bits": 10}, "12 bits"),
    ):
        try:
            _checked("sim", **adc)
            raise AssertionError(adc)
        except board.BoardError as error:
            assert said in str(error)


def test_a_straightened_block_costs_no_allocation():
    window = Window(kernels, 1, 4, 0, 4095, linear.table("rp2040"))
    samples = array("H", [(i * 7919) % 4096 for i in range(1024)])
    window.add(samples, 0, 256)
    if micropython is None:
        return
    micropython.heap_lock()
    try:
        for _ in range(5):
            window.add(samples, 0, 256)
    finally:
        micropython.heap_unlock()
    window.close()
    assert window.n == 6 * 256


def test_kernels_and_table_mean_the_same_fraction():
    assert kernels.LUT_FRAC_BITS == linear.FRAC_BITS
