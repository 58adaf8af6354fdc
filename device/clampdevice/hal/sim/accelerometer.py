"""The simulated accelerometer: three axes through a FIFO, counts in offset binary.

Owns the way from m/s2 to counts: resolution, range, gravity, noise, and a rate that is off by as
much as a real one. Waveform and timing are `wave.py` and `paced.py`.
"""

from array import array

from clampdevice.feature import STANDARD_GRAVITY_M_S2
from clampdevice.hal.sim.paced import PacedSource
from clampdevice.hal.sim.wave import Stream, axis_lines

ZERO = 0x8000
DEFAULT_BLOCK_FRAMES = 128
DEFAULT_RING_MS = 450


class Accelerometer(PacedSource):
    """Block source of counts.

    Args:
        config: `sources.accelerometer` of board.json: `rate_hz` (nominal), `slots` (axes),
            `bits`, `lsb_per_g`, optional `block_frames`, `ring_ms`.
        channels: `channels` of board.json; the first of a vibration is heard.
        scenario: content of scenario.json; `accelerometer` holds `noise_lsb`, `gravity_g` (one an
            axis) and `rate_ppm`, by which the true rate is off.
        sine: see `wave.sine_table`.
    """

    def __init__(self, config: dict, channels: list, scenario: dict, sine: array) -> None:
        model = scenario.get("accelerometer", {})
        rate_mhz = round(1000 * config["rate_hz"] * (1 + model.get("rate_ppm", 0) / 1000000))
        PacedSource.__init__(
            self,
            rate_mhz,
            config["slots"],
            config.get("block_frames", DEFAULT_BLOCK_FRAMES),
            config.get("ring_ms", DEFAULT_RING_MS),
        )
        half = 1 << (config["bits"] - 1)
        channel = next(part for part in channels if part["quantity"] == "vibration")
        key = channel["key"]
        names = channel.get("axes", "xyz")
        gravity_g = model.get("gravity_g", (0, 0, 1))
        self._streams = []
        for slot in range(config["slots"]):
            waves = {}
            for wave in scenario["waves"]:
                part = scenario["waves"][wave].get(key, {}).get(names[slot])
                if part:
                    waves[wave] = axis_lines(part, rate_mhz)
            self._streams.append(
                Stream(
                    scenario["timeline"],
                    key,
                    waves,
                    rate_mhz,
                    config["lsb_per_g"] / STANDARD_GRAVITY_M_S2,
                    ZERO + gravity_g[slot] * config["lsb_per_g"],
                    model.get("noise_lsb", 0),
                    scenario.get("seed", 0) * 1000003 + 100 + slot,
                    (ZERO - half, ZERO + half - 1),
                    sine,
                )
            )

    def fill(self, buf: array, frames: int, frame: int) -> None:
        """See `PacedSource`."""
        for slot in range(self.slots):
            self._streams[slot].fill(buf, slot, frames, self.slots, frame)
