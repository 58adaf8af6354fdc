"""Digital inputs: debounced levels, edges with their own time, and pulses counted.

Owns what counts as a change, and its moment, the edge itself. Edges come from the HAL with their
own time. What a level means for the machine is `lamps.py` and `states.py`.
"""

from math import nan

_DEFAULT_DEBOUNCE_MS = 20
# The raw value that means "not available" is never a count: it is left out when a count wraps.
COUNT_WRAP = 0xFFFFFFFF


class InputChannel:
    """One debounced digital input; its record value `state` is 0 or 1.

    A level counts once it has stood for `debounce_ms`, with the time of the first edge of the
    burst that led to it. Before the first edge it is what the HAL reads at start. With the
    feature `count`, the debounced changes to 1 are counted since power-up; debouncing is then off
    unless asked for, and no event is told of a change unless `events` says so. A HAL that counts
    in hardware filters there, and its count is taken in place of the changes'.

    Args:
        config: the channel's part of board.json: `index` of the input in the HAL's order,
            optional `debounce_ms`, `features`, `events`, and `role` (see `lamps.py`).

    Attributes:
        count: changes to 1.
        tells: whether a change is an event.
    """

    quantity = "input"
    source_name = None

    def __init__(self, config: dict) -> None:
        self.config = config
        self.key = config["key"]
        self._features = tuple(config.get("features", ("state",)))
        self._counts = counts = "count" in self._features
        debounce_ms = config.get("debounce_ms", 0 if counts else _DEFAULT_DEBOUNCE_MS)
        self._debounce_us = int(1000 * debounce_ms)
        self.tells = config.get("events", not counts)
        self.count = 0
        self._pulses = None
        self.state = None
        self._before = None
        self._changed_us = 0
        self._raw = 0
        self._burst_us = None  # the first edge since the level stood still, None while it does
        self._last_us = 0
        self.edges = 0

    def describe(self) -> tuple:
        """Describe's fields from `key` on."""
        codes = {"state": ("state", "", ord("B"), 1, 0), "count": ("count", "", ord("I"), 1, 0)}
        features = tuple(codes[key] for key in self._features)
        sensor = self.config.get("sensor", "")
        return (self.key, "input", "", sensor, 0.0, 1.0, nan, nan, "", features)

    def start(self, level: int) -> None:
        """The level at the start of sampling."""
        self.state = self._before = self._raw = level

    def count_by(self, pulses) -> None:
        """Takes the count from hardware, when a record is closed.

        Args:
            pulses: a function of the index that gives the pulses since power-up, None for an
                input that hardware does not count; or None to count the edges that come here.
        """
        counted = self._counts and pulses is not None and pulses(self.config["index"]) is not None
        self._pulses = pulses if counted else None

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
        if self.state and self._pulses is None:
            self.count = (self.count + 1) % COUNT_WRAP
        return at_us

    def record(self, end_us: int) -> tuple:
        """(flags, values): the level at the record's end, and the count."""
        state = self._before if self._changed_us > end_us else self.state
        if self._pulses is not None:
            self.count = self._pulses(self.config["index"]) % COUNT_WRAP
        return 0, [state if key == "state" else self.count for key in self._features]


def has_lamps(channels: tuple) -> bool:
    """Whether any input has a role."""
    return any(
        channel.describe()[1] == "input" and channel.config.get("role") for channel in channels
    )
