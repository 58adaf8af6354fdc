"""Which calibrations are let in: the validation of a record, before it is kept or used.

Owns the bounds and the words of a refusal. What a record is, and what it does, is
`calibration.py`. Loaded when a calibration is made, and at start if one is kept.
"""

import binascii

_POINTS_MAX = 8
GAIN_TOLERANCE = 0.2  # a larger correction is more likely the wrong transformer
_TEXT_MAX = 32
_KEYS = (
    "id", "date", "reference", "uncertainty_pct", "gain", "points", "offset", "phase_deg", "floor",
)  # fmt: skip


class CalibrationError(ValueError):
    """A calibration that cannot be used; the message says why, and what would do."""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_pairs(key: str, pairs: object) -> None:
    if not isinstance(pairs, list) or not 1 <= len(pairs) <= _POINTS_MAX:
        raise CalibrationError(f"{key}: 1 to {_POINTS_MAX} pairs are expected, not {pairs!r}")
    before = None
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_number, pair)):
            raise CalibrationError(f"{key}: a pair of numbers is expected, not {pair!r}")
        if before is not None and pair[0] <= before:
            raise CalibrationError(f"{key}: readings must rise, but {pair[0]} follows {before}")
        before = pair[0]


def check(record: dict, confirm: bool = False) -> None:
    """Refuses what cannot be right.

    Args:
        record: see `calibration.py`.
        confirm: take a gain beyond 20 % of nominal too.

    Raises:
        CalibrationError: the first problem.
    """
    for key in record:
        if key not in _KEYS:
            raise CalibrationError(f"no {key!r} in a calibration; there are {', '.join(_KEYS)}")
    for key in ("id", "date", "reference"):
        text = record.get(key, "")
        if not isinstance(text, str) or len(text.encode()) > _TEXT_MAX:
            raise CalibrationError(f"{key}: a text of at most {_TEXT_MAX} bytes, not {text!r}")
    _check_date(record.get("date", ""))
    for key, low, high in (
        ("uncertainty_pct", 0, 100), ("gain", 0, 1000), ("floor", 0, 1e6), ("offset", -1e6, 1e6),
    ):  # fmt: skip
        value = record.get(key, low)
        if not _is_number(value) or not low <= value <= high:
            raise CalibrationError(
                f"{key}: a number of {low} to {high} is expected, not {value!r}"
            )
    if "gain" in record and "points" in record:
        raise CalibrationError("gain and points: keep one, points have their own gains")
    factors = [record.get("gain", 1.0)]
    if "points" in record:
        _check_pairs("points", record["points"])
        if not all(reading > 0 and true > 0 for reading, true in record["points"]):
            raise CalibrationError("points: readings and references must be above 0")
        factors = [true / reading for reading, true in record["points"]]
    for factor in factors:
        if factor <= 0 or (abs(factor - 1) > GAIN_TOLERANCE and not confirm):
            raise CalibrationError(
                f"gain {factor:.4g} is more than 20 % from nominal: check transformer, burden and "
                'number of turns, or send "confirm": true'
            )
    phase = record.get("phase_deg", 0.0)
    if not _is_number(phase):
        _check_pairs("phase_deg", phase)
    for deg in [phase] if _is_number(phase) else [pair[1] for pair in phase]:
        if not -30 <= deg <= 30:
            raise CalibrationError(f"phase_deg: {deg} is outside -30 to 30")


def _check_date(text: str) -> None:
    if not text:
        return
    parts = text.split("-")
    good = len(text) == 10 and [len(part) for part in parts] == [4, 2, 2]
    if not good or not all(part.isdigit() for part in parts):
        raise CalibrationError(f"date: YYYY-MM-DD is expected, not {text!r}")


def id_of(key: str, record: dict) -> str:
    """An id for a record that has none: "c-" and eight hex digits of what it says."""
    text = key + "".join(name + repr(record[name]) for name in sorted(record) if name != "id")
    return f"c-{binascii.crc32(text.encode()):08x}"
