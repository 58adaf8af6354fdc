"""What a board's TOML may say: its tables, keys, ranges and defaults.

Owns the single values; what spans several tables is checked by `boards.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clampgateway.config import Settings

_Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,23}$")]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
_Positive = Annotated[float, Field(gt=0)]
_Share = Annotated[float, Field(ge=0, le=100)]
_Slot = Annotated[int, Field(ge=0, lt=16)]
_Gain = Annotated[float, Field(ge=0.75, le=1.25)]  # beyond, it is another sensor or range
_Offset = Annotated[float, Field(ge=-9.80665, le=9.80665)]
_Pin = Annotated[int, Field(ge=0, lt=64)]


class BoardTable(Settings):
    """[board]: `name` is that of the file, `device` what the device calls itself at first."""

    name: _Name
    chip: Literal["sim", "rp2040", "rp2350", "esp32"]
    device: _Name
    id: _Name | None = None


class SpoolTable(Settings):
    """[spool]: RAM for what is not acknowledged, and the largest number of items in it.

    The ring in flash, behind a file system that ends before it: where it begins in the storage
    that MicroPython leaves, and its size; both left out, there is none.
    """

    ram_bytes: Annotated[int, Field(ge=4096, le=1 << 20)] = 24576
    ram_items: Annotated[int, Field(ge=60, le=65535)] = 1024
    flash_start: Annotated[int, Field(ge=0, multiple_of=4096)] | None = None
    flash_bytes: Annotated[int, Field(ge=20480, multiple_of=4096)] | None = None


class LinkTable(Settings):
    """[link]: the line to the gateway; left out, it is the chip's USB or its console."""

    kind: Literal["usb", "uart", "uart0"]
    uart: Annotated[int, Field(ge=0, le=2)] | None = None
    tx_pin: _Pin | None = None
    rx_pin: _Pin | None = None
    baud: Annotated[int, Field(ge=9600, le=3_000_000)] | None = None


class PinsTable(Settings):
    """[pins]: what is on the board itself."""

    led: _Pin | None = None


class BusTable(Settings):
    """[adc.bus], [accelerometer.bus]: the wires of one sensor."""

    kind: Literal["spi", "i2c"]
    id: Annotated[int, Field(ge=0, le=2)] | None = None
    hz: Annotated[int, Field(ge=10_000, le=20_000_000)] | None = None
    sck_pin: _Pin | None = None
    mosi_pin: _Pin | None = None
    miso_pin: _Pin | None = None
    cs_pin: _Pin | None = None
    scl_pin: _Pin | None = None
    sda_pin: _Pin | None = None
    address: Annotated[int, Field(ge=8, le=0x77)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> BusTable:
        spi = ("sck_pin", "mosi_pin", "miso_pin", "cs_pin")
        i2c = ("scl_pin", "sda_pin", "address")
        needed, other = (spi, i2c) if self.kind == "spi" else (i2c, spi)
        missing = [key for key in needed if getattr(self, key) is None]
        foreign = [key for key in other if getattr(self, key) is not None]
        if missing or foreign:
            parts = [f"needs {', '.join(missing)}"] * bool(missing)
            parts += [f"has no {', '.join(foreign)}"] * bool(foreign)
            raise ValueError(f"a bus of kind {self.kind} " + " and ".join(parts))
        return self


class AdcTable(Settings):
    """[adc]: rates are of one slot; `zero_lsb` is the bias in codes.

    `linearise` names the curve by which codes are straightened, or "none"; left out, it is that
    of the chip's own converter. `pins` are the GPIOs of its inputs. On an ESP32 `kind` says what
    samples: "oneshot" (with `atten_db`), "scan" (`driver`, `bus`, `inputs`, `range_v`) or "i2s"
    (`sck_pin`, `ws_pin`, `sd_pin`, `i2s`).
    """

    rate_hz: Annotated[float, Field(ge=100, le=100_000)]
    slots: Annotated[int, Field(ge=1, le=8)]
    bits: Annotated[int, Field(ge=8, le=16)] = 12
    vref_v: Annotated[float, Field(gt=0, le=5.5)]
    zero_lsb: Annotated[float, Field(gt=0)] | None = None
    linearise: Literal["none", "rp2040", "rp2350"] | None = None
    vref_tolerance_pct: _Share | None = None
    linearity_lsb: Annotated[float, Field(ge=0)] | None = None
    lowpass_hz: _Positive | None = None
    temperature_slot: _Slot | None = None
    pins: list[_Pin] | None = None
    kind: Literal["oneshot", "scan", "i2s"] | None = None
    atten_db: Annotated[float, Field(ge=0, le=11)] | None = None
    driver: Literal["ads1115", "mcp3208"] | None = None
    bus: BusTable | None = None
    inputs: list[_Slot] | None = None
    range_v: _Positive | None = None
    i2s: Annotated[int, Field(ge=0, le=1)] | None = None
    sck_pin: _Pin | None = None
    ws_pin: _Pin | None = None
    sd_pin: _Pin | None = None
    block_frames: Annotated[int, Field(ge=16, le=4096)] = 256
    ring_ms: Annotated[int, Field(ge=450, le=10_000)] = 450


class AccelerometerTable(Settings):
    """[accelerometer]: the rate is nominal, the firmware tells the true one.

    A real one has a `driver`, a `bus` and a `range_g`; `int_pin` is the GPIO of its INT1.
    `bridge_ms`: how long its FIFO has to last while the chip is away; below what that takes,
    counted gaps are accepted.
    """

    rate_hz: Annotated[float, Field(ge=25, le=26_700)]
    driver: Literal["adxl345", "lis2dw12", "mpu6050", "iis3dwb"] | None = None
    bus: BusTable | None = None
    range_g: _Positive | None = None
    int_pin: _Pin | None = None
    bridge_ms: _Positive | None = None
    slots: Annotated[int, Field(ge=1, le=3)] = 3
    bits: Annotated[int, Field(ge=8, le=16)]
    lsb_per_g: _Positive
    block_frames: Annotated[int, Field(ge=16, le=4096)] = 128
    ring_ms: Annotated[int, Field(ge=450, le=10_000)] = 450


class InputsTable(Settings):
    """[inputs]: that there are digital inputs; `pins` is the GPIO of each, by its index.

    `active_low`: 1 means connected to ground, which is so unless it says false.
    """

    pins: Annotated[list[_Pin], Field(min_length=1, max_length=16)] | None = None
    active_low: bool | None = None


class ChannelTable(Settings):
    """What every [[channel]] may say."""

    key: _Key
    quantity: str
    sensor: Annotated[str, Field(max_length=64)] = ""
    calibration: Annotated[str, Field(max_length=32)] = ""
    uncertainty_pct: _Share | None = None


_ANALOG = "rms|peak|mean|crest|min|max|clipped_pct|frequency|thd|uncertainty|h([1-9]|1[0-5])"
_CURRENT = f"{_ANALOG}|apparent|real|pf|charge|energy|apparent_energy|run"


class AnalogTable(ChannelTable):
    """A slot of the converter."""

    slot: _Slot
    noise_floor: Annotated[float, Field(ge=0)] | None = None
    learn_floor: bool | None = None
    mains_hz: Annotated[float, Field(ge=45, le=65)] | None = None
    coupling: Literal["ac", "dc"] | None = None


class CurrentTable(AnalogTable):
    """A current transformer: `a_per_v` with a burden of its own, else ratio and burden.

    Power needs `voltage`, the key of a voltage channel; apparent power that or a nominal
    `voltage_v`. `runs_with` names channels that, when they run, show that this one should too.
    """

    a_per_v: _Positive | None = None
    ct_ratio: _Positive | None = None
    burden_ohm: _Positive | None = None
    rated_a: _Positive | None = None
    voltage: _Key | None = None
    voltage_v: _Positive | None = None
    invert: bool | None = None
    run_above: _Positive | None = None
    runs_with: list[_Key] | None = None
    ct_class: Literal["0.1", "0.2", "0.2S", "0.5", "0.5S", "1"] | None = None
    ct_error_pct: _Share | None = None
    burden_tolerance_pct: _Share | None = None
    features: list[Annotated[str, Field(pattern=f"^({_CURRENT})$")]] | None = None


class VoltageTable(AnalogTable):
    """A voltage behind an isolating transformer or module: `v_per_v` volts a volt at the pin."""

    v_per_v: _Positive
    rated_v: _Positive | None = None
    features: list[Annotated[str, Field(pattern=f"^({_ANALOG})$")]] | None = None


class SeverityTable(Settings):
    """[channel.severity]: the machine as ISO 20816-3 asks for it, and the limits from there."""

    power_kw: Annotated[float, Field(gt=15)]
    group: Literal[1, 2]
    mounting: Literal["rigid", "flexible"]
    limits_mm_s: Annotated[list[float], Field(min_length=3, max_length=3)]


class VibrationTable(ChannelTable):
    """An accelerometer; `axes` names the slots of its frame in order.

    `gain` and `offset_m_s2`, one an axis, are a calibration by gravity.
    """

    axes: Annotated[str, Field(pattern="^(x|xy|xyz)$")] = "xyz"
    noise_floor: Annotated[float, Field(ge=0)] | None = None
    features: (
        list[
            Annotated[
                str,
                Field(
                    pattern="^(a|clipped|temperature|ratio|zone|band[1-8]|"
                    "(a|mean|peak|pp|crest|kurtosis|v|frequency|fa|band[1-8])_[xyz])$"
                ),
            ]
        ]
        | None
    ) = None
    bands: Annotated[list[list[float]], Field(min_length=1, max_length=8)] | None = None
    gain: Annotated[list[_Gain], Field(min_length=1, max_length=3)] | None = None
    offset_m_s2: Annotated[list[_Offset], Field(min_length=1, max_length=3)] | None = None
    spectrum_points: Literal[256, 512, 1024, 2048] | None = None
    severity: SeverityTable | None = None


class InputTable(ChannelTable):
    """A digital input, by its number."""

    index: Annotated[int, Field(ge=0, lt=16)]
    debounce_ms: Annotated[float, Field(ge=0, le=1000)] | None = None
    role: Literal["red", "green", "contact", "amber", "blue"] | None = None
    features: list[Literal["state", "count"]] | None = None
    events: bool | None = None


class ThresholdTable(Settings):
    """The sum of these channels' levels, in A RMS or m/s2 RMS, against a limit."""

    channels: Annotated[list[str], Field(min_length=1)]
    above: _Positive


class MinimumTable(Settings):
    """Seconds for which a level must hold before it is the state; the firmware has defaults."""

    off: Annotated[float, Field(ge=0, le=3600)] | None = None
    idle: Annotated[float, Field(ge=0, le=3600)] | None = None
    working: Annotated[float, Field(ge=0, le=3600)] | None = None
    unknown: Annotated[float, Field(ge=0, le=3600)] | None = None


class LearnTable(Settings):
    """[state.learn]: learned from current and vibration; see docs/states.md."""

    windows: Annotated[int, Field(ge=100, le=18_000)] = 300
    on_above: _Positive | None = None
    single: Literal["working", "idle", "unknown"] = "unknown"


class StateTable(Settings):
    """[state]: thresholds of the machine's state, or how it is learned; thresholds go first."""

    on: ThresholdTable | None = None
    working: list[ThresholdTable] | None = None
    learn: LearnTable | None = None
    hysteresis_pct: Annotated[float, Field(ge=0, lt=100)] = 10
    min_s: MinimumTable = MinimumTable()


TABLES: dict[str, type[Settings]] = {
    "board": BoardTable,
    "link": LinkTable,
    "pins": PinsTable,
    "spool": SpoolTable,
    "adc": AdcTable,
    "accelerometer": AccelerometerTable,
    "inputs": InputsTable,
    "state": StateTable,
}
CHANNELS: dict[str, tuple[type[ChannelTable], str]] = {
    "current": (CurrentTable, "adc"),
    "voltage": (VoltageTable, "adc"),
    "vibration": (VibrationTable, "accelerometer"),
    "input": (InputTable, "inputs"),
}
