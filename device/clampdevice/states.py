"""The state of the machine: off, idle, working or unknown, with hysteresis and minimum times.

Owns what counts as a change and its moment, the window that began it, and the thresholds that a
board's configuration may set. What a window's levels mean otherwise is learned (`learner.py`) or
shown by a stack light (`lamps.py`): each a judge with

- `look(state) -> code`: what the window just closed says, in view of the state so far,
- `text() -> str`: why, in words,
- `progress() -> str | None`: something to tell while the state stays,
- `levels() -> dict`, `rules() -> dict`: for the command `why`.
"""

from clampwire import messages

UNKNOWN = messages.code_of(messages.MACHINE_STATES, "unknown")
OFF = messages.code_of(messages.MACHINE_STATES, "off")
IDLE = messages.code_of(messages.MACHINE_STATES, "idle")
WORKING = messages.code_of(messages.MACHINE_STATES, "working")

# Seconds for which a level must hold before it is the state.
DEFAULT_MIN_S = {"off": 1.0, "idle": 0.6, "working": 0.4, "unknown": 1.0}
DEFAULT_HYSTERESIS_PCT = 10

_NAMES = ("unknown", "off", "idle", "working")


def short(value: float | None) -> float | None:
    """A level with the digits that it is worth."""
    return None if value is None else float(f"{value:.4g}")


class Threshold:
    """A sum of channels' levels against a limit, with hysteresis.

    Args:
        channels: those that are added up; at least one.
        above: the limit, in their unit.
        hysteresis: share of the limit by which it must be passed to count as a change.
    """

    def __init__(self, channels: list, above: float, hysteresis: float) -> None:
        self._channels = channels
        self.above = above
        self._hysteresis = hysteresis
        self.label = "+".join(channel.key for channel in channels)
        self.unit = channels[0].describe()[2]
        self.value = None
        self.high = None

    def look(self) -> bool | None:
        """Whether the sum is above; None without samples."""
        total = 0.0
        for channel in self._channels:
            if channel.level is None:
                self.value = self.high = None
                return None
            total += channel.level
        if self.high is None:
            self.high = total >= self.above
        elif self.high:
            self.high = total >= self.above * (1 - self._hysteresis)
        else:
            self.high = total >= self.above * (1 + self._hysteresis)
        self.value = total
        return self.high

    def text(self) -> str:
        """The comparison in words."""
        if self.value is None:
            return self.label + " has no samples"
        word = " above " if self.high else " below "
        return f"{self.label} {self.value:.4g} {self.unit}{word}{self.above:.4g} {self.unit}"

    def rule(self) -> dict:
        return {"of": self.label, "above": short(self.above), "unit": self.unit}


class ThresholdJudge:
    """Thresholds of the configuration.

    Off: `on` is below its limit. Working: on, and one of `working` is above its limit. Idle:
    the rest. Unknown: no samples.

    Args:
        config: `state` of board.json: `on` and the entries of the list `working` are
            {"channels": [keys], "above": limit of the sum of their levels}.
        channels: the channels of the device.
        hysteresis: see `Threshold`.
    """

    mode = "thresholds"

    def __init__(self, config: dict, channels: tuple, hysteresis: float) -> None:
        def threshold(part: dict) -> Threshold:
            chosen = [channel for channel in channels if channel.key in part["channels"]]
            return Threshold(chosen, part["above"], hysteresis)

        self._on = threshold(config["on"])
        self._working = [threshold(part) for part in config["working"]]
        self._why = self._on

    def look(self, state: int) -> int:
        on = self._on.look()
        self._why = self._on
        if on is None:
            return UNKNOWN
        level = IDLE if on else OFF
        for threshold in self._working:
            high = threshold.look()
            if not on:
                continue
            if high is None:
                self._why = threshold
                return UNKNOWN
            if high and level != WORKING:
                self._why = threshold
                level = WORKING
        if level == IDLE and state == WORKING and self._working:
            self._why = self._working[0]
        return level

    def text(self) -> str:
        return self._why.text()

    def progress(self) -> str | None:
        return None

    def levels(self) -> dict:
        return {part.label: short(part.value) for part in [self._on] + self._working}

    def rules(self) -> dict:
        return {"on": self._on.rule(), "working": [part.rule() for part in self._working]}


class MachineState:
    """Holds levels for their minimum times.

    A change counts when it has lasted the new state's minimum time, and dates from the window
    that began it; a machine that goes down from working is idle only if it stays on for the time
    of idle, else it is off at once.

    Args:
        judge: see the module.
        min_s: seconds by the state's name; `DEFAULT_MIN_S` where silent.
    """

    def __init__(self, judge, min_s: dict | None = None) -> None:
        self.judge = judge
        times = dict(DEFAULT_MIN_S)
        times.update(min_s or {})
        self._min_us = tuple(int(1000000 * times[name]) for name in _NAMES)
        self.state = UNKNOWN
        self.since_us = None
        self.reason = "no samples yet"
        # Since when each has held without a break: nothing known; off; idle or more; less than
        # working; working. None while it does not.
        self._since: dict = {"none": None, "off": None, "on": None, "rest": None, "working": None}

    def window(self, begin_us: int, end_us: int) -> tuple | None:
        """Takes the levels of one window; (at_us, state, reason) where there is news.

        News is a change of the state, or a judge's progress, of which the state is the same.
        """
        level = self.judge.look(self.state)
        since = self._since
        self._hold("none", level == UNKNOWN, begin_us)
        self._hold("off", level == OFF, begin_us)
        self._hold("on", level in (IDLE, WORKING), begin_us)
        self._hold("rest", level in (OFF, IDLE), begin_us)
        self._hold("working", level == WORKING, begin_us)
        if self._lasts(since["none"], UNKNOWN, end_us):
            return self._become(UNKNOWN, since["none"], end_us)
        if self._lasts(since["working"], WORKING, end_us):
            return self._become(WORKING, since["working"], end_us)
        if self._lasts(since["off"], OFF, end_us):
            return self._become(OFF, since["off"], end_us)
        if level == IDLE or (level == WORKING and self.state in (OFF, UNKNOWN)):
            begin = since["rest"] if self.state == WORKING else since["on"]
            if self._lasts(begin, IDLE, end_us):
                return self._become(IDLE, begin, end_us)
        if level == UNKNOWN and self.state == UNKNOWN:
            self.reason = self.judge.text()
            text = self.judge.progress()
            if text is not None:
                return end_us, UNKNOWN, text
        return None

    def why(self) -> dict:
        """What the state rests on: the answer to the command `why`."""
        judge = self.judge
        answer = {
            "state": _NAMES[self.state],
            "since_ms": None if self.since_us is None else self.since_us // 1000,
            "reason": self.reason,
            "mode": judge.mode,
            "now": judge.text(),
            "levels": judge.levels(),
            "min_s": {name: us / 1000000 for name, us in zip(_NAMES, self._min_us)},
        }
        answer.update(judge.rules())
        return answer

    def _hold(self, name: str, holds: bool, begin_us: int) -> None:
        if not holds:
            self._since[name] = None
        elif self._since[name] is None:
            self._since[name] = begin_us

    def _lasts(self, begin_us: int | None, state: int, end_us: int) -> bool:
        if begin_us is None or state == self.state:
            return False
        return end_us - begin_us >= self._min_us[state]

    def _become(self, state: int, begin_us: int, end_us: int) -> tuple:
        self.state = state
        self.since_us = begin_us
        seconds = (end_us - begin_us) / 1000000
        self.reason = f"{self.judge.text()} for {seconds:.1f} s"
        return begin_us, state, self.reason
