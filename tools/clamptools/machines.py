"""Simulated machines: what a lathe, a laser cutter and a 3D printer draw, shake and switch.

Owns the scenario.json of a simulated device: waves (lines of current and vibration) and a timeline
of phases, drawn from a seed and repeated for ever. Its meaning is written down in
`clampdevice.hal.sim.wave`, which plays it in integers, and in `clamptools.truth`, which evaluates
it in float64. Levels are plausible, not measured; no figure here is of a particular machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from clamptools.errors import UserError
from clamptools.truth import Truth

__all__ = ["MACHINES", "Truth", "board_of", "scenario"]

Line = list[float]
Wave = dict[str, Any]
Phase = dict[str, Any]

_MOTOR: list[Line] = [[1, 1.0, 0], [5, 0.06, 40], [7, 0.035, 110]]
_MOTOR_LOADED: list[Line] = [[1, 1.0, 0], [5, 0.04, 20], [7, 0.02, 80], [11, 0.015, 10]]
_RECTIFIER: list[Line] = [[1, 1.0, 0], [3, 0.74, 175], [5, 0.42, -12], [7, 0.19, 160]]
_SUPPLY: list[Line] = [[1, 1.0, 0], [3, 0.31, 170], [5, 0.14, 20], [9, 0.05, 0]]
_HEATER: list[Line] = [[1, 1.0, 0]]


class _Timeline:
    """Phases in the making: each has a wave, a length, knots in thousandths, and inputs."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.phases: list[Phase] = []

    def add(self, wave: str, seconds: float, levels: Mapping[str, Any], contact: int) -> None:
        """Appends a phase; a level is a number (steady) or a list of knots."""
        self.phases.append(
            {
                "wave": wave,
                "ms": round(1000 * seconds),
                "levels": {
                    key: [
                        round(1000 * knot)
                        for knot in (level if isinstance(level, list) else [level])
                    ]
                    for key, level in levels.items()
                },
                "inputs": {"input1": contact},
            }
        )

    def between(self, low: float, high: float) -> float:
        return self.draw.uniform(low, high)

    def knots(self, count: int, low: float, high: float) -> list[float]:
        """A level that wanders."""
        return [self.between(low, high) for _ in range(count)]


def _three_phases(level: float | list[float], spread: tuple[float, float, float]) -> Wave:
    """The same load on three phases, not quite balanced."""
    values = level if isinstance(level, list) else [level]
    return {f"current{i + 1}": [part * value for value in values] for i, part in enumerate(spread)}


def _lathe(timeline: _Timeline) -> tuple[dict[str, Wave], dict[str, float]]:
    """Coolant pump and control, spindle running up, cuts with a load that follows the chip."""
    spread = (1.0, 0.97, 1.02)
    timeline.add("off", timeline.between(2.5, 3.5), {}, 0)
    timeline.add("standby", timeline.between(2.0, 3.0), _three_phases(0.9, spread), 0)
    for _ in range(5):
        start = _three_phases([19.0, 13.5, 7.0, 3.6], spread)
        timeline.add("spindle", 0.7, start | {"vibration1": [0.2, 1.4, 1.1]}, 1)
        for _ in range(timeline.draw.randint(2, 3)):
            run = _three_phases(timeline.between(3.2, 3.6), spread)
            timeline.add("spindle", timeline.between(1.5, 3.0), run | {"vibration1": 1.0}, 1)
            cut = timeline.knots(8, 5.6, 9.4)
            load = {"vibration1": [level / 7 for level in cut]}
            timeline.add("cut", timeline.between(4, 7), _three_phases(cut, spread) | load, 1)
        stop = {"vibration1": [1.0, 0.3, 0.0]}
        timeline.add("standby", timeline.between(2, 4), _three_phases(0.9, spread) | stop, 0)
    waves: dict[str, Wave] = {
        "standby": dict.fromkeys(("current1", "current2", "current3"), _MOTOR)
        | {"vibration1": _axes([[24.4, 0.30], [99.9, 0.12]], (1.0, 0.8, 0.5))},
        "spindle": dict.fromkeys(("current1", "current2", "current3"), _MOTOR)
        | {"vibration1": _axes([[24.4, 0.32], [99.9, 0.20], [311.7, 0.18]], (1.0, 0.8, 0.5))},
        "cut": dict.fromkeys(("current1", "current2", "current3"), _MOTOR_LOADED)
        | {"vibration1": _axes([[24.4, 0.4], [146.4, 1.1], [439.2, 2.3]], (0.7, 1.0, 0.6))},
    }
    return waves, {"current1": 0.0, "current2": -120.0, "current3": 120.0}


def _laser(timeline: _Timeline) -> tuple[dict[str, Wave], dict[str, float]]:
    """A supply that follows the engraved picture line by line; exhaust and chiller beside it."""
    timeline.add("off", timeline.between(3.0, 4.5), {}, 0)
    for _ in range(4):
        idle = {"current1": 0.62, "current2": 0.88, "current3": timeline.draw.choice([0.4, 2.3])}
        timeline.add("idle", timeline.between(2.5, 4.5), idle, 0)
        for _ in range(timeline.draw.randint(1, 3)):
            seconds = timeline.between(4.0, 8.0)
            burn = {
                "current1": timeline.knots(round(seconds * 3), 2.9, 5.6),
                "current2": 0.88,
                "current3": [2.5, 2.3],
                "vibration1": timeline.knots(round(seconds * 2), 0.6, 1.3),
            }
            timeline.add("burn", seconds, burn, 1)
            timeline.add("idle", timeline.between(1.2, 2.2), idle | {"vibration1": 0.3}, 0)
    waves: dict[str, Wave] = {
        "idle": {"current1": _SUPPLY, "current2": _MOTOR, "current3": _MOTOR}
        | {"vibration1": _axes([[48.7, 0.16]], (0.6, 0.6, 1.0))},
        "burn": {"current1": _RECTIFIER, "current2": _MOTOR, "current3": _MOTOR}
        | {"vibration1": _axes([[35.2, 0.35], [118.6, 0.5], [262.1, 0.4]], (1.0, 0.7, 0.3))},
    }
    return waves, {"current1": 15.0, "current2": -105.0, "current3": 135.0}


def _printer(timeline: _Timeline) -> tuple[dict[str, Wave], dict[str, float]]:
    """Heating up, then the bed's thermostat on and off under the steppers' noise."""
    timeline.add("off", timeline.between(2.0, 3.0), {}, 0)
    timeline.add("heat", timeline.between(3, 5), {"current1": [2.15, 2.05], "current2": 0.21}, 0)
    for _ in range(3):
        for _ in range(timeline.draw.randint(3, 5)):
            for heater in (1.62, 0.48):
                seconds = timeline.between(1.2, 2.6)
                levels = {
                    "current1": [heater, heater * 0.97],
                    "current2": 0.21,
                    "current3": 0.13,
                    "vibration1": timeline.knots(round(seconds * 3), 0.7, 1.4),
                }
                timeline.add("heat" if heater > 1 else "print", seconds, levels, 1)
        rest = {"current1": 0.17, "current2": 0.21, "current3": 0.13}
        timeline.add("rest", timeline.between(3.0, 5.0), rest, 0)
    steppers = _axes([[57.3, 0.28], [114.6, 0.22], [201.4, 0.34]], (1.0, 0.9, 0.25))
    waves: dict[str, Wave] = {
        "heat": {"current1": _HEATER, "current2": _HEATER, "current3": _MOTOR}
        | {"vibration1": steppers},
        "print": {"current1": _RECTIFIER, "current2": _HEATER, "current3": _MOTOR}
        | {"vibration1": steppers},
        "rest": {"current1": _RECTIFIER, "current2": _HEATER, "current3": _MOTOR},
    }
    return waves, {"current1": -30.0, "current2": -30.0, "current3": 20.0}


def _axes(lines: list[Line], shares: tuple[float, float, float]) -> dict[str, list[Line]]:
    """The same lines on three axes, each with its share and its own angles."""
    return {
        axis: [
            [hz, round(share * rms, 4), 40 * place + 67 * i] for i, (hz, rms) in enumerate(lines)
        ]
        for place, (axis, share) in enumerate(zip("xyz", shares, strict=True))
    }


_MAKERS: dict[str, Callable[[_Timeline], tuple[dict[str, Wave], dict[str, float]]]] = {
    "lathe": _lathe,
    "laser": _laser,
    "printer": _printer,
}
MACHINES = tuple(_MAKERS)


def board_of(machine: str) -> str:
    """Name of the simulated board that sits on the machine."""
    return f"sim-{machine}"


def scenario(machine: str, seed: int = 1) -> dict[str, Any]:
    """Content of scenario.json.

    Args:
        machine: One of `MACHINES`.
        seed: Two seeds are two machines of a kind: other lengths, loads, noise and errors.

    Raises:
        UserError: No such machine.
    """
    if machine not in _MAKERS:
        raise UserError(f"no machine {machine!r}: {', '.join(MACHINES)}")
    timeline = _Timeline(seed)
    waves, phase_deg = _MAKERS[machine](timeline)
    return {
        "machine": machine,
        "seed": seed,
        "mains_hz": round(timeline.between(49.96, 50.04), 3),
        "adc": {"noise_lsb": 1.0, "offset_lsb": round(timeline.between(-6, 6), 2)},
        "accelerometer": {
            "noise_lsb": 0.8,
            "rate_ppm": round(timeline.between(-20_000, 20_000)),
            "gravity_g": [0.02, -0.03, 0.999],
        },
        "temperature_c": round(timeline.between(24, 38), 1),
        "bounces": 3,
        "phase_deg": phase_deg,
        "waves": waves,
        "timeline": timeline.phases,
    }
