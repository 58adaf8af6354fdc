"""What a comparison with a reference has shown of one channel, and where that is kept.

Owns the correction of a reading (gain, or points with straight lines between), of the DC offset,
of the transformer's phase, the measured noise floor; the record's date, reference and id; its
validation, and its file, which is replaced as a whole or not at all. Readings are in the
channel's unit at its nominal scale, as board.json gives it.

A channel's record is an object: `id`, `date` (YYYY-MM-DD) and `reference`, texts;
`uncertainty_pct`, the expanded uncertainty (k = 2) of the reference and the comparison; and of
`gain` (1 if absent) or `points` [[reading, reference], ...], `offset`, `phase_deg` (a number or
[[reading, degrees], ...], positive where the transformer's output leads), `floor`, each optional.
"""

import binascii
import json

FILE = "calibration.json"
POINTS_MAX = 8
GAIN_TOLERANCE = 0.2  # a larger correction is more likely the wrong transformer
TEXT_MAX = 32
_KEYS = (
    "id", "date", "reference", "uncertainty_pct", "gain", "points", "offset", "phase_deg", "floor",
)  # fmt: skip


class CalibrationError(ValueError):
    """A calibration that cannot be used; the message says why, and what would do."""


def interpolate(points: tuple, x: float) -> float:
    """The value at `x` of straight lines through `points` (x, y), constant beyond its ends."""
    x0, y0 = points[0]
    for x1, y1 in points:
        if x <= x1:
            return y1 if x <= x0 or x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        x0, y0 = x1, y1
    return y0


class Calibration:
    """One channel's record, ready for use. Without one, nothing is corrected.

    Args:
        record: see the module; what `check` let pass.

    Attributes:
        id, date, reference: texts, "" where not given.
        uncertainty_pct, floor: None where not given.
        offset: in the channel's unit, taken off the mean.
    """

    def __init__(self, record: dict | None = None) -> None:
        self.record = record = record or {}
        self.id = record.get("id", "")
        self.date = record.get("date", "")
        self.reference = record.get("reference", "")
        self.uncertainty_pct = record.get("uncertainty_pct")
        self.offset = record.get("offset", 0.0)
        self.floor = record.get("floor")
        points = record.get("points")
        if points:
            self._factors = tuple((reading, true / reading) for reading, true in points)
        else:
            self._factors = ((0.0, record.get("gain", 1.0)),)
        phase = record.get("phase_deg", 0.0)
        self._phases = ((0.0, phase),) if _is_number(phase) else tuple(map(tuple, phase))

    @property
    def scales(self) -> bool:
        """Whether the scale itself was compared, so that the reference's uncertainty holds."""
        return "gain" in self.record or "points" in self.record

    @property
    def largest_factor(self) -> float:
        return max(factor for _reading, factor in self._factors)

    def factor(self, reading: float) -> float:
        """What a reading is multiplied by."""
        return interpolate(self._factors, reading)

    def phase_deg(self, reading: float) -> float:
        """Phase error at a reading, positive where the output leads."""
        return interpolate(self._phases, reading)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_pairs(key: str, pairs: object) -> None:
    if not isinstance(pairs, list) or not 1 <= len(pairs) <= POINTS_MAX:
        raise CalibrationError(f"{key}: 1 to {POINTS_MAX} pairs are expected, not {pairs!r}")
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
        record: see the module.
        confirm: take a gain beyond 20 % of nominal too.

    Raises:
        CalibrationError: the first problem.
    """
    for key in record:
        if key not in _KEYS:
            raise CalibrationError(f"no {key!r} in a calibration; there are {', '.join(_KEYS)}")
    for key in ("id", "date", "reference"):
        text = record.get(key, "")
        if not isinstance(text, str) or len(text.encode()) > TEXT_MAX:
            raise CalibrationError(f"{key}: a text of at most {TEXT_MAX} bytes, not {text!r}")
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


class CalibrationStore:
    """The file of all channels' records, by their keys.

    Args:
        files: has `read_file(name)`, b"" without one, and `write_file(name, data)`, which leaves
            the old content or the new one behind, whatever happens.

    Attributes:
        problem: why the file, or a part of it, was not used; "" if all is well. The firmware
            measures on at the nominal scale, and says so.
    """

    def __init__(self, files) -> None:
        self._files = files
        self._records: dict = {}
        self.problem = ""
        data = files.read_file(FILE)
        if not data:
            return
        try:
            records = json.loads(data.decode())
            if not isinstance(records, dict):
                raise CalibrationError("an object is expected")
        except ValueError as error:
            self.problem = FILE + ": " + str(error)
            return
        for key in records:
            try:
                check(records[key], True)
            except (CalibrationError, AttributeError, TypeError) as error:
                self.problem = FILE + ", " + key + ": " + str(error)
            else:
                self._records[key] = records[key]

    def get(self, key: str) -> Calibration:
        """The calibration of a channel, neutral if there is none."""
        return Calibration(self._records.get(key))

    def put(self, key: str, record: dict | None) -> None:
        """Keeps a record that `check` let pass, or drops it with None.

        Raises:
            OSError: it could not be written; the old one stays.
        """
        records = dict(self._records)
        if record is None:
            records.pop(key, None)
        else:
            records[key] = record
        self._files.write_file(FILE, json.dumps(records).encode())
        self._records = records
