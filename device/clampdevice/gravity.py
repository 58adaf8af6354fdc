"""Gain and offset of an accelerometer from gravity: still in several positions, its vector is 1 g.

Owns the fit of an ellipsoid along the sensor's axes, and the record that is kept of it. Nobody
has to know how the sensor lay, only that it lay still and differently. Where the readings come
from and where the record is kept is the caller's. What it cannot see: axes that are not at right
angles, and a gravity that is not what was assumed (9.780 m/s2 at the equator, 9.832 at the poles;
half a percent of gain).
"""

from math import sqrt

from clampdevice.feature import STANDARD_GRAVITY_M_S2

KIND = "gravity"
MIN_POSITIONS = 6  # as many as unknowns; more show whether the sensor lay still
_STEPS = 20
_DONE = 1e-6  # of g; the chips' floats have 24 bits
# A pivot of the normal equations is 2 where an axis pointed straight up once and down once.
_MIN_PIVOT = 0.1
_MAX_RESIDUAL_G = 0.02
_MAX_GAIN_ERROR = 0.25
_MAX_OFFSET_G = 1.0


class GravityError(ValueError):
    """The positions do not give a calibration, or a record is not of this sensor."""


def fit(positions, gravity_m_s2: float = STANDARD_GRAVITY_M_S2) -> tuple:
    """The gain and offset of each axis with which all positions have the length of gravity.

    Args:
        positions: (x, y, z) of each, m/s2, mean over a second or more without vibration; at
            least `MIN_POSITIONS`, with each axis up and down about once.
        gravity_m_s2: at the place.

    Returns:
        (gain, offset, residual): true = (read - offset) * gain, three each, offset in m/s2;
        RMS of what is left of the lengths, m/s2, which says nothing with `MIN_POSITIONS`.

    Raises:
        GravityError: too few, too alike, moved while measured, or beyond any sensor's tolerance.
    """
    if len(positions) < MIN_POSITIONS:
        raise GravityError(f"{len(positions)} positions; at least {MIN_POSITIONS}")
    points = [tuple(value / gravity_m_s2 for value in position) for position in positions]
    unknowns = [0.0] * 6  # three gains less 1, three offsets in g
    for _ in range(_STEPS):
        step = _solve(_normal_equations(points, unknowns))
        for i in range(6):
            unknowns[i] += step[i]
        if max(abs(one) for one in unknowns) > 10:
            break  # it runs away; the check below says so
        if max(abs(one) for one in step) < _DONE:
            break
    residual = sqrt(sum(_error(point, unknowns) ** 2 for point in points) / len(points))
    _check(unknowns, residual)
    gain = tuple(1 + one for one in unknowns[:3])
    offset = tuple(one * gravity_m_s2 for one in unknowns[3:])
    return gain, offset, residual * gravity_m_s2


def correct(reading, gain, offset) -> tuple:
    """The true (x, y, z) of a reading, m/s2."""
    return tuple((reading[i] - offset[i]) * gain[i] for i in range(3))


def record(fitted: tuple, sensor: str, serial: str | None, positions: int, at: str) -> dict:
    """What to keep, as JSON holds it.

    Args:
        fitted: from `fit`.
        sensor: name of the driver.
        serial: of the chip, None where it has none.
        positions: how many.
        at: when and by whom, in words.
    """
    gain, offset, residual = fitted
    return {
        "kind": KIND,
        "sensor": sensor,
        "serial": serial,
        "gain": list(gain),
        "offset_m_s2": list(offset),
        "residual_m_s2": residual,
        "positions": positions,
        "at": at,
    }


def of_record(kept: dict, sensor: str, serial: str | None) -> tuple:
    """(gain, offset) of a record, for the sensor that is there now.

    Raises:
        GravityError: it is of another sensor, or no record of this kind. A record with a serial
            number is not taken for a chip that tells none.
    """
    if not isinstance(kept, dict) or kept.get("kind") != KIND:
        raise GravityError(f"no calibration of kind {KIND!r}: {kept!r}")
    if kept.get("sensor") != sensor or kept.get("serial") != serial:
        none = "without serial number"
        raise GravityError(
            f"calibration of {kept.get('sensor')} {kept.get('serial') or none}, "
            f"but the sensor is {sensor} {serial or none}"
        )
    gain, offset = kept.get("gain"), kept.get("offset_m_s2")
    for name, part in (("gain", gain), ("offset_m_s2", offset)):
        if not isinstance(part, list) or len(part) != 3:
            raise GravityError(f"calibration: {name} {part!r}; three numbers are expected")
        for one in part:
            if not isinstance(one, (int, float)) or isinstance(one, bool):
                raise GravityError(f"calibration: {name} {part!r}; three numbers are expected")
    assert gain is not None
    assert offset is not None
    _check([one - 1 for one in gain] + [one / STANDARD_GRAVITY_M_S2 for one in offset], 0.0)
    return tuple(gain), tuple(offset)


def _error(point: tuple, unknowns: list) -> float:
    square = 0.0
    for i in range(3):
        one = (point[i] - unknowns[3 + i]) * (1 + unknowns[i])
        square += one * one
    return sqrt(square) - 1


def _normal_equations(points: list, unknowns: list) -> list:
    """Six rows of seven: J'J and -J'r of the lengths less 1, linear around `unknowns`."""
    rows = [[0.0] * 7 for _ in range(6)]
    for point in points:
        free = [point[i] - unknowns[3 + i] for i in range(3)]
        true = [free[i] * (1 + unknowns[i]) for i in range(3)]
        length = sqrt(sum(one * one for one in true))
        if length < 0.1:
            raise GravityError("a position without gravity; is the range of the sensor right?")
        slope = [true[i] * free[i] / length for i in range(3)]
        slope += [-true[i] * (1 + unknowns[i]) / length for i in range(3)]
        for i in range(6):
            for j in range(6):
                rows[i][j] += slope[i] * slope[j]
            rows[i][6] -= slope[i] * (length - 1)
    return rows


def _solve(rows: list) -> list:
    """Gauss with the diagonal's largest pivot, which a symmetric positive matrix allows."""
    left = list(range(6))
    order = []
    while left:
        pivot = max(left, key=lambda i: rows[i][i])
        if rows[pivot][pivot] < _MIN_PIVOT:
            axis = "xyz"[pivot % 3]
            raise GravityError(
                f"the positions are too alike for axis {axis}; turn the sensor so that each axis "
                "points up once and down once"
            )
        left.remove(pivot)
        order.append(pivot)
        for i in left:
            factor = rows[i][pivot] / rows[pivot][pivot]
            for j in range(7):
                rows[i][j] -= factor * rows[pivot][j]
    found = [0.0] * 6
    for pivot in reversed(order):
        rest = rows[pivot][6]
        for j in order[order.index(pivot) + 1 :]:
            rest -= rows[pivot][j] * found[j]
        found[pivot] = rest / rows[pivot][pivot]
    return found


def _check(unknowns: list, residual: float) -> None:
    for i, axis in enumerate("xyz"):
        if not abs(unknowns[i]) <= _MAX_GAIN_ERROR:
            raise GravityError(f"gain of {axis} is {1 + unknowns[i]:.3f}; is the range right?")
        if not abs(unknowns[3 + i]) <= _MAX_OFFSET_G:
            raise GravityError(f"offset of {axis} is {unknowns[3 + i]:.2f} g, beyond any sensor's")
    if not residual <= _MAX_RESIDUAL_G:
        raise GravityError(
            f"{residual:.3f} g RMS are left, {_MAX_RESIDUAL_G} at most; it did not lie still"
        )
