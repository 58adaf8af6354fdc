"""Board files: ours are good for the firmware too, wrong ones are refused with every line."""

import re
from pathlib import Path

import pytest

from clampdevice import board as firmware
from clampdevice import drivers, linear
from clampdevice.hal.esp32 import buses, chips
from clamptools import boardchips
from clamptools.boards import BoardError, board_names, read_board
from clamptools.data import boards_dir
from clamptools.errors import UserError
from clamptools.machines import MACHINES, board_of

GOOD = """\
[board]
name = "bench"
chip = "sim"
device = "bench-1"

[adc]
rate_hz = 6400
slots = 4
vref_v = 3.3
temperature_slot = 3

[accelerometer]
rate_hz = 3200
bits = 13
lsb_per_g = 256

[inputs]

[[channel]]
key = "current1"
quantity = "current"
slot = 0
ct_ratio = 2000
burden_ohm = 22

[[channel]]
key = "vibration1"
quantity = "vibration"

[[channel]]
key = "input1"
quantity = "input"
index = 0

[state]
on = { channels = ["current1"], above = 0.5 }
working = [{ channels = ["vibration1"], above = 2 }]
"""


def _problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "bench.toml"
    path.write_text(text)
    with pytest.raises(BoardError) as caught:
        read_board(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: line ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def _line(text: str, part: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if part in line)


@pytest.mark.parametrize("name", board_names())
def test_every_board_of_ours_suits_the_firmware(name: str) -> None:
    board = read_board(name)
    assert firmware.check(board)["board"] == name
    keys = [channel["key"] for channel in board["channels"]]
    assert len(keys) == len(set(keys))


def test_every_machine_has_its_board() -> None:
    assert {board_of(machine) for machine in MACHINES} <= set(board_names())


def test_a_good_file_becomes_board_json(tmp_path: Path) -> None:
    path = tmp_path / "bench.toml"
    path.write_text(GOOD)
    board = read_board(path)
    firmware.check(board)
    assert (board["board"], board["chip"], board["name"]) == ("bench", "sim", "bench-1")
    assert board["sources"]["adc"]["bits"] == 12
    assert board["sources"]["accelerometer"]["slots"] == 3
    assert board["channels"][0]["burden_ohm"] == 22
    assert "a_per_v" not in board["channels"][0]  # absent, not null: the firmware asks for keys
    assert board["state"]["hysteresis_pct"] == 10
    assert board["state"]["min_s"] == {}  # the firmware has defaults
    assert "id" not in board


def test_an_unknown_board_names_those_there_are() -> None:
    with pytest.raises(UserError, match="sim-lathe"):
        read_board("pico-nonsense")


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    (problem,) = _problems(tmp_path, "[board\nname = 3")
    assert "not TOML" in problem


def test_seven_mistakes_are_seven_lines(tmp_path: Path) -> None:
    text = GOOD
    for before, after in (
        ('name = "bench"', 'name = "other"'),
        ("rate_hz = 6400", "rate_hz = 200000"),
        ("vref_v = 3.3", 'vref_v = "3.3"'),
        ("[inputs]", "[input]"),
        ("slot = 0", "slot = 99"),
        ("index = 0", "index = 0\ndebounce = 5"),
        ("above = 2 }", 'above = 2, over = "x" }'),
    ):
        text = text.replace(before, after)
    problems = _problems(tmp_path, text)
    told = {int(re.match(r"line (\d+)", p)[1]) for p in problems}  # type: ignore[index]
    wrong = ('"other"', "200000", '"3.3"', "[input]", "= 99", "debounce =", "over =")
    assert {_line(text, part) for part in wrong} <= told
    assert 'did you mean "debounce_ms"?' in "\n".join(problems)
    assert 'did you mean "inputs"?' in "\n".join(problems)


# The comment `# here` marks the line that must be named.
_FIRST = '[[channel]]\nkey = "current1"'
_HERE = '[[channel]] # here\nkey = "current1"'


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ([(_FIRST, _HERE), ("burden_ohm = 22", "a_per_v = 3")], "own burden"),
        ([(_FIRST, _HERE), ("burden_ohm = 22\n", "")], "no scale"),
        ([("\nslot = 0\n", "\nslot = 3 # here\n")], "the temperature"),
        ([("\nslot = 0\n", "\nslot = 4 # here\n")], "4 slots"),
        ([('key = "vibration1"', 'key = "current1" # here')], "is also channel[0]"),
        ([("rate_hz = 3200", "rate_hz = 700 # here")], "784 to 6528"),
        ([('working = [{ channels = ["vibration1"], above = 2 }]',
           'working = [{ channels = ["input1"], above = 2 }] # here')], "no current or vibration"),
        ([('quantity = "vibration"', 'quantity = "noise" # here')], "one of current, voltage"),
        ([("slots = 4", "slots = 4\nring_ms = 5000 # here")], "bytes, 65536 at most"),
        ([("rate_hz = 6400", "rate_hz = 99999\nring_ms = 2000 # here")], "at most"),
        ([("slots = 4", "slots = 8"), ("rate_hz = 6400", "rate_hz = 90000 # here")], "has 500000"),
        ([('chip = "sim"', 'chip = "z80" # here')], "must be 'sim'"),
        ([('name = "bench"', 'name = "other" # here')], "the file is bench.toml"),
        ([("temperature_slot = 3", "temperature_slot = 4 # here")], "4 slots, from 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_mistake_is_named_at_its_line(
    tmp_path: Path, edits: list[tuple[str, str]], said: str
) -> None:
    text = GOOD
    for before, after in edits:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    problems = _problems(tmp_path, text)
    line = _line(text, "# here")
    assert [p for p in problems if p.startswith(f"line {line}: ") and said in p], problems


def test_nothing_to_measure(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("[[channel]]")]
    assert "nothing to measure" in _problems(tmp_path, text)[0]


def test_a_second_vibration_channel_is_refused(tmp_path: Path) -> None:
    extra = '[[channel]]\nkey = "vibration2"\nquantity = "vibration"\n'
    text = GOOD.replace("[state]", extra + "\n[state]")
    assert "second channel" in _problems(tmp_path, text)[0]


def test_every_curve_of_the_firmware_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "bench.toml"
    for name in ("none", *linear.CHIPS):
        path.write_text(GOOD.replace("vref_v = 3.3", f'vref_v = 3.3\nlinearise = "{name}"'))
        assert firmware.check(read_board(path))["sources"]["adc"]["linearise"] == name
    (problem,) = _problems(tmp_path, path.read_text().replace(linear.CHIPS[-1], "esp32"))
    assert "adc.linearise" in problem


def _edited(name: str, edits: list[tuple[str, str]]) -> str:
    text = (
        (boards_dir() / f"{name}.toml").read_text().replace(f'name = "{name}"', 'name = "bench"')
    )
    for before, after in edits:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


_SPI = """kind = "spi"            # any GPIOs: the bus is made by PIO
sck_pin = 18
mosi_pin = 19           # SDA of the sensor
miso_pin = 16           # SDO
cs_pin = 17
"""
_SECOND = """
[[channel]]
key = "input2"
quantity = "input"
index = 0
features = ["state", "count"]
debounce_ms = 5 # here
"""
_I2C = 'kind = "i2c"\nid = 0\nscl_pin = 5\nsda_pin = 4\naddress = 83\n'


@pytest.mark.parametrize(
    ("name", "edits", "said"),
    [
        ("pico", [("pins = [26, 27, 28]", "pins = [27, 26, 28] # here")], "ascending GPIOs"),
        ("pico", [("pins = [26, 27, 28]", "pins = [26, 27] # here")], "3 ascending GPIOs"),
        ("pico", [("bits = 12", "bits = 16 # here")], "the converter has 12"),
        ("pico", [("slots = 4", "slots = 3 # here")], "must be 1, 2 or 4"),
        ("pico", [("pins = [15]  ", "pins = [26] # here ")], "GPIO 26 is also adc.pins"),
        ("pico", [("index = 0", "index = 1 # here")], "has no pin"),
        ("pico", [("debounce_ms = 20", "debounce_ms = 1001 # here")], "at most 1000"),
        ("pico", [("debounce_ms = 20", "debounce_ms = -1 # here")], "at least 0"),
        ("pico", [("debounce_ms = 20", f'features = ["count"]\n{_SECOND}')],
         "is not that of 'input1', which counts the same input"),
        ("pico", [("pins = [15]  ", "pins = [30] # here ")], "GPIO 0 to 29"),
        ("pico-adxl345", [(_SPI, _I2C), ("rate_hz = 3200  ", "rate_hz = 3200 # here ")],
         "3200 Hz over I2C; at most 1600 Hz"),
        ("pico-adxl345", [("int_pin = 20            # INT1\n", ""),
                          ("[accelerometer]\n", "[accelerometer] # here\n")], "without INT1"),
        ("pico-adxl345", [("int_pin = 20", "int_pin = 16"),
                          ("miso_pin = 16  ", "miso_pin = 16 # here ")],
         "GPIO 16 is also accelerometer.int_pin"),
        ("pico-adxl345", [("range_g = 16", "range_g = 12 # here")], "no 12 g"),
        ("pico-adxl345", [("bits = 13", "bits = 10 # here")], "13 bits and 256 counts"),
        ("pico-adxl345", [("rate_hz = 3200  ", "rate_hz = 3000 # here ")], "no 3000 Hz"),
        ("pico-adxl345", [('driver = "adxl345"', 'driver = "mpu6050"'),
                          ('kind = "spi"', 'kind = "spi" # here')], "cannot be on spi"),
        ("pico-adxl345", [("cs_pin = 17\n", ""),
                          ("[accelerometer.bus]", "[accelerometer.bus] # here")], "needs cs_pin"),
        ("pico-adxl345", [('sensor = "ADXL345, 16 g"', "gain = [1.0, 1.0] # here")],
         "2 for 3 axes"),
        ("esp32-devkitc", [("pins = [34, 35, 32]", "pins = [34, 35, 4] # here")], "ADC2"),
        ("esp32-devkitc", [("vref_v = 2.3", "vref_v = 3.3"), ("bits = 16", "bits = 16 # here")],
         "16 bits over"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_a_chip_cannot_do_is_named(
    tmp_path: Path, name: str, edits: list[tuple[str, str]], said: str
) -> None:
    text = _edited(name, edits)
    problems = _problems(tmp_path, text)
    line = _line(text, "# here")
    assert [p for p in problems if p.startswith(f"line {line}: ") and said in p], problems


def test_gapless_features_are_refused_on_a_converter_that_is_read_one_by_one(
    tmp_path: Path,
) -> None:
    text = _edited("esp32-devkitc", []).replace('["rms", "peak"]', '["rms", "thd"]')
    assert len([p for p in _problems(tmp_path, text) if "gapless" in p]) == 3


def test_a_sensor_of_a_real_board_reaches_board_json() -> None:
    part = read_board("pico-adxl345")["sources"]["accelerometer"]
    assert part["driver"] == "adxl345"
    assert part["int_pin"] == 20
    assert part["bus"] == {
        "kind": "spi",
        "sck_pin": 18,
        "mosi_pin": 19,
        "miso_pin": 16,
        "cs_pin": 17,
    }
    assert read_board("pico")["sources"]["adc"]["pins"] == [26, 27, 28]
    assert read_board("esp32-devkitc")["link"] == {"kind": "uart0"}


def test_tables_of_chips_and_sensors_are_those_of_the_firmware() -> None:
    for name, (rates_hz, frames, kinds) in boardchips.SENSORS.items():
        cls = drivers.load(name)
        assert (cls.kind, cls.rates_hz, cls.fifo_frames) == ("fifo", rates_hz, frames)
        assert cls.ranges == boardchips.RANGES_G
        assert set(kinds) <= {"spi", "i2c"}
    assert set(boardchips.SENSORS) == {
        name for name in drivers.DRIVERS if drivers.load(name).kind == "fifo"
    }
    assert set(chips.chip_of("esp32").adc1) == set(boardchips.ESP32_ADC1)
    for pin in boardchips.ESP32_ADC2:
        with pytest.raises(ValueError, match="on ADC2"):
            chips.chip_of("esp32").check_pins([pin])
    for db, (low_mv, high_mv) in boardchips.ESP32_LINEAR_MV.items():
        assert chips.attenuation(db)[1:] == (low_mv, high_mv)
    assert boardchips.ESP32_AWAY_MS * 1000 == buses.FLASH_US + buses.LOOK_US


def test_a_fifo_that_does_not_last_over_an_erase_is_refused_on_an_esp32(tmp_path: Path) -> None:
    table = _edited("pico-adxl345", [])
    table = table[table.index("[accelerometer]") : table.index("[inputs]")]
    table = table.replace("rate_hz = 3200", "rate_hz = 800").replace("ring_ms = 450", "")
    text = _edited("esp32-devkitc", [("[inputs]\n", table + "[inputs]\n")])
    (problem,) = _problems(tmp_path, text)
    assert "lasts 40 ms" in problem
    assert "355 Hz at most" in problem
    path = tmp_path / "bench.toml"
    path.write_text(text.replace("int_pin = 20", "bridge_ms = 30"))
    firmware.check(read_board(path))
