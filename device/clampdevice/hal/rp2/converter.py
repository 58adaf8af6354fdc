"""The registers of the ADC: free running at an exact rate, in order, into its FIFO for the DMA.

Owns start and stop, the divider, the order of the inputs and the FIFO's flags. What becomes of
the samples is `ring.py` and `adc.py`. Nothing else may read the ADC while it runs: a foreign
read adds a sample and shifts the order (an architecture test holds the firmware to that).

Ref: RP2040 datasheet 4.9, RP2350 datasheet 12.4; the fields used here are at the same places.
"""

from clampdevice.hal.rp2.chips import ADC_CLOCK_HZ

CONVERSION_CYCLES = 96  # at least, of the ADC's clock
TEMPERATURE = 4  # input of the sensor on the chip
FIRST_GPIO = 26
PINS = 4

_CS_EN = 1 << 0
_CS_TS_EN = 1 << 1
_CS_START_MANY = 1 << 3
_CS_READY = 1 << 8
_CS_AINSEL = 12
_CS_RROBIN = 16
_FCS_EN = 1 << 0
_FCS_DREQ_EN = 1 << 3
_FCS_EMPTY = 1 << 8
_FCS_UNDER = 1 << 10
OVER = 1 << 11  # in the flags: a sample has found the FIFO full since `prepare`
_FCS_THRESH = 24


class Converter:
    """The one ADC of the chip.

    Args:
        config: `sources.adc` of board.json: `rate_hz` a slot, `slots` (1, 2 or 4), optional
            `temperature_slot` (then the last), `pins` (GPIO of the other slots, ascending).
        chip: of `chips`.
        mem32: `machine.mem32`.

    Attributes:
        slots, inputs: samples a frame, and the ADC's inputs they come from.
        cycles: of the ADC's clock, from sample to sample.
        fifo: address of the FIFO, for the DMA.
        flags: address of the FIFO's flags, for a quick look.

    Raises:
        ValueError: a rate, slots or pins that the ADC cannot do.
    """

    def __init__(self, config: dict, chip, mem32) -> None:
        slots = config["slots"]
        if slots not in (1, 2, 4):
            raise ValueError("adc: " + str(slots) + " slots; 1, 2 or 4 are possible")
        self.slots = slots
        self.inputs = _inputs(config, slots)
        self.cycles = int(ADC_CLOCK_HZ / (config["rate_hz"] * slots) + 0.5)
        if not CONVERSION_CYCLES <= self.cycles <= 1 << 16:
            most = ADC_CLOCK_HZ / CONVERSION_CYCLES / slots
            least = ADC_CLOCK_HZ / (1 << 16) / slots
            raise ValueError(
                "adc: a rate of " + str(config["rate_hz"]) + " Hz; with " + str(slots)
                + " slots " + str(least) + " to " + str(most) + " Hz are possible"
            )  # fmt: skip
        self.fifo = chip.adc_base + 0x0C
        self._mem32 = mem32
        self._cs = chip.adc_base
        self.flags = chip.adc_base + 0x08
        self._div = chip.adc_base + 0x10
        self._ready = _CS_EN | _CS_TS_EN | self.inputs[0] << _CS_AINSEL
        if slots > 1:
            for number in self.inputs:
                self._ready |= 1 << (_CS_RROBIN + number)

    def halt(self) -> None:
        """Ends sampling after the conversion that runs."""
        mem32 = self._mem32
        mem32[self._cs] = _CS_EN | _CS_TS_EN
        while not mem32[self._cs] & _CS_READY:
            pass

    def prepare(self) -> None:
        """Sets a halted ADC as if after power-up, with the first input next and the FIFO empty.

        A soft reset of MicroPython leaves the ADC running with a full FIFO and OVER set.
        """
        mem32 = self._mem32
        mem32[self.flags] = _FCS_EN  # no requests while it is drained
        while not mem32[self.flags] & _FCS_EMPTY:
            mem32[self.fifo]
        mem32[self.flags] = OVER | _FCS_UNDER
        mem32[self.flags] = 1 << _FCS_THRESH | _FCS_DREQ_EN | _FCS_EN
        # A period is 1 + INT + FRAC / 256 cycles; only whole ones here, for an even pace.
        mem32[self._div] = (self.cycles - 1) << 8
        mem32[self._cs] = self._ready

    def run(self) -> None:
        """From `prepare`: the first sample is taken now."""
        self._mem32[self._cs] = self._ready | _CS_START_MANY


def _inputs(config: dict, slots: int) -> list:
    """The ADC's input of each slot; round robin takes them in ascending order."""
    witness = config.get("temperature_slot")
    if witness not in (None, slots - 1):
        raise ValueError("adc: temperature_slot is " + str(witness) + "; it must be the last")
    count = slots if witness is None else slots - 1
    pins = config.get("pins", list(range(FIRST_GPIO, FIRST_GPIO + count)))
    inputs = [pin - FIRST_GPIO for pin in pins]
    ascending = inputs == sorted(set(inputs))
    if len(pins) != count or not ascending or (pins and not 0 <= inputs[0] <= inputs[-1] < PINS):
        raise ValueError(
            "adc: pins are " + str(pins) + "; " + str(count) + " ascending GPIOs from "
            + str(FIRST_GPIO) + " to " + str(FIRST_GPIO + PINS - 1) + " are needed"
        )  # fmt: skip
    if witness is not None:
        inputs.append(TEMPERATURE)
    return inputs
