"""The waveform of a simulated machine, in integers, as a function of scenario and sample index.

Owns the synthesis of a stream of codes: one slot of the ADC, or one axis of the accelerometer.
When a block is due is `paced.py`. The formula, which `clamptools.machines` evaluates on its own
in float64 as the truth of tests:

    x(t) = level(t) * sum over lines of w * sin(2 pi (f t + phi / 360))

at t = (n + slot / slots) / rate for frame n = 0, 1, ... The timeline of the scenario repeats for
ever; in each of its phases `wave` names the lines and `levels` the knots of each channel, evenly
spaced from the phase's start to its end, straight lines between them, in thousandths. Phase and
level are taken at n / rate.

A current's lines are [harmonic, ratio, degrees]: f = harmonic * mains_hz, phi = degrees +
harmonic * phase_deg of the channel, w = sqrt(2) * ratio / sqrt(sum of ratio**2), so level is its
RMS in A. A vibration's, of each axis, are [Hz, m/s2 RMS, degrees]: w = sqrt(2) * m/s2, so level
is a factor. To this are added offset and noise; the sum is rounded and cut at the rails.

Amplitudes have 12 fractional bits of an LSB, phases 32 bits of a turn. Needs integers wider than
32 bits: this runs on a PC only.
"""

import math
import sys
from array import array

Q = 12
_TABLE_BITS = 10
_MASK = 0xFFFFFFFF
# RMS of the sum of four bytes of a random word: sqrt(4 * (256**2 - 1) / 12)
_NOISE_RMS = 147.8


def sine_table() -> array:
    """One turn of a sine in 1,024 steps and the first again, in 15 bits around 32768."""
    steps = 1 << _TABLE_BITS
    # Filled in place: a list beside it would need 16 KB of heap in one piece.
    table = array("H", bytes(2 * (steps + 1)))
    for i in range(steps + 1):
        table[i] = 32768 + round(32767 * math.sin(2 * math.pi * i / steps))
    return table


def noise_gain(noise_lsb: float) -> int:
    """What `noise` takes for an RMS in LSB."""
    return int(noise_lsb * (1 << (Q + 8)) / _NOISE_RMS + 0.5)


def noise(index: int, seed: int, gain: int) -> int:
    """Nearly Gaussian noise of the sample `index`, in LSB with 12 fractional bits."""
    x = (index * 0x9E3779B1 ^ seed) & _MASK
    x = ((x >> 15) ^ x) * 0x85EBCA6B & _MASK
    x = ((x >> 13) ^ x) * 0xC2B2AE35 & _MASK
    x ^= x >> 16
    return ((x & 255) + (x >> 8 & 255) + (x >> 16 & 255) + (x >> 24) - 510) * gain >> 8


def synthesise_plain(
    buf, first: int, n: int, stride: int, sine, lines, words: int, level: int, slope: int,
    offset: int, index: int, step: int, seed: int, gain: int, low: int, high: int,
) -> None:  # fmt: skip
    """Writes `n` codes to `buf[first::stride]`, from `sine`, see `sine_table`.

    `lines` is array('I') with `words` words: phase, phase step and weight (15 fractional bits) of
    each line; the phases are moved on. `level` is the amplitude of the first sample, LSB << 12 at
    weight 1, `slope` its change a sample with 16 bits more, `offset` LSB << 12. `index` names the
    first sample for the noise, `step` leads to the next, `seed` and `gain` belong to it too.
    `low` and `high` are the rails.
    """
    for i in range(n):
        total = 0
        k = 0
        while k < words:
            phase = lines[k]
            at = phase >> 22
            here = sine[at]
            here += ((sine[at + 1] - here) * (phase >> 6 & 0xFFFF)) >> 16
            total += (here - 32768) * lines[k + 2]
            lines[k] = (phase + lines[k + 1]) & _MASK
            k += 3
        value = offset + ((level + (i * slope >> 16)) * (total >> 15) >> 15)
        if gain:
            value += noise(index, seed, gain)
            index += step
        code = (value + 2048) >> 12
        buf[first] = low if code < low else high if code > high else code
        first += stride


def digitise_plain(
    values, n: int, buf, shift: int, offset: int, index: int, seed: int, gain: int, low: int,
    high: int,
) -> None:  # fmt: skip
    """Writes the codes of `n` values to `buf`, by the same model as `synthesise_plain`.

    `values` is array('i'), LSB << (12 - shift); what else is asked for is as above.
    """
    for i in range(n):
        value = (values[i] << shift) + offset
        if gain:
            value += noise(index + i, seed, gain)
        code = (value + 2048) >> 12
        buf[i] = low if code < low else high if code > high else code


synthesise = synthesise_plain
digitise = digitise_plain
if sys.implementation.name == "micropython" and sys.maxsize >> 32:
    try:
        from clampdevice.hal.sim.wave_viper import digitise, synthesise  # noqa: F401
    except SyntaxError:
        pass  # a MicroPython without native code refuses the decorator


class Lines:
    """The lines of one wave, prepared: phase step, weight and phase at t = 0."""

    def __init__(self, lines: list, rate_mhz: int) -> None:
        """`lines`: (Hz, weight, turns at the first sample) each."""
        self.words = 3 * len(lines)
        self.array = array("I", [0] * self.words)
        self._phases = []
        for i, (hz, weight, turns) in enumerate(lines):
            self._phases.append(int((turns % 1) * 4294967296.0) & _MASK)
            self.array[3 * i + 1] = int(hz * 1000 * 4294967296.0 / rate_mhz + 0.5) & _MASK
            self.array[3 * i + 2] = int(weight * 32768 * 32768 / 32767 + 0.5)

    def seek(self, frame: int) -> None:
        """Sets the phases for `frame`."""
        lines = self.array
        for i in range(len(self._phases)):
            lines[3 * i] = (self._phases[i] + lines[3 * i + 1] * frame) & _MASK


def current_lines(
    part: list, mains_hz: float, phase_deg: float, rate_mhz: int, skew: float
) -> Lines:
    """Lines of a current; `skew` is slot / slots, the fraction of a frame it is sampled later."""
    total = math.sqrt(sum(ratio * ratio for _h, ratio, _deg in part))
    lines = []
    for harmonic, ratio, deg in part:
        hz = harmonic * mains_hz
        turns = (deg + harmonic * phase_deg) / 360 + hz * skew * 1000 / rate_mhz
        lines.append((hz, math.sqrt(2) * ratio / total, turns))
    return Lines(lines, rate_mhz)


def axis_lines(part: list, rate_mhz: int) -> Lines:
    """Lines of one axis of a vibration, all axes sampled at once."""
    return Lines([(hz, math.sqrt(2) * rms, deg / 360) for hz, rms, deg in part], rate_mhz)


class Stream:
    """One stream of codes.

    Args:
        timeline: of the scenario.
        key: the channel, for its knots.
        waves: `Lines` by the name of the wave; a wave that is missing is silence.
        rate_mhz: frames a second, in thousandths.
        lsb_per_unit: LSB of a level of 1 at weight 1.
        offset_lsb, noise_lsb: of the converter.
        seed: of the noise.
        rails: lowest and highest code.
        sine: see `sine_table`; one for all streams.
    """

    def __init__(
        self, timeline: list, key: str, waves: dict, rate_mhz: int, lsb_per_unit: float,
        offset_lsb: float, noise_lsb: float, seed: int, rails: tuple, sine: array,
    ) -> None:  # fmt: skip
        self._rate_mhz = rate_mhz
        self._offset = int(offset_lsb * (1 << Q) + 0.5)
        self._gain = noise_gain(noise_lsb)
        self._seed = seed & _MASK
        self._low, self._high = rails
        self._sine = sine
        self._silence = Lines([], rate_mhz)
        self._take_timeline(timeline, key, waves, lsb_per_unit * (1 << Q) / 1000)
        self._phase = -1
        self._knot = self._first = 0
        self._spans = 1
        self._begin_us = self._end_us = 0  # of the phase
        self._from_us = self._to_us = 0  # between two knots
        self._until = 0  # the first frame at or after _to_us
        self._from = self._slope = 0
        self._lines = self._silence

    def _take_timeline(self, timeline: list, key: str, waves: dict, scale: float) -> None:
        """Keeps what concerns this stream: a scenario is large, and is not needed after this."""
        self._phases = [waves.get(phase["wave"], self._silence) for phase in timeline]
        self._ms = array("I", [phase["ms"] for phase in timeline])
        # Knots of all phases, and where those of each begin.
        self._starts = array("H", [0])
        self._knots = array("i")
        for phase in timeline:
            for knot in phase["levels"].get(key, (0,)):
                self._knots.append(int(knot * scale + 0.5))
            self._starts.append(len(self._knots))

    def fill(self, buf, first: int, n: int, stride: int, frame: int) -> None:
        """Writes the codes of `n` frames from `frame` on to `buf[first::stride]`.

        Frames must not go backwards; `first` also is the slot, which gives each its own noise.
        """
        slot = first % stride
        while n:
            while frame >= self._until:
                self._next_knot()
            piece = min(n, self._until - frame)
            at_us = frame * 1000000000 // self._rate_mhz
            level = self._from + ((at_us - self._from_us) * self._slope >> 20)
            lines = self._lines
            lines.seek(frame)
            synthesise(
                buf, first, piece, stride, self._sine, lines.array, lines.words, level,
                self._slope * 62500000 // self._rate_mhz, self._offset,
                (frame * stride + slot) & _MASK, stride, self._seed, self._gain,
                self._low, self._high,
            )  # fmt: skip
            first += piece * stride
            frame += piece
            n -= piece

    def _next_knot(self) -> None:
        self._knot += 1
        if self._phase < 0 or self._knot >= self._spans:
            self._next_phase()
        length_us = self._end_us - self._begin_us
        self._from_us = self._begin_us + length_us * self._knot // self._spans
        self._to_us = self._begin_us + length_us * (self._knot + 1) // self._spans
        at = self._first + self._knot
        self._from = self._knots[at]
        to = self._knots[min(at + 1, self._starts[self._phase + 1] - 1)]
        self._slope = ((to - self._from) << 20) // (self._to_us - self._from_us)
        self._until = (self._to_us * self._rate_mhz + 999999999) // 1000000000

    def _next_phase(self) -> None:
        self._phase = (self._phase + 1) % len(self._phases)
        self._begin_us = self._end_us
        self._end_us += 1000 * self._ms[self._phase]
        self._first = self._starts[self._phase]
        self._spans = max(1, self._starts[self._phase + 1] - self._first - 1)
        self._knot = 0
        self._lines = self._phases[self._phase]
