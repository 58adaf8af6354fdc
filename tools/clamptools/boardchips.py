"""What a chip can do of what its board's TOML asks for: rates, pins, sensors.

Owns the checks that need to know the chip; each is the device's own rule, told before flashing
and with a line. The tables of sensors and pins are the firmware's, which this cannot import; a
test compares them. Takes the validated tables and yields problems; reads no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

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
# Of each sensor with a FIFO: rates in Hz, frames of the FIFO, buses.
SENSORS: dict[str, tuple[tuple[float, ...], int, tuple[str, ...]]] = {
    "adxl345": ((25, 50, 100, 200, 400, 800, 1600, 3200), 32, ("spi", "i2c")),
    "lis2dw12": ((12.5, 25, 50, 100, 200, 400, 800, 1600), 32, ("spi", "i2c")),
    "mpu6050": ((50, 100, 125, 200, 250, 500, 1000), 170, ("i2c",)),
    "iis3dwb": ((26667,), 512, ("spi",)),
}
RANGES_G = (2, 4, 8, 16)
# How long an ESP32 may be away: a flash erase, and the time between two looks.
ESP32_AWAY_MS = 90.0
ESP32_ADC1 = (32, 33, 34, 35, 36, 37, 38, 39)
ESP32_ADC2 = (0, 2, 4, 12, 13, 14, 15, 25, 26, 27)
# dB: linear range in mV, of which codes of 16 bits are a scale
ESP32_LINEAR_MV = {0: (100, 950), 2.5: (100, 1250), 6: (150, 1750), 11: (150, 2450)}
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
    if chip in RP2:
        yield from _counters(channels)


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
        yield from _esp32_oneshot(adc)
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


def _esp32_oneshot(adc: AdcTable) -> Iterator[Said]:
    pins = adc.pins or []
    for pin in pins:
        if pin in ESP32_ADC2:
            what = f"GPIO {pin} is on ADC2, which fails while Wi-Fi is on"
            yield Said(("adc", "pins"), what, "ADC1 is on GPIO 32 to 39")
        elif pin not in ESP32_ADC1:
            yield Said(("adc", "pins"), f"GPIO {pin} has no ADC", "ADC1 is on GPIO 32 to 39")
    if len(set(pins)) != adc.slots:
        yield Said(("adc", "pins"), f"{len(set(pins))} different pins for {adc.slots} slots")
    atten_db = 11 if adc.atten_db is None else adc.atten_db
    if atten_db not in ESP32_LINEAR_MV:
        known = ", ".join(f"{db:g}" for db in ESP32_LINEAR_MV)
        yield Said(("adc", "atten_db"), f"is {atten_db:g}, must be one of {known}")
        return
    low_mv, high_mv = ESP32_LINEAR_MV[atten_db]
    span_v = (high_mv - low_mv) / 1000
    if adc.bits != 16 or abs(adc.vref_v - span_v) > 0.0005:
        what = f"codes have 16 bits over {low_mv} to {high_mv} mV"
        yield Said(("adc", "bits"), what, f"bits = 16, vref_v = {span_v:g}")


def _sensor(chip: str, sensor: AccelerometerTable) -> Iterator[Said]:
    table = "accelerometer"
    for key in ("driver", "bus", "range_g"):
        if getattr(sensor, key) is None:
            yield Said((table, key), "is missing", "a real board has a sensor on a bus")
    name, bus = sensor.driver, sensor.bus
    if name is None or bus is None:
        return
    rates_hz, frames, buses = SENSORS[name]
    if sensor.rate_hz not in rates_hz:
        rates = ", ".join(f"{rate:g}" for rate in rates_hz)
        yield Said((table, "rate_hz"), f"{name} has no {sensor.rate_hz:g} Hz", f"one of {rates}")
    if sensor.range_g is not None and sensor.range_g not in RANGES_G:
        yield Said((table, "range_g"), f"{name} has no {sensor.range_g:g} g", "2, 4, 8 or 16")
    if bus.kind not in buses:
        yield Said((table, "bus", "kind"), f"{name} cannot be on {bus.kind}")
    if name == "adxl345":
        yield from _adxl345(chip, sensor, bus)
    lasts_ms = 1000 * frames / sensor.rate_hz
    away_ms = sensor.bridge_ms or ESP32_AWAY_MS
    if chip == "esp32" and lasts_ms < away_ms:
        what = f"its FIFO lasts {lasts_ms:.0f} ms, and this chip may be away for {away_ms:g} ms"
        hint = f"{int(1000 * frames / away_ms)} Hz at most, or bridge_ms if counted gaps will do"
        yield Said((table, "rate_hz"), what, hint)


def _adxl345(chip: str, sensor: AccelerometerTable, bus: BusTable) -> Iterator[Said]:
    table = "accelerometer"
    if bus.kind == "i2c" and sensor.rate_hz > ADXL345_I2C_HZ:
        what = f"adxl345: {sensor.rate_hz:g} Hz over I2C; at most {ADXL345_I2C_HZ} Hz there"
        yield Said((table, "rate_hz"), what, "wire SPI, with INT1 at a GPIO of its own")
    fast = bus.kind == "spi" and sensor.rate_hz > ADXL345_INT_HZ
    if chip in RP2 and fast and sensor.int_pin is None:
        what = "is missing: without INT1 the CPU empties the FIFO, and is too slow at this rate"
        yield Said((table, "int_pin"), what, f"the GPIO of INT1, or {ADXL345_INT_HZ} Hz")
    if sensor.range_g in RANGES_G:
        bits = 10 + RANGES_G.index(int(sensor.range_g))
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


def _counters(channels: list[tuple[tuple[str | int, ...], Any]]) -> Iterator[Said]:
    """An input has one counter in hardware, which has one filter."""
    filters: dict[int, tuple[str, float | None]] = {}
    for path, channel in channels:
        if channel.quantity != "input" or "count" not in (channel.features or ()):
            continue
        key, debounce_ms = filters.setdefault(channel.index, (channel.key, channel.debounce_ms))
        if debounce_ms != channel.debounce_ms:
            what = f"is not that of {key!r}, which counts the same input"
            yield Said((*path, "debounce_ms"), what, "one input is counted with one filter")


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
