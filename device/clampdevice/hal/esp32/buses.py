"""Sensors on a bus: the drivers of `clampdevice.drivers` as sources of this chip.

Owns the opening of buses from board.json and the check that a FIFO lasts as long as this chip may
be away: a flash erase stops both cores for up to 80 ms, and the CPU alone empties the FIFO.
Takes `machine` as an argument and imports nothing of the chip.

    "bus": {"kind": "spi", "id": 1, "sck_pin": 18, "mosi_pin": 23, "miso_pin": 19, "cs_pin": 5,
            "hz": 5000000}
    "bus": {"kind": "i2c", "id": 0, "scl_pin": 22, "sda_pin": 21, "hz": 400000, "address": 72}

Ref: MicroPython docs/esp32/quickref.rst "Hardware SPI bus", "Hardware I2C bus".
"""

from clampdevice import drivers
from clampdevice.drivers import base
from clampdevice.fifo import FifoSource

# Longest flash operation of one sector, and how often a FIFO is looked at.
FLASH_US = 80000
LOOK_US = 10000
SPI_HZ = 1000000
I2C_HZ = 400000
# An ADC's own oscillator may be a tenth slow (ADS1115 data sheet); then it is not ready in time.
_OWN_CLOCK = 1.1


def open_bus(part: dict, machine, path: str) -> base.Spi | base.I2c:
    """The bus of one sensor.

    Raises:
        ValueError: a key is missing, with its path.
    """
    kind = part.get("kind")
    pin = machine.Pin
    if kind == "spi":
        numbers = _pins(part, ("id", "sck_pin", "mosi_pin", "miso_pin", "cs_pin"), path)
        spi = machine.SPI(
            numbers[0],
            baudrate=part.get("hz", SPI_HZ),
            polarity=part.get("polarity", 1),
            phase=part.get("phase", 1),
            sck=pin(numbers[1]),
            mosi=pin(numbers[2]),
            miso=pin(numbers[3]),
        )
        return base.Spi(spi, pin(numbers[4], pin.OUT, value=1))
    if kind == "i2c":
        numbers = _pins(part, ("id", "scl_pin", "sda_pin", "address"), path)
        i2c = machine.I2C(
            numbers[0], scl=pin(numbers[1]), sda=pin(numbers[2]), freq=part.get("hz", I2C_HZ)
        )
        return base.I2c(i2c, numbers[3])
    raise ValueError(f"{path}.kind: {kind!r}; spi or i2c")


def _pins(part: dict, keys: tuple, path: str) -> list:
    for key in keys:
        good = isinstance(part.get(key), int)
        if not good:
            raise ValueError(f"{path}.{key}: {part.get(key)!r}; a number is expected")
    return [part[key] for key in keys]


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
