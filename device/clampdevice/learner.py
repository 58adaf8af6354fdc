"""The machine's states learned on the board, from current and vibration and without labels.

Owns what counts as evidence, what two levels mean, and what is kept over a power cut. Counting
and the test for two levels are `learn.py`; see docs/states.md for the reasons.

- Something flows if the currents together are above three times their noise floors.
- Off: nothing flows, once something has flowed for 5 s. Before, it may be a clamp beside a cable.
- Of the windows in which something flows the levels are counted, of the currents together and of
  the vibration. From `windows` of them on (300, a minute of running), the two levels of the
  vibration are working and idle; where the vibration has not two, those of the current.
- Unknown: a sensor that is needed gives no samples, or there is not enough evidence.
"""

import binascii
import struct
from array import array

from clampdevice.learn import BINS, Histogram
from clampdevice.states import IDLE, OFF, UNKNOWN, WORKING, Threshold, short

_DEFAULT_WINDOWS = 300
_FLOWED_WINDOWS = 25
_FLOOR_TIMES = 3
# Of the range, where no noise floor is known: 1 LSB of 8 bits.
ON_SHARE = 0.004
_LOOK_EVERY = 50  # windows between two looks at the counts
MOVED = 0.15  # a limit that moves by less stays as it is

FILE = "states"
SAVE_LEARNING_US = 60000000
SAVE_US = 3600000000
_VERSION = 1
_HEAD = "<BIHBf"  # version, mark, windows that flowed, what is parted (see _SIGNALS), its limit
_SIGNALS = ("", "current", "vibration")


class LearnedJudge:
    """See `clampdevice.states` for what a judge is.

    Args:
        config: `learn` of board.json's `state`: optional `windows`, `on_above` in A, `single`:
            "working" or "idle", what a machine with one level only is when something flows;
            "unknown" unless it says so.
        channels: the channels of the device, of which at least one is a current.
        hysteresis: see `states.Threshold`.
        files: has `read_file(name)`, b"" without one, and `write_file(name, data)`; None keeps
            nothing.

    Attributes:
        saves, failed_saves: how often it was written, and could not be.

    Raises:
        ValueError: no channel of a current.
    """

    mode = "learned"

    def __init__(self, config: dict, channels: tuple, hysteresis: float, files=None) -> None:
        currents = [each for each in channels if each.describe()[1] == "current"]
        vibrations = [each for each in channels if each.describe()[1] == "vibration"]
        if not currents:
            raise ValueError("state.learn: no channel of a current to learn from")
        self._currents = currents
        self._shaker = vibrations[0] if vibrations else None
        floor = vibrations[0].describe()[6] if vibrations else 0.0
        self._shaker_floor = floor if floor == floor else 0.0
        self._hysteresis = hysteresis
        self._wanted = config.get("windows", _DEFAULT_WINDOWS)
        self._single = {"working": WORKING, "idle": IDLE}.get(config.get("single", ""), UNKNOWN)
        self._on = Threshold(currents, config.get("on_above") or on_limit(currents), hysteresis)
        self._current = Histogram()
        self._vibration = Histogram()
        self._flowed = 0
        self._signal = ""
        self._limit: Threshold | None = None
        self._looked = 0
        self._told = -1
        self._text = "no samples yet"
        self._files = files
        self._due_us = 0
        self._saved = 0
        self.saves = self.failed_saves = 0
        keys = ",".join([each.key for each in currents + vibrations[:1]])
        self._mark = binascii.crc32(keys.encode())
        if files is not None:
            self._open(files.read_file(FILE))

    @property
    def windows(self) -> int:
        """How many windows the counts rest on; ageing takes some off."""
        return self._current.total

    def look(self, state: int) -> int:
        on = self._on.look()
        if on is None:
            self._text = self._on.text()
            return UNKNOWN
        if not on:
            self._text = self._on.text()
            if self._flowed < _FLOWED_WINDOWS:
                self._text = "nothing has flowed yet: " + self._text
                return UNKNOWN
            return OFF
        self._flowed = min(0xFFFF, self._flowed + 1)
        self._count()
        limit = self._limit
        if limit is None:
            self._text = self._learning()
            return self._single if self.windows >= self._wanted else UNKNOWN
        high = limit.look()
        self._text = limit.text()
        if high is None:
            return UNKNOWN
        return WORKING if high else IDLE

    def text(self) -> str:
        return self._text

    def progress(self) -> str | None:
        """Tells of the learning in tenths of the windows that it takes."""
        if self._limit is not None:
            return None
        tenth = min(10, 10 * self.windows // self._wanted)
        if tenth == self._told or not self._flowed:
            return None
        self._told = tenth
        return self._learning()

    def levels(self) -> dict:
        levels = {self._on.label: short(self._on.value)}
        if self._shaker is not None:
            levels[self._shaker.key] = short(self._shaker.level)
        return levels

    def rules(self) -> dict:
        rules: dict = {
            "on": self._on.rule(),
            "learning": [min(self.windows, self._wanted), self._wanted],
            "flowed_windows": self._flowed,
            "working": [] if self._limit is None else [self._limit.rule()],
        }
        if self._limit is not None:
            counts = self._vibration if self._signal == "vibration" else self._current
            low, high = counts.sides(self._limit.above)
            rules["evidence"] = {
                "idle": short(low[0]),
                "idle_windows": low[1],
                "working": short(high[0]),
                "working_windows": high[1],
            }
        if self.failed_saves:
            rules["failed_saves"] = self.failed_saves
        return rules

    def forget(self) -> None:
        """Begins anew, for a board that was moved to another machine. Kept data go, too."""
        self._current.clear()
        self._vibration.clear()
        self._flowed = self._looked = 0
        self._signal = ""
        self._limit = None
        self._told = -1
        self._save()

    def keep(self, now_us: int) -> bool:
        """Writes what was learned if that is due: each minute while learning, else each hour."""
        if self._files is None:
            return False
        if not self._due_us:
            self._due_us = now_us + SAVE_LEARNING_US
        if now_us < self._due_us:
            return False
        self._due_us = now_us + (SAVE_LEARNING_US if self._limit is None else SAVE_US)
        if self._flowed == self._saved and self._flowed < 0xFFFF:
            return False
        return self._save()

    def _count(self) -> None:
        """Counts a window for both signals or for none."""
        shaker = self._shaker
        if shaker is not None:
            if shaker.level is None:
                return
            self._vibration.add(max(shaker.level, self._shaker_floor))
        self._current.add(self._on.value or 0.0)
        self._looked += 1
        if self.windows >= self._wanted and self._looked >= _LOOK_EVERY:
            self._looked = 0
            self._learn()

    def _learn(self) -> None:
        above = self._vibration.split() if self._shaker is not None else None
        signal = "vibration"
        if above is None:
            if self._signal == signal:
                return  # what was learned stays: a machine may work for hours
            above = self._current.split()
            signal = "current"
        if above is None:
            return
        limit = self._limit
        if limit is not None and signal == self._signal:
            if abs(above - limit.above) <= MOVED * limit.above:
                return
        self._set(signal, above)
        self._due_us = 1  # to be kept soon

    def _set(self, signal: str, above: float) -> None:
        self._signal = signal
        channels = [self._shaker] if signal == "vibration" else self._currents
        self._limit = Threshold(channels, above, self._hysteresis)

    def _learning(self) -> str:
        if self._shaker is not None and self._shaker.level is None:
            return self._shaker.key + " has no samples"
        if self.windows < self._wanted:
            return f"learning {self.windows} of {self._wanted}"
        typical = self._current.median()
        return (
            f"one level only in {self.windows} windows, {self._on.label} about {typical:.3g} A: "
            "idle and working cannot be told apart yet"
        )

    def _open(self, data: bytes) -> None:
        """Goes on from what was kept; anything else than that leaves it as new."""
        size = struct.calcsize(_HEAD) + 4 * BINS
        if len(data) != size + 4:
            return
        if binascii.crc32(data[:size]) != struct.unpack("<I", data[size:])[0]:
            return
        version, mark, flowed, signal, above = struct.unpack_from(_HEAD, data, 0)
        if version != _VERSION or mark != self._mark or signal >= len(_SIGNALS):
            return
        counts = array("H", data[struct.calcsize(_HEAD) : size])
        self._current.load(counts[:BINS])
        self._vibration.load(counts[BINS:])
        self._flowed = self._saved = flowed
        if signal:
            self._set(_SIGNALS[signal], above)

    def _save(self) -> bool:
        above = self._limit.above if self._limit is not None else 0.0
        signal = _SIGNALS.index(self._signal)
        data = struct.pack(_HEAD, _VERSION, self._mark, self._flowed, signal, above)
        data += bytes(self._current.counts) + bytes(self._vibration.counts)
        data += struct.pack("<I", binascii.crc32(data))
        if self._files is None:
            return False
        try:
            self._files.write_file(FILE, data)
        except OSError:
            self.failed_saves += 1  # shown by the command `why`; tried again when next due
            return False
        self._saved = self._flowed
        self.saves += 1
        return True


def on_limit(currents: list) -> float:
    """The sum of currents above which something flows, in A."""
    floors = [each.describe()[6] for each in currents]
    if all(floor == floor and floor > 0 for floor in floors):
        return _FLOOR_TIMES * sum(floors)
    return ON_SHARE * sum(each.describe()[5] for each in currents)
