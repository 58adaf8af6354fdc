"""The accelerometer of board.json as a block source of this chip.

Owns the choice: an ADXL345 on SPI whose INT1 is wired is emptied by PIO and DMA, so that neither
a garbage collection nor a flash erase costs a frame. Any other sensor or bus is emptied by the
CPU, which is away for up to 400 ms when flash is erased; what is lost then is counted and told.

    "accelerometer": {"driver": "adxl345", "rate_hz": 3200, "range_g": 16, "int_pin": 20,
        "bus": {"kind": "spi", "sck_pin": 18, "mosi_pin": 19, "miso_pin": 16, "cs_pin": 17}, ...}
"""

import time

import machine
import rp2

from clampdevice import drivers
from clampdevice.drivers import base

_PINS = ("sck_pin", "mosi_pin", "miso_pin", "cs_pin")
_SETUP_HZ = 1000000


def accelerometer(part: dict, chip, memory):  # noqa: ANN201 - one of two block sources
    """The source, its true rate measured.

    Raises:
        ValueError: what the board asks for cannot be.
    """
    name = part.get("driver")
    if name is None:
        raise ValueError("sources.accelerometer.driver: missing; one of drivers that have a FIFO")
    cls = drivers.load(name)
    if cls.kind != "fifo":
        raise ValueError("sources.accelerometer.driver: " + name + " has no FIFO")
    bus = part.get("bus", {})
    if name == "adxl345" and bus.get("kind") == "spi" and "int_pin" in part:
        source = _by_pio(part, bus, cls, chip, memory)
    else:
        from clampdevice.fifo import FifoSource
        from clampdevice.hal.openbus import open_bus

        opened = open_bus(bus, machine, "sources.accelerometer.bus")
        driver = cls(opened, time.sleep_us)
        source = FifoSource(driver, part["rate_hz"], part["range_g"], time.ticks_us)
    source.measure_rate()
    if source.driver.rate_hz and part["bits"] != source.driver.bits:
        raise ValueError(
            "sources.accelerometer.bits: " + str(part["bits"]) + "; at this range it is "
            + str(source.driver.bits)
        )  # fmt: skip
    return source


def _by_pio(part: dict, bus: dict, cls, chip, memory):  # noqa: ANN202 - EntrySource, imported late
    from clampdevice.hal.rp2.entries import RING_MS, EntrySource
    from clampdevice.hal.rp2.fifopio import FifoReader

    sck, mosi, miso, cs = (bus[key] for key in _PINS)
    pin = machine.Pin

    def connect():  # noqa: ANN202 - the driver
        select = pin(cs, pin.OUT, value=1)
        spi = machine.SoftSPI(
            baudrate=_SETUP_HZ, polarity=1, phase=1, sck=pin(sck), mosi=pin(mosi), miso=pin(miso)
        )
        return cls(base.Spi(spi, select), time.sleep_us)

    return EntrySource(
        connect,
        FifoReader(sck, mosi, miso, cs, part["int_pin"]),
        rp2.DMA,
        memory,
        chip.timer_raw,
        part["rate_hz"],
        part["range_g"],
        time.ticks_us,
        part.get("ring_ms", RING_MS),
    )
