"""What a chip can do of what its board's TOML asks for: rates, pins, sensors.

Owns the checks that need to know the chip; each is the device's own rule, told before flashing
and with a line. Takes the validated tables and yields problems; reads no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from clampdevice import drivers
from clampdevice.hal.esp32 import buses, chips
from clamptools.boardtables import AccelerometerTable, AdcTable, BusTable

RP2 = ("rp2040", "rp2350")
# All samples of a converter together, a second.
ADC_LIMIT_HZ = {"sim": 500_000, "rp2040": 500_000, "rp2350": 500_000, "esp32": 10_000}
RP2_SLOTS = (1, 2, 4)
RP2_ADC_PINS = range(26, 30)
RP2_PINS = range(30)
ADXL345_I2C_HZ = 1600
# From here on the FIFO of an ADXL345 does not last over a garbage collection with something left.
ADXL345_INT_HZ = 800
_NOT_PACED = ("frequency", "thd", "real", "pf", "energy")


class Said(NamedTuple):
    """One problem; `path` is that of the table and its key."""

    path: tuple[str | int, ...]
    what: str
    hint: str = ""


def check_chip(
    chip: str, tables: dict[str, Any], channels: list[tuple[tuple[str | int, ...], Any]]
) -> Iterator[Said]:
    """Problems of the tables on this chip; `channels` are pairs of path and table."""
    adc, sensor = tables.get("adc"), tables.get("accelerometer")
    if adc is not None:
        if chip in RP2:
            yield from _rp2_adc(adc)
        elif chip == "esp32":
            yield from _esp32_adc(adc, channels)
    if sensor is not None and chip != "sim":
        yield from _sensor(chip, sensor)
    if chip != "sim":
        yield from _pins(chip, tables, channels)


def _rp2_adc(adc: AdcTable) -> Iterator[Said]:
    if adc.kind is not None:
        yield Said(("adc", "kind"), "this chip samples with its own converter", "leave it out")
    if adc.bits != 12:
        yield Said(("adc", "bits"), f"is {adc.bits}, the converter has 12")
    if adc.slots not in RP2_SLOTS:
        yield Said(("adc", "slots"), f"is {adc.slots}, must be 1, 2 or 4")
        return
    witness = adc.temperature_slot
    if witness is not None and witness != adc.slots - 1:
        yield Said(("adc", "temperature_slot"), f"is {witness}, must be the last, {adc.slots - 1}")
    count = adc.slots - (witness is not None)
    pins = adc.pins if adc.pins is not None else list(RP2_ADC_PINS)[:count]
    good = len(pins) == count and pins == sorted(set(pins)) and set(pins) <= set(RP2_ADC_PINS)
    if not good:
        what = f"is {pins}, must be {count} ascending GPIOs from 26 to 29"
        yield Said(("adc", "pins"), what, "the converter takes its inputs in that order")


def _esp32_adc(adc: AdcTable, channels: list[tuple[tuple[str | int, ...], Any]]) -> Iterator[Said]:
    kind = adc.kind or "oneshot"
    if adc.temperature_slot is not None:
        yield Said(("adc", "temperature_slot"), "this chip's converter has no such input")
    if kind == "oneshot":
        pins = adc.pins or []
        try:
            chips.chip_of("esp32").check_pins(pins)
            if len(pins) != adc.slots:
                yield Said(("adc", "pins"), f"{len(pins)} pins for {adc.slots} slots")
        except ValueError as error:
            yield Said(("adc", "pins"), _bare(error))
        try:
            chips.check_scale(adc.model_dump(exclude_none=True))
        except ValueError as error:
            yield Said(("adc", "bits"), _bare(error))
    if kind == "i2s":
        return
    for path, channel in channels:
        if channel.quantity not in ("current", "voltage"):
            continue
        for feature in channel.features or ():
            if feature in _NOT_PACED or feature[1:].isdigit():
                what = f"{feature!r} needs gapless samples, this converter is read one by one"
                hint = "an I2S converter, or an RP2040"
                yield Said((*path, "features"), what, hint)


def _sensor(chip: str, sensor: AccelerometerTable) -> Iterator[Said]:
    table = "accelerometer"
    for key in ("driver", "bus", "range_g"):
        if getattr(sensor, key) is None:
            yield Said((table, key), "is missing", "a real board has a sensor on a bus")
    name, bus = sensor.driver, sensor.bus
    if name is None or bus is None:
        return
    cls = drivers.load(name)
    if sensor.rate_hz not in cls.rates_hz:
        rates = ", ".join(f"{rate:g}" for rate in cls.rates_hz)
        yield Said((table, "rate_hz"), f"{name} has no {sensor.rate_hz:g} Hz", f"one of {rates}")
    if sensor.range_g is not None and sensor.range_g not in cls.ranges:
        ranges = ", ".join(f"{one:g}" for one in cls.ranges)
        yield Said((table, "range_g"), f"{name} has no {sensor.range_g:g} g", f"one of {ranges}")
    if (name, bus.kind) in (("mpu6050", "spi"), ("iis3dwb", "i2c")):
        yield Said((table, "bus", "kind"), f"{name} cannot be on {bus.kind}")
    if name == "adxl345":
        yield from _adxl345(chip, sensor, bus)
    if chip == "esp32":
        bridge_ms = sensor.bridge_ms or (buses.FLASH_US + buses.LOOK_US) / 1000
        try:
            buses.check_bridge(name, cls.fifo_frames, sensor.rate_hz, bridge_ms)
        except ValueError as error:
            yield Said((table, "rate_hz"), _bare(error))


def _adxl345(chip: str, sensor: AccelerometerTable, bus: BusTable) -> Iterator[Said]:
    table = "accelerometer"
    if bus.kind == "i2c" and sensor.rate_hz > ADXL345_I2C_HZ:
        what = f"adxl345: {sensor.rate_hz:g} Hz over I2C; at most {ADXL345_I2C_HZ} Hz there"
        yield Said((table, "rate_hz"), what, "wire SPI, with INT1 at a GPIO of its own")
    fast = bus.kind == "spi" and sensor.rate_hz > ADXL345_INT_HZ
    if chip in RP2 and fast and sensor.int_pin is None:
        what = "is missing: without INT1 the CPU empties the FIFO, and is too slow at this rate"
        yield Said((table, "int_pin"), what, f"the GPIO of INT1, or {ADXL345_INT_HZ} Hz")
    if sensor.range_g in (2, 4, 8, 16):
        bits = 10 + (2, 4, 8, 16).index(int(sensor.range_g))
        if sensor.bits != bits or sensor.lsb_per_g != 256:
            what = f"adxl345 at {sensor.range_g:g} g has {bits} bits and 256 counts a g"
            yield Said((table, "bits"), what)


def _pins(
    chip: str, tables: dict[str, Any], channels: list[tuple[tuple[str | int, ...], Any]]
) -> Iterator[Said]:
    """Inputs have a pin, no GPIO is used twice, all are on the chip."""
    inputs = tables.get("inputs")
    for path, channel in channels:
        if channel.quantity == "input" and channel.index >= len((inputs and inputs.pins) or ()):
            yield Said((*path, "index"), "has no pin", "[inputs] pins: a GPIO for each index")
    taken: dict[int, str] = {}
    for path, pin in _used(tables):
        name = ".".join(str(part) for part in path)
        if chip in RP2 and pin not in RP2_PINS:
            yield Said(path, f"is {pin}, the chip has GPIO 0 to 29")
        if pin in taken:
            yield Said(path, f"GPIO {pin} is also {taken[pin]}")
        taken.setdefault(pin, name)


def _used(tables: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], int]]:
    for name in ("adc", "inputs"):
        table = tables.get(name)
        for pin in (table.pins if table is not None else None) or ():
            yield (name, "pins"), pin
    for name in ("adc", "accelerometer", "link", "pins"):
        table = tables.get(name)
        if table is None:
            continue
        values = table.model_dump(exclude_none=True)
        for key, value in values.items():
            if key.endswith("_pin") or name == "pins":
                yield (name, key), value
        for key, value in values.get("bus", {}).items():
            if key.endswith("_pin"):
                yield (name, "bus", key), value


def _bare(error: ValueError) -> str:
    """The device's words without the path, which the line has."""
    return str(error).split(": ", 1)[-1]
