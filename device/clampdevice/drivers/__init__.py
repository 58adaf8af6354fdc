"""Sensor drivers by name; a new sensor is one file here and one line below.

Owns the names. A driver is imported when a board names it, so that the others cost no memory.
It gets a bus (`base.Spi`, `base.I2c`) and `sleep_us`, and touches nothing of the chip itself.

What every driver has: `name`, `slots` (values a frame), `bits`, `rates_hz`, `ranges`;
`configure(rate_hz, range)`, which checks the identity, writes the settings and reads them back;
`start()`, `check()`, `temperature_c()`, `serial()`, `fault()`; `read_into(buf, first, ...)`, which
allocates nothing and writes interleaved frames into array('H').

A driver with a FIFO (accelerometers, `kind` "fifo") besides: `fifo_frames`, `lsb_per_g`,
`pending()`, `overrun`, `overruns`, `rate_hint_hz()`, and `skipped`: how many frames are missing
before the first of the last read, modulo 4, where the chip numbers them, else -1. Its values are
in offset binary of 16 bits; `clampdevice.fifo.FifoSource` makes a block source of it. One without
(`kind` "scan") converts a frame whenever it is asked; what its codes mean is `zero_code` and
`v_per_code`.

Errors: ValueError where the board asks for what the chip cannot do, OSError where the bus is
silent, `base.WrongChip`, an OSError, where another chip answers.
"""

DRIVERS = {
    "adxl345": "clampdevice.drivers.adxl345:Adxl345",
    "lis2dw12": "clampdevice.drivers.lis2dw12:Lis2dw12",
    "mpu6050": "clampdevice.drivers.mpu6050:Mpu6050",
    "iis3dwb": "clampdevice.drivers.iis3dwb:Iis3dwb",
    "ads1115": "clampdevice.drivers.ads1115:Ads1115",
    "mcp3208": "clampdevice.drivers.mcp3208:Mcp3208",
}


def load(name: str):  # noqa: ANN201 - a class of any driver
    """The class of a driver.

    Raises:
        ValueError: there is no such driver.
    """
    if name not in DRIVERS:
        raise ValueError(f"no driver {name!r}; one of {', '.join(sorted(DRIVERS))}")
    module, cls = DRIVERS[name].split(":")
    return getattr(__import__(module, None, None, (cls,)), cls)
