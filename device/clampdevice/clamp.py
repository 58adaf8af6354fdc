"""What is wrong with a clamp, as far as its readings show it: clipped, open, around too much.

Owns the judgement, once a record, and when a fault begins and ends; each is an event with a
reason. Clipped: samples at a rail. Open: the mean is far from the bias, so transformer, cable or
bias is open or shorted; not with `coupling` "dc", where the mean is signal. No current: what
board.json names in `runs_with` runs (an input is closed, a channel reads above its floor) for
10 s in which this one stays below its floor: the clamp is open, on the wrong wire, or around the
whole cable, whose currents cancel.
"""

CLIPPED, OPEN, NO_CURRENT = 1, 2, 3  # values of the events
BIAS_SHARE = 0.1  # of the range
_BEGIN = (0, 1, 2, 10)  # records that begin a fault, by its value
_END = (0, 5, 2, 2)  # records without it that end it


class ClampWatch:
    """Watches one channel.

    Args:
        key: of the channel, for the texts.
        range_lsb: codes of the converter.
        zero_lsb: code of 0.
        coupled: whether the mean must be the bias.
    """

    def __init__(self, key: str, range_lsb: int, zero_lsb: float, coupled: bool) -> None:
        self._key = key
        self._tolerance = BIAS_SHARE * range_lsb
        self._zero = zero_lsb
        self._coupled = coupled
        self._held = [0, 0, 0, 0]
        self.active = [False, False, False, False]

    def record(self, n: int, mean_lsb: float, rails: int, below: bool, running: bool) -> list:
        """[(value, begins, text)] of what changed with a record.

        `n` samples with the mean `mean_lsb`, `rails` of them at a rail; `below` the channel's
        floor or not; `running`: what should draw current runs.
        """
        if not n:
            return []
        off = self._coupled and abs(mean_lsb - self._zero) > self._tolerance
        found: list = []
        self._look(CLIPPED, rails > 0 and not off, found, n, rails)
        self._look(OPEN, off, found, int(mean_lsb), int(self._zero))
        # Whatever does not run says nothing: it neither begins a fault nor ends one.
        if running or not below:
            self._look(NO_CURRENT, below, found, 0, 0)
        return found

    def _look(self, value: int, wrong: bool, found: list, first: int, second: int) -> None:
        if wrong == self.active[value]:
            self._held[value] = 0
            return
        self._held[value] += 1
        needed = _BEGIN if wrong else _END
        if self._held[value] < needed[value]:
            return
        self._held[value] = 0
        self.active[value] = wrong
        found.append((value, wrong, self._text(value, wrong, first, second)))

    def _text(self, value: int, wrong: bool, first: int, second: int) -> str:
        if value == CLIPPED:
            if wrong:
                return f"{self._key} clipped: {second} of {first} samples at a rail"
            return self._key + " is within its range again"
        if value == OPEN:
            if wrong:
                return (
                    f"{self._key} has its bias at {first} instead of {second}: transformer or "
                    "cable open or shorted"
                )
            return self._key + " has its bias again"
        if wrong:
            return self._key + " reads nothing: open, on the wrong wire, or around all of them"
        return self._key + " reads a current again"
