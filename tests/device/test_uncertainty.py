"""The budget of the uncertainty, and the faults of a clamp."""

from math import sqrt

from clampdevice.calibration import Calibration
from clampdevice.clamp import CLIPPED, NO_CURRENT, OPEN, ClampWatch
from clampdevice.ctclass import ct_limits
from clampdevice.uncertainty import Budget, rounded

A_PER_LSB = 0.024
NONE = Calibration()


def _budget(config: dict, adc: dict | None = None) -> Budget:
    return Budget(config, adc or {}, A_PER_LSB, 30.0)


def _pct(budget: Budget, value: float, calibration: Calibration = NONE, floor=0.0) -> float:
    return 100 * budget.expanded(value, floor, 6400, calibration) / value


def test_what_nobody_stated_is_not_known():
    value = _budget({}).expanded(10.0, 0.0, 6400, NONE)
    assert value != value
    class_alone = _budget({"ct_class": "1"}).expanded(10.0, 0.0, 6400, NONE)
    assert class_alone != class_alone  # without the reference voltage


def test_limits_are_rectangular_and_add_in_quadrature():
    adc = {"vref_tolerance_pct": 1.0}
    want = 2 * sqrt(1.0**2 + 1.0**2) / sqrt(3)
    assert abs(_pct(_budget({"ct_class": "1"}, adc), 30.0) - want) < 0.001
    assert abs(_pct(_budget({"ct_error_pct": 1.0}, adc), 3.0) - want) < 0.01
    burden = {"ct_class": "1", "burden_ohm": 22}
    assert _pct(_budget(burden, adc), 30.0) != _pct(_budget(burden, adc), 30.0)  # NaN
    burden["burden_tolerance_pct"] = 1.0
    assert abs(_pct(_budget(burden, adc), 30.0) - 2 * sqrt(3) / sqrt(3)) < 0.001


def test_a_class_is_worse_at_the_bottom_and_silent_below():
    budget = _budget({"ct_class": "0.5"}, {"vref_tolerance_pct": 0})
    for share, limit in ((1.0, 0.5), (0.2, 0.75), (0.05, 1.5), (0.6, 0.625)):
        assert abs(_pct(budget, 30.0 * share) - 2 * limit / sqrt(3)) < 0.01, share
    low = budget.expanded(0.04 * 30, 0.0, 6400, NONE)
    assert low != low
    try:
        ct_limits("7")
    except ValueError as error:
        assert "0.5S" in str(error)
    else:
        raise AssertionError("a class was invented")


def test_a_comparison_takes_the_place_of_the_limits():
    budget = _budget({"ct_class": "1"}, {"vref_tolerance_pct": 2.0})
    compared = Calibration({"gain": 1.03, "uncertainty_pct": 0.8})
    assert abs(_pct(budget, 20.0, compared) - 0.8) < 0.001
    # A floor alone is no comparison of the scale.
    floor_only = Calibration({"floor": 0.02, "uncertainty_pct": 0.8})
    assert _pct(budget, 20.0, floor_only) > 2


def test_noise_counts_at_the_bottom():
    budget = _budget({"uncertainty_pct": 0.2})
    floor = 0.05
    for value in (0.1, 1.0, 30.0):
        square = (0.001 * value) ** 2 + floor**2 / 6400 + (0.1 * floor * floor / value) ** 2
        want = 2 * sqrt(square)
        assert abs(budget.expanded(value, floor, 6400, NONE) - want) < 1e-6 * want + 1e-9
    assert abs(budget.expanded(0.0, floor, 6400, NONE) - 2 * floor / sqrt(3)) < 1e-6


def test_two_digits():
    for value, text in ((0.20003, "0.2"), (1.5, "1.5"), (1.6329, "1.6"), (123.4, "120.0")):
        assert str(rounded(value)) == text
    assert rounded(0.0) == 0.0


def _watch(coupled: bool = True) -> ClampWatch:
    return ClampWatch("current1", 4096, 2070, coupled)


def test_clipping_is_told_once_and_taken_back():
    watch = _watch()
    assert watch.record(6400, 2070, 0, False, False) == []
    found = watch.record(6400, 2070, 37, False, False)
    assert [(value, begins) for value, begins, _text in found] == [(CLIPPED, True)]
    assert "37 of 6400" in found[0][2]
    assert watch.record(6400, 2070, 5, False, False) == []
    told = [watch.record(6400, 2070, 0, False, False) for _ in range(6)]
    assert [len(each) for each in told] == [0, 0, 0, 0, 1, 0]
    assert told[4][0][:2] == (CLIPPED, False)


def test_an_open_transformer_pulls_the_bias_away():
    watch = _watch()
    assert watch.record(6400, 4090, 6400, False, False) == []
    found = watch.record(6400, 4090, 6400, False, False)
    assert [each[:2] for each in found] == [(OPEN, True)]
    assert "4090 instead of 2070" in found[0][2]
    assert watch.active[OPEN]
    watch.record(6400, 2075, 0, False, False)
    assert watch.record(6400, 2075, 0, False, False)[0][:2] == (OPEN, False)


def test_direct_current_is_no_open_transformer():
    watch = _watch(False)
    for _ in range(5):
        assert watch.record(6400, 3000, 0, False, False) == []


def test_a_clamp_around_the_whole_cable_reads_nothing_while_it_runs():
    watch = _watch()
    for _ in range(30):  # nothing runs: 0 A is right
        assert watch.record(6400, 2070, 0, True, False) == []
    found = [watch.record(6400, 2070, 0, True, True) for _ in range(11)]
    assert [len(each) for each in found] == [0] * 9 + [1, 0]
    assert found[9][0][:2] == (NO_CURRENT, True)
    for _ in range(5):  # it stops: that mends nothing
        assert watch.record(6400, 2070, 0, True, False) == []
    watch.record(6400, 2070, 0, False, True)
    assert watch.record(6400, 2070, 0, False, True)[0][:2] == (NO_CURRENT, False)


def test_no_samples_no_judgement():
    watch = _watch()
    for _ in range(5):
        assert watch.record(0, 0.0, 0, True, True) == []
