"""The simulated ADC: round robin of current transformers and the chip's temperature.

Owns the way from amperes to codes: transformer, bits, offset, noise, rails. Errors of a
chip's own are `errors.py`, waveform and timing `wave.py` and `paced.py`.
"""

from array import array

from clampdevice.current import a_per_v
from clampdevice.hal.sim.converter import Converter
from clampdevice.hal.sim.paced import PacedSource
from clampdevice.hal.sim.wave import Stream, current_lines

# Ref: RP2040 datasheet, ADC and temperature sensor: 0.706 V at 27 degrees, -1.721 mV a degree
_TEMPERATURE_V_27 = 0.706
_TEMPERATURE_V_PER_K = 0.001721

DEFAULT_BLOCK_FRAMES = 256
DEFAULT_RING_MS = 450


class Adc(PacedSource):
    """Block source of 12-bit codes (or of `bits`).

    Args:
        config: `sources.adc` of board.json: `rate_hz` a slot, `slots`, `bits`, `vref_v`, optional
            `zero_lsb` (bias in codes), `temperature_slot`, `block_frames`, `ring_ms`.
        channels: `channels` of board.json; those of a current are heard.
        scenario: content of scenario.json; `adc` holds `noise_lsb`, `offset_lsb`, by which the
            bias is off, and `model`, the errors of a chip's own converter; see `errors`.
        sine: see `wave.sine_table`.
    """

    def __init__(self, config: dict, channels: list, scenario: dict, sine: array) -> None:
        rate_mhz = round(1000 * config["rate_hz"])
        slots = config["slots"]
        PacedSource.__init__(
            self,
            rate_mhz,
            slots,
            config.get("block_frames", DEFAULT_BLOCK_FRAMES),
            config.get("ring_ms", DEFAULT_RING_MS),
        )
        codes = 1 << config["bits"]
        model = scenario.get("adc", {})
        self._converter = Converter(model.get("model"), (0, codes - 1))
        scale = self._converter.scale
        rounding = self._converter.rounding
        rails = self._converter.rails
        noise_lsb = scale * model.get("noise_lsb", 0)
        zero_lsb = config.get("zero_lsb", codes / 2) + model.get("offset_lsb", 0)
        v_per_lsb = config["vref_v"] / codes / scale
        seed = scenario.get("seed", 0) * 1000003
        self._streams: list = [None] * slots
        for channel in channels:
            if channel["quantity"] != "current":
                continue
            slot = channel["slot"]
            self._streams[slot] = Stream(
                scenario["timeline"],
                channel["key"],
                _waves(scenario, channel["key"], rate_mhz, slot / slots),
                rate_mhz,
                1 / (a_per_v(channel) * v_per_lsb),
                scale * zero_lsb + rounding,
                noise_lsb,
                seed + slot,
                rails,
                sine,
            )
        for slot in range(slots):
            if self._streams[slot] is None:  # a grounded pin, or the temperature
                volts = 0.0
                if slot == config.get("temperature_slot"):
                    kelvin = scenario.get("temperature_c", 27) - 27
                    volts = _TEMPERATURE_V_27 - _TEMPERATURE_V_PER_K * kelvin
                self._streams[slot] = Stream(
                    scenario["timeline"], "", {}, rate_mhz, 0,
                    volts / v_per_lsb + rounding, noise_lsb, seed + slot, rails, sine,
                )  # fmt: skip

    def fill(self, buf: array, frames: int, frame: int) -> None:
        """See `PacedSource`."""
        for slot in range(self.slots):
            self._streams[slot].fill(buf, slot, frames, self.slots, frame)
        self._converter.finish(buf, frames * self.slots)


def _waves(scenario: dict, key: str, rate_mhz: int, skew: float) -> dict:
    phase_deg = scenario.get("phase_deg", {}).get(key, 0)
    waves = {}
    for name in scenario["waves"]:
        part = scenario["waves"][name].get(key)
        if part:
            waves[name] = current_lines(part, scenario["mains_hz"], phase_deg, rate_mhz, skew)
    return waves
