"""What a comparison with a reference has shown of one channel, and where that is kept.

Owns the correction of a reading (gain, or points with straight lines between), of the DC offset,
of the transformer's phase, the measured noise floor; and the file, which is replaced as a whole
or not at all. What is let in is `calibrationcheck.py`'s. Readings are in the channel's unit at
its nominal scale, as board.json gives it.

A channel's record is an object: `id`, `date` (YYYY-MM-DD) and `reference`, texts;
`uncertainty_pct`, the expanded uncertainty (k = 2) of the reference and the comparison; and of
`gain` (1 if absent) or `points` [[reading, reference], ...], `offset`, `phase_deg` (a number or
[[reading, degrees], ...], positive where the transformer's output leads), `floor`, each optional.
"""

import json

from clampdevice.borrow import Borrowed

FILE = "calibration.json"


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
        record: see the module.

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
        self._phases = tuple(map(tuple, phase)) if isinstance(phase, list) else ((0.0, phase),)

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


NONE = Calibration()


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
        with Borrowed():
            self._take(data)

    def _take(self, data: bytes) -> None:
        from clampdevice.calibrationcheck import CalibrationError, check

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
        record = self._records.get(key)
        return Calibration(record) if record else NONE

    def put(self, key: str, record: dict | None) -> None:
        """Keeps a record that was checked, or drops it with None.

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
