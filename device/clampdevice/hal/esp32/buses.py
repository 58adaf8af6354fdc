"""Sensors on a bus: the drivers of `clampdevice.drivers` as sources of this chip.

Owns the check that a FIFO lasts as long as this chip may be away: a flash erase stops both cores
for up to 80 ms, and the CPU alone empties the FIFO. Buses are `clampdevice.hal.openbus`. Takes
`machine` as an argument and imports nothing of the chip.
"""

from clampdevice import drivers
from clampdevice.fifo import FifoSource
from clampdevice.hal.openbus import open_bus

# Longest flash operation of one sector, and how often a FIFO is looked at.
FLASH_US = 80000
LOOK_US = 10000
# An ADC's own oscillator may be a tenth slow (ADS1115 data sheet); then it is not ready in time.
_OWN_CLOCK = 1.1


def check_bridge(name: str, fifo_frames: int, rate_hz: float, bridge_ms: float) -> None:
    """Raises ValueError unless a FIFO of `fifo_frames` lasts `bridge_ms` at `rate_hz`."""
    lasts_ms = 1000 * fifo_frames / rate_hz
    if lasts_ms < bridge_ms:
        raise ValueError(
            f"sources.accelerometer: {name} at {rate_hz:g} Hz holds {lasts_ms:.0f} ms, and this "
            f"chip may be away for {bridge_ms:g} ms while flash is written: at most "
            f"{int(1000 * fifo_frames / bridge_ms)} Hz, or bridge_ms below {lasts_ms:.0f} if "
            "counted gaps are acceptable"
        )


def fifo_source(part: dict, machine, sleep_us, ticks_us) -> FifoSource:
    """The accelerometer of board.json: `driver`, `bus`, `rate_hz`, `range_g`, `bridge_ms`.

    Raises:
        ValueError: what the board asks for cannot be.
    """
    cls = drivers.load(part["driver"])
    if cls.kind != "fifo":
        raise ValueError(f"sources.accelerometer.driver: {part['driver']} has no FIFO")
    bridge_ms = part.get("bridge_ms", (FLASH_US + LOOK_US) / 1000)
    check_bridge(part["driver"], cls.fifo_frames, part["rate_hz"], bridge_ms)
    bus = open_bus(part.get("bus", {}), machine, "sources.accelerometer.bus")
    return FifoSource(cls(bus, sleep_us), part["rate_hz"], part["range_g"], ticks_us)


def scanner(part: dict, machine, ticks_us):  # noqa: ANN201 - any driver that scans
    """The external ADC of board.json as (driver, whether it converts by its own clock).

    Keys: `driver`, `bus`, `inputs` of each slot, `rate_hz` of a frame, `range_v`: the reference of
    a MCP3208, full scale of an ADS1115.

    Raises:
        ValueError: what the board asks for cannot be.
        OSError: the bus is silent, or another chip answers.
    """
    name = part["driver"]
    cls = drivers.load(name)
    if cls.kind != "scan":
        raise ValueError(f"sources.adc.driver: {name} is no ADC")
    inputs = part.get("inputs", [])
    if len(inputs) != part["slots"]:
        raise ValueError(f"sources.adc: {part['slots']!r} slots and {len(inputs)} inputs")
    bus = open_bus(part.get("bus", {}), machine, "sources.adc.bus")
    rate_hz = part["rate_hz"]
    range_v = part.get("range_v", part["vref_v"])
    if cls.rates_hz:
        fastest = cls.rates_hz[-1]
        most_hz = int(fastest / _OWN_CLOCK / len(inputs))
        if rate_hz > most_hz:
            raise ValueError(
                f"sources.adc.rate_hz: {rate_hz:g}; {name} converts {fastest} times a second, "
                f"so {most_hz} frames of {len(inputs)} inputs at most"
            )
        driver = cls(bus, tuple(inputs), ticks_us)
        driver.configure(fastest, range_v)
    else:
        driver = cls(bus, tuple(inputs))
        driver.configure(rate_hz, range_v)
    span_v = driver.v_per_code * (1 << driver.bits)
    if part["bits"] != driver.bits or abs(part["vref_v"] - span_v) > 0.001 * span_v:
        raise ValueError(
            f"sources.adc: bits {part['bits']!r} and vref_v {part['vref_v']!r}; codes of this "
            f"{name} have {driver.bits} bits over {span_v:g} V"
        )
    driver.start()
    return driver, bool(cls.rates_hz)
