"""The ESP32's own ADC: which pins, which scale, and the calibration that is learned at start."""

import math

import fake_esp32
from fake_esp32 import MV_PER_CODE, OFFSET_MV

from clampdevice import kernels
from clampdevice.current import CurrentChannel
from clampdevice.hal.esp32 import calibrate
from clampdevice.hal.esp32.calibrate import Line, Pairs, measured, provisional, unpack
from clampdevice.hal.esp32.chips import check_bias, check_scale, chip_of
from clampdevice.hal.esp32.oneshot import OneShot

ESP32 = "Generic ESP32 module with ESP32"
SCALE = {"rate_hz": 1000, "slots": 1, "bits": 16, "vref_v": 2.3}


def _refused(call, *said: str) -> None:
    try:
        call()
    except ValueError as error:
        for part in said:
            assert part in str(error), str(error)
    else:
        raise AssertionError("not refused")


def _sine(mv: float, bias_mv: float = 1300):
    return lambda _gpio, us: bias_mv + mv * math.sin(2 * math.pi * 50 * us / 1000000)


def _scanner(world: fake_esp32.World, pins: list) -> OneShot:
    assert world is fake_esp32.WORLD
    adcs = [fake_esp32.ADC(fake_esp32.Pin(pin), atten=fake_esp32.ADC.ATTN_11DB) for pin in pins]
    return OneShot(adcs, pins, 150, 2450)


def test_the_tables_hold_what_the_port_has():
    chip = chip_of(ESP32)
    assert sorted(chip.adc1) == sorted(fake_esp32.ADC1)
    chip.check_pins([36, 39, 34])
    for text, name, scheme in (
        ("Generic ESP32S3 module with ESP32-S3", "esp32s3", "curve"),
        ("ESP32C3 module with ESP32C3", "esp32c3", "curve"),
        ("LOLIN_S2_MINI with ESP32-S2FN4R2", "esp32s2", "line"),
        ("Some board with ESP32-PICO-D4", "esp32", "line"),
    ):
        assert (chip_of(text).name, chip_of(text).scheme) == (name, scheme), text
    _refused(lambda: chip_of("Raspberry Pi Pico with RP2040"), "RP2040", "esp32s3")


def test_pins_of_adc2_and_others_are_refused_with_the_way_out():
    chip = chip_of(ESP32)
    for pin in fake_esp32.ADC2:
        _refused(lambda pin=pin: chip.check_pins([36, pin]), f"GPIO {pin} ", "Wi-Fi", "32, 33, 34")
    _refused(lambda: chip.check_pins([5]), "GPIO 5", "32, 33")
    _refused(lambda: chip.check_pins([36, 36]), "GPIO 36 twice")
    _refused(lambda: chip.check_pins([]), "none")
    c3 = chip_of("ESP32C3 module with ESP32C3")
    _refused(lambda: c3.check_pins([5]), "ADC2", "0, 1, 2, 3, 4")
    # And the port agrees: such a pin works until the radio is on.
    world = fake_esp32.new_world()
    adc = fake_esp32.ADC(fake_esp32.Pin(25))
    adc.read_u16()
    world.wifi = True
    try:
        adc.read_u16()
    except OSError:
        pass
    else:
        raise AssertionError("ADC2 works with Wi-Fi")


def test_scale_and_bias_are_checked():
    assert check_scale(SCALE) == ("ATTN_11DB", 150, 2450)
    assert check_scale(dict(SCALE, atten_db=6, vref_v=1.6)) == ("ATTN_6DB", 150, 1750)
    _refused(lambda: check_scale(dict(SCALE, vref_v=3.3)), "3.3", "2.3")
    _refused(lambda: check_scale(dict(SCALE, bits=12)), "12", "16")
    _refused(lambda: check_scale(dict(SCALE, atten_db=12)), "atten_db", "11")
    check_bias(36, 1300, 150, 2450)
    _refused(lambda: check_bias(36, 700, 150, 2450), "GPIO 36", "700", "955", "1300")
    _refused(lambda: check_bias(36, 1900, 150, 2450), "1900", "1645")


def test_a_swinging_input_gives_the_chips_own_line():
    world = fake_esp32.new_world(_sine(700))
    scanner = _scanner(world, [36, 39])
    line = scanner.calibrate("line", None, fake_esp32.WORLD.ticks_us)
    assert line.origin == calibrate.MEASURED
    assert abs(line.offset_uv / 1000 - OFFSET_MV) < 1.5
    assert abs(line.nv_per_code / 1e6 / MV_PER_CODE - 1) < 0.001
    assert line.residual_mv < 1.0
    assert all(abs(mv - 1300) < 5 for mv in scanner.bias_mv)
    buf = [0] * 4
    for mv in (400, 900, 1300, 1777, 2400):
        world.mv = lambda _gpio, _us, mv=mv: mv
        scanner.read_into(buf, 1)
        for value in buf[1:3]:
            assert abs(150 + value * 2300 / 65535 - mv) < 1.5, (mv, value)
    # Outside of the linear range is at a rail, so that it counts as clipped.
    for mv, code in ((90, 0), (140, 0), (2460, 65535), (3300, 65535)):
        world.mv = lambda _gpio, _us, mv=mv: mv
        scanner.read_into(buf, 0)
        assert buf[0] == code, mv


def test_an_input_at_rest_takes_the_kept_line_and_says_so():
    world = fake_esp32.new_world(_sine(700))
    first = _scanner(world, [36]).calibrate("line", None, fake_esp32.WORLD.ticks_us)
    kept = unpack(first.pack())
    assert kept is not None
    assert kept.origin == calibrate.KEPT
    assert (kept.offset_uv, kept.nv_per_code) == (first.offset_uv, first.nv_per_code)
    world.mv = _sine(0)
    scanner = _scanner(world, [36])
    assert scanner.calibrate("line", kept, fake_esp32.WORLD.ticks_us) is kept
    damaged = bytearray(first.pack())
    damaged[6] ^= 1
    assert unpack(bytes(damaged)) is None
    assert unpack(b"") is None


def test_without_any_line_it_is_provisional_with_its_uncertainty():
    world = fake_esp32.new_world(_sine(0))
    line = _scanner(world, [36]).calibrate("line", None, fake_esp32.WORLD.ticks_us)
    assert line.origin == calibrate.PROVISIONAL
    assert line.gain_pct == 7.0
    assert abs(line.nv_per_code / 1e6 / MV_PER_CODE - 1) < 0.01  # this chip has that kind of line
    world = fake_esp32.new_world(lambda _gpio, _us: 0)
    _refused(
        lambda: _scanner(world, [36]).calibrate("line", None, fake_esp32.WORLD.ticks_us), "no bias"
    )
    _refused(lambda: provisional(Pairs(), "curve"), "no reading")


def test_a_few_pairs_or_a_falling_line_are_no_calibration():
    pairs = Pairs()
    for code in range(100, 4000, 5):
        pairs.add(code, 3000 - code // 2, code)
    assert measured(pairs) is None
    pairs = Pairs()
    for code in range(1400, 1700):
        pairs.add(code, 142 + code, code)
    assert measured(pairs) is None  # 300 codes: half a millivolt would be 0.5 %
    table = Line(0, 1000000, calibrate.MEASURED).table(150, 2450)
    assert [table[i] for i in (0, 150, 2450, 4095)] == [0, 0, 65535, 65535]
    assert abs(table[1300] - 32768) <= 1
    assert all(table[i] <= table[i + 1] for i in range(4095))


def test_a_bias_that_leaves_no_swing_is_refused():
    world = fake_esp32.new_world(_sine(0, 600))
    kept = Line(OFFSET_MV * 1000, int(MV_PER_CODE * 1e6), calibrate.KEPT)
    _refused(
        lambda: _scanner(world, [34]).calibrate("line", kept, fake_esp32.WORLD.ticks_us),
        "GPIO 34",
        "600 mV",
        "divider",
    )


def test_amperes_through_table_and_channel():
    world = fake_esp32.new_world(_sine(500))
    scanner = _scanner(world, [36])
    scanner.calibrate("line", None, fake_esp32.WORLD.ticks_us)

    class Source:
        rate_hz = 1000.0
        slots = 1

    config = {"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 30}
    channel = CurrentChannel(config, dict(SCALE), Source, kernels)
    from array import array

    buf = array("H", bytes(400))
    start = world.us
    for index in range(200):
        world.us = start + 1000 * index
        scanner.read_into(buf, index)
    channel.add(buf, 0, 200)
    channel.close(False)
    rms_a = channel.window_features()["rms"]
    truth = 0.5 / math.sqrt(2) * 30
    assert abs(rms_a / truth - 1) < 0.003, (rms_a, truth)
    assert channel.window_features()["clipped"] == 0
