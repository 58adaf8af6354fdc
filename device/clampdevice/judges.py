"""From `state` of board.json to the object that tells the machine's state.

Owns the choice: thresholds that the configuration sets before what is learned, and a stack light
before both. What a board does not use is not loaded.
"""

from clampdevice.commands import BadArguments
from clampdevice.states import DEFAULT_HYSTERESIS_PCT, MachineState, ThresholdJudge

# A learned level is a clear one, so that working counts from one window on: a cut of 0.3 s, which
# fills one window for certain, is told.
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

    def keep(self, now_us: int) -> bool:
        """Writes what was learned if that is due. True if it was done."""
        return self.learned is not None and self.learned.keep(now_us)

    def relearn(self) -> None:
        """Forgets what was learned. Raises ValueError where nothing is learned."""
        if self.learned is None:
            raise ValueError("this board has thresholds of its own: there is nothing to relearn")
        self.learned.forget()


def state_commands(status: Status | None) -> tuple:
    """For the table of `commands.Commands`: `why`, and `relearn` on a new machine."""

    def why(_args: dict) -> dict:
        if status is None:
            return {"state": "unknown", "reason": "board.json has no state: nothing tells one"}
        return status.machine.why()

    def relearn(_args: dict) -> dict:
        if status is None:
            raise BadArguments("board.json has no state: there is nothing to relearn")
        try:
            status.relearn()
        except ValueError as error:
            raise BadArguments(str(error))
        return status.machine.why()

    return (("why", why), ("relearn", relearn))


def has_state(config: dict, channels: tuple) -> bool:
    """Whether the board tells a state at all."""
    return bool(config.get("state")) or has_lamps(channels)


def has_lamps(channels: tuple) -> bool:
    """Whether any input has a role."""
    return any(
        channel.describe()[1] == "input" and channel.config.get("role") for channel in channels
    )
