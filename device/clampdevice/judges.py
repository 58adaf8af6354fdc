"""From `state` of board.json to the object that tells the machine's state.

Owns the choice: thresholds that the configuration sets before what is learned, and a stack light
before both. What a board does not use is not loaded.
"""

from clampdevice.states import (
    DEFAULT_HYSTERESIS_PCT,
    WORKING,
    MachineState,
    ThresholdJudge,
    short,
)
from clampdevice.status import has_lamps

# A learned level is a clear one, so that working counts from one window on: a cut of 0.3 s, which
# fills one window for certain, is told.
_BASELINE_WINDOWS = 300  # as baseline.WINDOWS, which is not loaded for a number
LEARNED_MIN_S = {"working": 0.2}


class Status:
    """The machine's state, and what the app needs of it.

    Args:
        config: `state` of board.json; None where only lights tell.
        channels, files: see `LearnedJudge`.
    """

    def __init__(self, config: dict | None, channels: tuple, files=None) -> None:
        config = config or {}
        hysteresis = config.get("hysteresis_pct", DEFAULT_HYSTERESIS_PCT) / 100
        min_s = {}
        self.learned = judge = None
        if "on" in config:
            judge = ThresholdJudge(config, channels, hysteresis)
        elif config.get("learn") is not None:
            from clampdevice.learner import LearnedJudge

            judge = self.learned = LearnedJudge(config["learn"], channels, hysteresis, files)
            min_s.update(LEARNED_MIN_S)
        min_s.update(config.get("min_s", {}))
        if has_lamps(channels):
            from clampdevice.lamps import LampJudge

            judge = LampJudge(channels, judge)
        self.machine = MachineState(judge, min_s)
        self._shaking = []  # channels with a baseline
        for channel in channels:
            extra = getattr(channel, "extra", None)
            if extra is not None and extra.wants_ratio:
                from clampdevice.baseline import Baseline

                extra.baseline = Baseline(channel.key, files)
                self._shaking.append(channel)

    def window(self, begin_us: int, end_us: int) -> tuple | None:
        """See `MachineState.window`; a window of work also goes to the baselines."""
        news = self.machine.window(begin_us, end_us)
        if self.machine.state == WORKING:
            for channel in self._shaking:
                channel.extra.baseline.take(channel.level)
        return news

    def why(self) -> dict:
        """The answer to the command `why`."""
        answer = self.machine.why()
        if self._shaking:
            answer["baselines"] = [self._baseline_of(channel) for channel in self._shaking]
        return answer

    def _baseline_of(self, channel) -> dict:
        baseline = channel.extra.baseline
        return {
            "of": channel.key,
            "level": short(baseline.level),
            "learning": [baseline.windows, _BASELINE_WINDOWS],
            "failed_saves": baseline.failed_saves,
        }

    def keep(self, now_us: int) -> bool:
        """Writes what was learned if that is due, one file a call. True if it was done."""
        if self.learned is not None and self.learned.keep(now_us):
            return True
        return any(channel.extra.baseline.keep(now_us) for channel in self._shaking)

    def relearn(self) -> None:
        """Forgets states and baselines. Raises ValueError where nothing is learned."""
        if self.learned is None and not self._shaking:
            raise ValueError("this board has thresholds of its own: there is nothing to relearn")
        if self.learned is not None:
            self.learned.forget()
        for channel in self._shaking:
            channel.extra.baseline.forget()
