"""The bus of one sensor, opened as board.json says.

Owns the keys and the clock that a bus gets where the board is silent. Takes `machine` as an
argument, so that it is the same on every chip and can be tested on a PC.

    "bus": {"kind": "spi", "id": 1, "sck_pin": 18, "mosi_pin": 23, "miso_pin": 19, "cs_pin": 5,
            "hz": 5000000}
    "bus": {"kind": "i2c", "id": 0, "scl_pin": 22, "sda_pin": 21, "hz": 400000, "address": 72}

Ref: MicroPython docs/library/machine.SPI.rst, machine.I2C.rst.
"""

from clampdevice.drivers import base

SPI_HZ = 1000000
I2C_HZ = 400000


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
