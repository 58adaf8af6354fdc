"""Status: debounced inputs, and the state of the machine from thresholds.

Owns what counts as a change, and its moment: of an input the edge itself, of the machine the
window that began it. Edges come from the HAL with their own time, levels from the channels once a
window. States are learned from data in a later module; here they have thresholds.
"""

from math import nan

from clampwire import messages

UNKNOWN = messages.code_of(messages.MACHINE_STATES, "unknown")
OFF = messages.code_of(messages.MACHINE_STATES, "off")
IDLE = messages.code_of(messages.MACHINE_STATES, "idle")
WORKING = messages.code_of(messages.MACHINE_STATES, "working")

DEFAULT_DEBOUNCE_MS = 20
# Seconds for which a level must hold before it is the state.
DEFAULT_MIN_S = {"off": 1.0, "idle": 0.6, "working": 0.4, "unknown": 1.0}
DEFAULT_HYSTERESIS_PCT = 10

_NAMES = ("unknown", "off", "idle", "working")


class InputChannel:
    """One debounced digital input; its record value `state` is 0 or 1.

    A level counts once it has stood for `debounce_ms`, with the time of the first edge of the
    burst that led to it. Before the first edge it is what the HAL reads at start.

    Args:
        config: the channel's part of board.json: `index` of the input in the HAL's order,
            optional `debounce_ms`.
    """

    quantity = "input"
    source_name = None

    def __init__(self, config: dict) -> None:
        self.config = config
        self.key = config["key"]
        self._debounce_us = 1000 * config.get("debounce_ms", DEFAULT_DEBOUNCE_MS)
        self.state = None
        self._before = None
        self._changed_us = 0
        self._raw = 0
        self._burst_us = None  # the first edge since the level stood still, None while it does
        self._last_us = 0
        self.edges = 0

    def describe(self) -> tuple:
        """Describe's fields from `key` on."""
        features = (("state", "", ord("B"), 1, 0),)
        sensor = self.config.get("sensor", "")
        return (self.key, "input", "", sensor, 0.0, 1.0, nan, nan, "", features)

    def start(self, level: int) -> None:
        """The level at the start of sampling."""
        self.state = self._before = self._raw = level

    def edge(self, level: int, at_us: int) -> None:
        """A raw edge to `level`; edges come in the order of their time."""
        self.edges += 1
        self._raw = level
        self._last_us = at_us
        if self._burst_us is None:
            self._burst_us = at_us

    def settled(self, now_us: int) -> int | None:
        """The time of the change, if the level has changed for good by `now_us`; else None."""
        if self._burst_us is None or now_us - self._last_us < self._debounce_us:
            return None
        at_us = self._burst_us
        self._burst_us = None
        if self._raw == self.state:
            return None  # a glitch
        self._before, self.state = self.state, self._raw
        self._changed_us = at_us
        return at_us

    def record(self, end_us: int) -> tuple:
        """(flags, values): the level at the record's end."""
        if self.state is None:
            return 0, [None]
        return 0, [self._before if self._changed_us > end_us else self.state]


class _Threshold:
    """A sum of channels against a limit, with hysteresis."""

    def __init__(self, config: dict, channels: tuple, hysteresis: float) -> None:
        keys = config["channels"]
        self._channels = [channel for channel in channels if channel.key in keys]
        self._above = config["above"]
        self._hysteresis = hysteresis
        self._label = "+".join(keys)
        self._unit = self._channels[0].describe()[2]
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
            self.high = total >= self._above
        elif self.high:
            self.high = total >= self._above * (1 - self._hysteresis)
        else:
            self.high = total >= self._above * (1 + self._hysteresis)
        self.value = total
        return self.high

    def text(self) -> str:
        """The comparison in words."""
        if self.value is None:
            return self._label + " has no samples"
        word = " above " if self.high else " below "
        return f"{self._label} {self.value:.4g} {self._unit}{word}{self._above:.4g} {self._unit}"


class MachineState:
    """Off, idle, working or unknown, from the levels of the windows.

    Off: `on` is below its limit. Working: on, and one of `working` is above its limit. Idle:
    the rest. Unknown: no samples. A change counts when it has lasted the new state's minimum
    time, and dates from the window that began it; a machine that goes down from working is idle
    only if it stays on for the time of idle, else it is off at once.

    Args:
        config: `state` of board.json: `on` and the entries of the list `working` are
            {"channels": [keys], "above": limit of the sum of their levels}; optional
            `hysteresis_pct`, and `min_s` by the state's name.
        channels: the channels of the device.
    """

    def __init__(self, config: dict, channels: tuple) -> None:
        hysteresis = config.get("hysteresis_pct", DEFAULT_HYSTERESIS_PCT) / 100
        self._on = _Threshold(config["on"], channels, hysteresis)
        self._working = [_Threshold(part, channels, hysteresis) for part in config["working"]]
        min_s = dict(DEFAULT_MIN_S)
        min_s.update(config.get("min_s", {}))
        self._min_us = tuple(int(1000000 * min_s[name]) for name in _NAMES)
        self.state = UNKNOWN
        self._why = self._on
        # Since when each has held without a break: no samples; off; idle or more; less than
        # working; working. None while it does not.
        self._since: dict = {"none": None, "off": None, "on": None, "rest": None, "working": None}

    def window(self, begin_us: int, end_us: int) -> tuple | None:
        """Takes the levels of one window; (at_us, state, reason) if the state changes."""
        level = self._look()
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
        return None

    def _hold(self, name: str, holds: bool, begin_us: int) -> None:
        if not holds:
            self._since[name] = None
        elif self._since[name] is None:
            self._since[name] = begin_us

    def _look(self) -> int:
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
        if level == IDLE and self.state == WORKING and self._working:
            self._why = self._working[0]
        return level

    def _lasts(self, begin_us: int | None, state: int, end_us: int) -> bool:
        if begin_us is None or state == self.state:
            return False
        return end_us - begin_us >= self._min_us[state]

    def _become(self, state: int, begin_us: int, end_us: int) -> tuple:
        self.state = state
        seconds = (end_us - begin_us) / 1000000
        return begin_us, state, f"{self._why.text()} for {seconds:.1f} s"
