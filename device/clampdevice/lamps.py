"""A stack light, or a contact of the machine, that says what the machine does.

Owns what the inputs with a `role` mean, and that a blinking light is a lit one. Where no light is
lit, another judge has the word, but a machine whose green light is dark is not working.
"""

from clampdevice.states import IDLE, UNKNOWN, WORKING

# The first that is lit counts. `contact` is any contact that is closed while the machine works.
ROLES = (
    ("red", IDLE),
    ("green", WORKING),
    ("contact", WORKING),
    ("amber", IDLE),
    ("blue", IDLE),
)
# A light that has come on twice within 3 s blinks, and is lit until it has been dark for 1.4 s.
_BLINK_WINDOWS = 15
_DARK_WINDOWS = 7


class _Lamp:
    """One light, looked at once a window."""

    def __init__(self, channel, role: str) -> None:
        self.channel = channel
        self.role = role
        self.blinking = False
        self._before = 0
        self._since_rise = _BLINK_WINDOWS
        self._dark = 0

    def lit(self) -> bool | None:
        """None if its level is not known."""
        level = self.channel.state
        if level is None:
            return None
        self._since_rise = min(_BLINK_WINDOWS, self._since_rise + 1)
        self._dark = 0 if level else min(_DARK_WINDOWS, self._dark + 1)
        if level and not self._before:
            self.blinking = self._since_rise < _BLINK_WINDOWS
            self._since_rise = 0
        self._before = level
        if self._since_rise >= _BLINK_WINDOWS or self._dark >= _DARK_WINDOWS:
            self.blinking = False
        return bool(level) or self.blinking


class LampJudge:
    """See `clampdevice.states` for what a judge is.

    Args:
        channels: the channels of the device; inputs with a `role` are the lights.
        inner: the judge that is asked where no light is lit; None without one.
    """

    def __init__(self, channels: tuple, inner) -> None:
        self._lamps = []
        for role, _state in ROLES:
            for channel in channels:
                if channel.describe()[1] == "input" and channel.config.get("role") == role:
                    self._lamps.append(_Lamp(channel, role))
        self.inner = inner
        self._text = "no samples yet"
        self._lit: tuple = ()

    @property
    def mode(self) -> str:
        return "lights" if self.inner is None else "lights and " + self.inner.mode

    def look(self, state: int) -> int:
        level = UNKNOWN if self.inner is None else self.inner.look(state)
        lit = tuple(lamp for lamp in self._lamps if lamp.lit())
        self._lit = lit
        for role, means in ROLES:
            for lamp in lit:
                if lamp.role == role:
                    how = " blinks" if lamp.blinking else " is on"
                    self._text = lamp.channel.key + " (" + role + ")" + how
                    return means
        if self.inner is None:
            self._text = "no light is lit"
            return UNKNOWN
        self._text = self.inner.text()
        if level == WORKING and any(lamp.role in ("green", "contact") for lamp in self._lamps):
            self._text = "no light is lit, though " + self._text
            return IDLE
        return level

    def text(self) -> str:
        return self._text

    def progress(self) -> str | None:
        return None if self.inner is None or self._lit else self.inner.progress()

    def levels(self) -> dict:
        levels = {} if self.inner is None else self.inner.levels()
        for lamp in self._lamps:
            levels[lamp.channel.key] = lamp.channel.state
        return levels

    def rules(self) -> dict:
        return {} if self.inner is None else self.inner.rules()
