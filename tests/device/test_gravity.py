"""Gravity as a standard: gains and offsets found again, and refused where they cannot be."""

import json
from math import sqrt

from driver_checks import said

from clampdevice import gravity
from clampdevice.feature import STANDARD_GRAVITY_M_S2 as G

FACES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
TILTED = FACES + ((1, 1, 0), (-1, 0, 1), (0, -1, -1), (1, -1, 1), (-1, 1, -1), (2, 1, -1))
GAIN = (1.03, 0.97, 1.012)
OFFSET = (0.4, -0.25, 0.9)


def readings(directions: tuple, gain: tuple = GAIN, offset: tuple = OFFSET, g: float = G) -> list:
    """What a sensor that needs `gain` and `offset` shows."""
    shown = []
    for direction in directions:
        length = sqrt(sum(one * one for one in direction))
        shown.append(tuple(direction[i] / length * g / gain[i] + offset[i] for i in range(3)))
    return shown


def near(found: tuple, wanted: tuple, limit: float) -> None:
    for got, want in zip(found, wanted):
        assert abs(got - want) < limit, (found, wanted)


def test_six_faces_and_any_tilt():
    for directions in (FACES, TILTED):
        gain, offset, residual = gravity.fit(readings(directions))
        near(gain, GAIN, 1e-4)
        near(offset, OFFSET, 1e-3)
        assert residual < 1e-3


def test_faces_that_are_not_level():
    # nobody turns a sensor to a degree: 10 to 15 degrees off everywhere
    rough = ((9, 2, -1), (-9, 1, 2), (1, 9, 2), (2, -9, 1), (-1, 2, 9), (2, 1, -9), (5, 5, 5))
    gain, offset, _residual = gravity.fit(readings(rough))
    near(gain, GAIN, 2e-4)
    near(offset, OFFSET, 2e-3)


def test_noise_averages_and_shows_as_the_residual():
    shown = []
    for i, reading in enumerate(readings(TILTED)):
        noise = [0.02 * ((i * 7 + axis * 5) % 11 - 5) / 5 for axis in range(3)]
        shown.append(tuple(reading[axis] + noise[axis] for axis in range(3)))
    gain, offset, residual = gravity.fit(shown)
    near(gain, GAIN, 3e-3)
    near(offset, OFFSET, 0.03)
    assert 0.002 < residual < 0.02


def test_gravity_of_the_place():
    shown = readings(TILTED, g=9.7803)
    near(gravity.fit(shown, 9.7803)[0], GAIN, 1e-4)
    assert gravity.fit(shown)[0][0] > 1.032  # with another, the gain takes the difference


def test_a_reading_is_put_right():
    gain, offset, _residual = gravity.fit(readings(TILTED))
    true = gravity.correct(readings(((1, 2, -2),))[0], gain, offset)
    near(true, (G / 3, 2 * G / 3, -2 * G / 3), 2e-3)


def test_what_gives_no_calibration():
    assert "5 positions" in said(gravity.GravityError, lambda: gravity.fit(readings(FACES[:5])))
    flat = tuple((1, 0.05 * i, 0.03 * i * i) for i in range(8))
    assert "too alike" in said(gravity.GravityError, lambda: gravity.fit(readings(flat)))
    no_z = FACES[:4] + ((1, 1, 0), (1, -1, 0), (-1, 1, 0))
    assert "axis z" in said(gravity.GravityError, lambda: gravity.fit(readings(no_z)))
    moved = readings(TILTED)
    moved[7] = tuple(1.1 * one for one in moved[7])
    assert "lie still" in said(gravity.GravityError, lambda: gravity.fit(moved))
    double = [tuple(2 * one for one in reading) for reading in readings(TILTED)]
    assert "range" in said(gravity.GravityError, lambda: gravity.fit(double))
    dead = [(0.0, 0.0, 0.0)] * 8
    assert "without gravity" in said(gravity.GravityError, lambda: gravity.fit(dead))


def test_the_record_belongs_to_its_sensor():
    fitted = gravity.fit(readings(TILTED))
    for serial in ("A17", None):
        kept = gravity.record(fitted, "adxl345", serial, len(TILTED), "2026-03-01, bench")
        kept = json.loads(json.dumps(kept))
        gain, offset = gravity.of_record(kept, "adxl345", serial)
        near(gain, GAIN, 1e-4)
        near(offset, OFFSET, 1e-3)
        text = said(gravity.GravityError, lambda: gravity.of_record(kept, "adxl345", "B2"))  # noqa: B023 - called at once
        assert "B2" in text
        said(gravity.GravityError, lambda: gravity.of_record(kept, "lis2dw12", serial))  # noqa: B023 - called at once


def test_a_spoiled_record_is_refused():
    good = gravity.record(gravity.fit(readings(TILTED)), "adxl345", None, 12, "")
    for key, value in (
        ("kind", "ct"), ("gain", [1, 1]), ("gain", [1, 1, "1"]), ("gain", [1, 1, 3]),
        ("offset_m_s2", None), ("offset_m_s2", [0, 0, 20]), ("gain", [1, 1, float("nan")]),
    ):  # fmt: skip
        bad = dict(good)
        bad[key] = value
        said(gravity.GravityError, lambda: gravity.of_record(bad, "adxl345", None))  # noqa: B023 - called at once
