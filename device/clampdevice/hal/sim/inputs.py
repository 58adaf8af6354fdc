"""The simulated digital inputs: edges at the phases of the scenario, with bouncing contacts.

Owns the order and the moments of the raw edges; debouncing is `clampdevice.status`.
"""

from clampdevice.hal.sim.wave import noise

_BOUNCE_STEP_US = 300


class Inputs:
    """Source of edges: `take` gives one at a time, oldest first.

    Args:
        channels: `channels` of board.json; those of an input are heard, by their `index`.
        scenario: content of scenario.json: `inputs` of a phase holds the level by channel key,
            kept where it is silent, `pulses` the rate in Hz by channel key, of equal halves that
            begin with the phase; `bounces` is the number of false edge pairs of a change.
    """

    def __init__(self, channels: list, scenario: dict) -> None:
        self._inputs = [
            (part["index"], part["key"]) for part in channels if part["quantity"] == "input"
        ]
        # What concerns others is left behind: a scenario is large.
        self._timeline = [
            (phase["ms"], phase.get("inputs", {}), phase.get("pulses", {}))
            for phase in scenario["timeline"]
        ]
        self._bounces = scenario.get("bounces", 0)
        self._seed = scenario.get("seed", 0)
        self._levels = {index: self._level_at(0, key, 0) for index, key in self._inputs}
        self._phase = 0
        self._phase_us = 0  # its start
        self._pending: list = []
        self._halves = [0] * len(self._inputs)  # of pulses, told in this phase
        self.edges_lost = 0

    def start(self, now_us: int) -> None:
        """The scenario begins at `now_us`."""
        self._phase = 0
        self._phase_us = now_us

    def level(self, index: int) -> int:
        """The level after the last edge taken."""
        return self._levels[index]

    def take(self, now_us: int) -> list | None:
        """The next edge [index, level, at_us] up to `now_us`, or None."""
        while not self._pending:
            end_us = self._phase_us + 1000 * self._timeline[self._phase][0]
            self._pulse(min(end_us - 1, now_us))
            if self._pending:
                break
            if end_us > now_us:
                return None
            self._phase = (self._phase + 1) % len(self._timeline)
            self._phase_us = end_us
            self._halves = [0] * len(self._inputs)
            for index, key in self._inputs:
                level = self._level_at(self._phase, key, self._levels[index])
                if level != self._levels[index]:
                    self._change(index, level, end_us)
            self._pending.sort(key=_time_of)
        if self._pending[0][2] > now_us:
            return None
        edge = self._pending.pop(0)
        self._levels[edge[0]] = edge[1]
        return edge

    def _pulse(self, until_us: int) -> None:
        """The next edge of the pulses of this phase, if it comes by `until_us`."""
        rates_hz = self._timeline[self._phase][2]
        first = None
        for place, (index, key) in enumerate(self._inputs):
            rate_hz = rates_hz.get(key)
            if not rate_hz:
                continue
            at_us = self._phase_us + int(500000 * self._halves[place] / rate_hz)
            if at_us <= until_us and (first is None or at_us < first[2]):
                first = (place, index, at_us)
        if first is not None:
            place, index, at_us = first
            self._halves[place] += 1
            self._pending.append([index, 1 - self._levels[index], at_us])

    def _level_at(self, phase: int, key: str, before: int) -> int:
        return self._timeline[phase][1].get(key, before)

    def _change(self, index: int, level: int, at_us: int) -> None:
        self._pending.append([index, level, at_us])
        for _ in range(self._bounces):
            for bounced in (1 - level, level):
                at_us += _BOUNCE_STEP_US + (noise(at_us, self._seed, 1 << 8) & 0xFF)
                self._pending.append([index, bounced, at_us])


def _time_of(edge: list) -> int:
    return edge[2]
