"""The ideal waveform of a simulated machine in float64, before any converter: the tests' truth.

Owns the evaluation of the formula that `clampdevice.hal.sim.wave` plays in integers; neither uses
the other. With the scenario's `timeline` and `waves`, at frame n = 0, 1, ... and rate Hz:

    x(n) = level(n / rate) * sum of w * sin(2 pi (f t + phi / 360)),   t = (n + slot/slots) / rate

Phases follow each other from t = 0 and repeat for ever; a phase holds from its first to just
before its last millisecond. Within it, `level` is a straight line between knots that are evenly
spaced from its start to its end, in thousandths; one knot is a constant, no knots are 0.

A current has lines [harmonic, ratio, degrees]: f = harmonic * mains_hz, phi = degrees + harmonic *
phase_deg, w = sqrt(2) * ratio / sqrt(sum of ratio**2), and `level` is its RMS in A. An axis of a
vibration has lines [Hz, m/s2 RMS, degrees] with slot 0: w = sqrt(2) * m/s2. Its velocity is the
sum over the lines from 10 to 1000 Hz of w / (2 pi f), a quarter turn later: right where the level
changes slowly against the line, wrong for some tenths of a second after a jump.

The true rate of the accelerometer is its nominal one times 1 + rate_ppm / 1e6, rounded to 1 mHz.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

WINDOW_S = 0.2
VELOCITY_BAND_HZ = (10.0, 1000.0)


class Truth:
    """One device's ideal signals.

    Args:
        scenario: Content of scenario.json.
        board: Content of board.json.
    """

    def __init__(self, scenario: Mapping[str, Any], board: Mapping[str, Any]) -> None:
        self._scenario = scenario
        self._timeline: list[Mapping[str, Any]] = list(scenario["timeline"])
        ends_us = np.cumsum([1000.0 * phase["ms"] for phase in self._timeline])
        self._begin_us = np.concatenate(([0.0], ends_us[:-1]))
        self._loop_us = float(ends_us[-1])
        sources = board["sources"]
        self._slots = sources.get("adc", {}).get("slots", 1)
        self._rates_hz: dict[str, float] = {}
        if "adc" in sources:
            self._rates_hz["current"] = float(sources["adc"]["rate_hz"])
        if "accelerometer" in sources:
            ppm = scenario.get("accelerometer", {}).get("rate_ppm", 0)
            nominal_hz = sources["accelerometer"]["rate_hz"]
            self._rates_hz["vibration"] = round(1000 * nominal_hz * (1 + ppm / 1e6)) / 1000
        self._channels = {channel["key"]: channel for channel in board["channels"]}

    def rate_hz(self, channel: str) -> float:
        """True frames a second of the channel's source."""
        return self._rates_hz[self._channels[channel]["quantity"]]

    def span(self, channel: str, end_ms: int, start_us: int, seconds: float = 1.0) -> slice:
        """The frames of an interval.

        Args:
            channel: Its key.
            end_ms: Device time of the interval's end, as in a Record.
            start_us: Device time of the first sample.
            seconds: Length, a multiple of the window.
        """
        last = round((end_ms * 1000 - start_us) / (1e6 * WINDOW_S))
        windows = round(seconds / WINDOW_S)
        rate_hz = self.rate_hz(channel)
        first, end = (_boundary(k, rate_hz) for k in (last - windows, last))
        return slice(first, end)

    def current(self, channel: str, first_sample: int, n: int) -> np.ndarray:
        """Current in A, shape (n,)."""
        settings = self._channels[channel]
        rate_hz = self.rate_hz(channel)
        frames = np.arange(first_sample, first_sample + n, dtype=np.float64)
        t_s = (frames + settings["slot"] / self._slots) / rate_hz
        mains_hz = self._scenario["mains_hz"]
        shift_deg = self._scenario.get("phase_deg", {}).get(channel, 0.0)

        def wave(lines: list[list[float]], at: np.ndarray) -> np.ndarray:
            total = np.sqrt(sum(ratio**2 for _h, ratio, _deg in lines))
            return sum(
                (
                    np.sqrt(2) * ratio / total
                    * np.sin(2 * np.pi * (h * mains_hz * t_s[at] + (deg + h * shift_deg) / 360))
                    for h, ratio, deg in lines
                ),
                start=np.zeros(at.size),
            )  # fmt: skip

        return self._play(channel, frames / rate_hz * 1e6, lambda part: part, wave)

    def acceleration(self, channel: str, axis: str, first_sample: int, n: int) -> np.ndarray:
        """Acceleration without gravity in m/s2, shape (n,)."""
        return self._vibration(channel, axis, first_sample, n, _acceleration_line)

    def velocity(self, channel: str, axis: str, first_sample: int, n: int) -> np.ndarray:
        """Velocity of the lines from 10 to 1000 Hz in mm/s, shape (n,)."""
        return self._vibration(channel, axis, first_sample, n, _velocity_line)

    def rms(self, channel: str, first_sample: int, n: int) -> float:
        """RMS of a current in A, as a Record defines it: around the mean of each window."""
        return self._windowed(channel, first_sample, self.current(channel, first_sample, n))

    def peak(self, channel: str, first_sample: int, n: int) -> float:
        """Largest distance of a current from its window's mean, in A."""
        parts = self._windows(channel, first_sample, self.current(channel, first_sample, n))
        return max(float(np.max(np.abs(part - part.mean()))) for part in parts)

    def acceleration_rms(self, channel: str, first_sample: int, n: int) -> float:
        """RMS of the acceleration vector without gravity, m/s2."""
        axes = self._channels[channel].get("axes", "xyz")
        squares = [
            self._windowed(channel, first_sample, self.acceleration(channel, a, first_sample, n))
            for a in axes
        ]
        return float(np.sqrt(np.sum(np.square(squares))))

    def velocity_rms(self, channel: str, axis: str, first_sample: int, n: int) -> float:
        """RMS of the velocity of one axis, mm/s."""
        return float(np.sqrt(np.mean(self.velocity(channel, axis, first_sample, n) ** 2)))

    def wave_at(self, t_s: float) -> str:
        """Name of the wave at a time after the first sample."""
        at_us = (t_s * 1e6) % self._loop_us
        return self._timeline[int(np.searchsorted(self._begin_us, at_us, side="right")) - 1][
            "wave"
        ]

    def changes_s(self, until_s: float) -> list[tuple[float, str]]:
        """(time, wave) of every phase that begins before `until_s`."""
        found: list[tuple[float, str]] = []
        at_us = 0.0
        while at_us < until_s * 1e6:
            for phase, begin_us in zip(self._timeline, self._begin_us, strict=True):
                if at_us + begin_us < until_s * 1e6:
                    found.append((float(at_us + begin_us) / 1e6, phase["wave"]))
            at_us += self._loop_us
        return found

    def _windowed(self, channel: str, first: int, x: np.ndarray) -> float:
        parts = self._windows(channel, first, x)
        return float(np.sqrt(sum(np.sum((part - part.mean()) ** 2) for part in parts) / x.size))

    def _windows(self, channel: str, first: int, x: np.ndarray) -> list[np.ndarray]:
        """`x`, which begins at frame `first`, cut at the ends of windows."""
        rate_hz = self.rate_hz(channel)
        low = int(first / (rate_hz * WINDOW_S))
        high = int((first + x.size) / (rate_hz * WINDOW_S)) + 1
        cuts = [_boundary(k, rate_hz) - first for k in range(low, high + 1)]
        return [part for part in np.split(x, [c for c in cuts if 0 < c < x.size]) if part.size]

    def _vibration(self, channel: str, axis: str, first: int, n: int, line) -> np.ndarray:  # noqa: ANN001 - a function of one line and t
        t_s = np.arange(first, first + n, dtype=np.float64) / self.rate_hz(channel)

        def wave(lines: list[list[float]], at: np.ndarray) -> np.ndarray:
            return sum((line(*part, t_s[at]) for part in lines), start=np.zeros(at.size))

        return self._play(channel, t_s * 1e6, lambda part: part.get(axis, []), wave)

    def _play(self, channel: str, t_us: np.ndarray, choose, wave) -> np.ndarray:  # noqa: ANN001 - two local functions
        """Level times wave, phase by phase."""
        out = np.zeros(t_us.size)
        in_loop_us = t_us % self._loop_us
        index = np.searchsorted(self._begin_us, in_loop_us, side="right") - 1
        for number in np.unique(index):
            phase = self._timeline[number]
            knots = phase["levels"].get(channel)
            part = self._scenario["waves"].get(phase["wave"], {}).get(channel)
            if not knots or not part:
                continue
            at = np.flatnonzero(index == number)
            share = (in_loop_us[at] - self._begin_us[number]) / (1000.0 * phase["ms"])
            levels = np.asarray(knots, dtype=np.float64) / 1000
            level = np.interp(share * max(1, levels.size - 1), np.arange(levels.size), levels)
            out[at] = level * wave(choose(part), at)
        return out


def _boundary(window: int, rate_hz: float) -> int:
    """The first frame after window number `window` - 1, the nearest to its end."""
    return int(np.floor(window * WINDOW_S * rate_hz + 0.5))


def _acceleration_line(hz: float, rms: float, deg: float, t_s: np.ndarray) -> np.ndarray:
    return np.sqrt(2) * rms * np.sin(2 * np.pi * (hz * t_s + deg / 360))


def _velocity_line(hz: float, rms: float, deg: float, t_s: np.ndarray) -> np.ndarray:
    low, high = VELOCITY_BAND_HZ
    if not low <= hz <= high:
        return np.zeros(t_s.size)
    mm_s = 1000 * rms / (2 * np.pi * hz)
    return -np.sqrt(2) * mm_s * np.cos(2 * np.pi * (hz * t_s + deg / 360))
