"""The HAL of the ESP32, on a fake `machine` that refuses what the port refuses."""

import fake_esp32
from fake_esp32_hal import HAL, LINK, make_config, sine
from fake_esp32_i2s import I2S

from clampdevice.bootcount import BootCount


def _refused(call, *said: str) -> None:
    try:
        call()
    except ValueError as error:
        for part in said:
            assert part in str(error), str(error)
    else:
        raise AssertionError("not refused")


def test_the_line_of_a_start_with_current_serves_one_without():
    fake_esp32.new_world(sine)
    HAL.Hal(make_config()).close()
    stored = dict(fake_esp32.NVS.stored)
    world = fake_esp32.new_world()
    fake_esp32.NVS.stored = stored
    hal = HAL.Hal(make_config())
    assert hal.report()["adc_line"]["origin"] == "eFuse calibration, of an earlier start"
    assert hal.report()["flash"]["writes"] == 0
    assert world.blocked == []


def test_what_cannot_be_promised_is_refused():
    fake_esp32.new_world(sine)
    for feature in ("thd", "h5", "frequency", "real", "pf"):
        config = make_config()
        config["channels"][0]["features"] = ["rms", feature]
        _refused(lambda config=config: HAL.Hal(config), "current1", feature, "I2S")
    _refused(lambda: HAL.Hal(make_config(pins=[36, 25])), "GPIO 25", "ADC2")
    _refused(lambda: HAL.Hal(make_config(pins=[36])), "2 slots")
    _refused(lambda: HAL.Hal(make_config(vref_v=3.3)), "2.3")
    _refused(lambda: HAL.Hal(make_config(rate_hz=8000)), "8000", "at most")
    _refused(lambda: HAL.Hal(make_config(kind="sigma")), "sigma")


def test_an_i2s_adc_is_a_source_with_all_features():
    world = fake_esp32.new_world()
    I2S.opened = []
    config = make_config(kind="i2s", rate_hz=8000, vref_v=3.0, sck_pin=14, ws_pin=15, sd_pin=32)
    config["channels"][0]["features"] = ["rms", "thd"]
    hal = HAL.Hal(config)
    source = hal.sources(config)["adc"]
    source.start(world.us)
    got = 0
    for _ in range(100):
        world.us += 10000
        block = source.take(world.us)
        while block is not None:
            got += block[2]
            block = source.take(world.us)
    assert 8000 - 512 <= got <= 8000
    assert hal.report()["adc"]["lost_frames"] == 0
    assert world.blocked == []


def test_storage_survives_a_reset_and_names_what_is_too_long():
    world = fake_esp32.new_world()
    hal = HAL.Hal({"link": LINK})
    boots = BootCount(hal)
    assert boots.raise_to(boots.value + 1) == 1
    hal.write_file("counters.0", b"abc")
    again = HAL.Hal({"link": LINK})
    assert BootCount(again).value == 1
    assert again.read_file("counters.0") == b"abc"
    assert again.read_file("counters.1") == b""
    assert again.read_slot(1) == b""
    assert again.report()["storage_faults"] == 0
    _refused(lambda: hal.write_file("a-name-much-too-long", b""), "20")
    _refused(lambda: hal.write_file("x", bytes(2049)), "2049")
    assert hal.report()["flash"]["writes"] == 2
    assert hal.report()["flash"]["longest_ms"] == 1
    assert world.blocked == []


def test_identity_reset_cause_and_watchdog():
    world = fake_esp32.new_world()
    hal = HAL.Hal({"link": LINK})
    assert hal.unique_id() == "240ac4010203"
    assert hal.reset_cause == 3
    assert 0 <= hal.nonce() < 1 << 32
    hal.watchdog.feed()  # off: nothing happens
    hal.watchdog.start()
    assert hal.watchdog.running
    world.run(7000000)
    hal.watchdog.feed()
    world.run(7000000)
    assert world.resets == 0
    hal.close()  # Ctrl-C: it cannot be stopped, so a timer feeds it
    world.run(60000000)
    assert world.resets == 0
    for timer in world.timers:  # a soft reset ends them all
        timer.deinit()
    world.run(60000000)
    assert world.resets == 0
    hal.watchdog.start()
    world.run(9000000)
    assert world.resets == 1


def test_the_radio_has_its_account():
    world = fake_esp32.new_world(sine)
    config = make_config()
    hal = HAL.Hal(config)
    source = hal.sources(config)["adc"]
    source.start(world.us)
    world.run(300000)
    while source.take(world.us) is not None:
        pass
    hal.radio(True)
    for _ in range(20):
        world.run(8000)
        world.spend(4500)  # what the radio's driver takes
    hal.radio(False)
    world.run(100000)
    cost = hal.report()["radio"]
    assert cost["off_missed"] == 0
    assert 60 <= cost["on_missed"] <= 80
    assert 240 <= cost["on_ms"] <= 260


def test_the_fake_refuses_what_the_port_refuses():
    fake_esp32.new_world()
    pin = fake_esp32.Pin(27, fake_esp32.Pin.IN)
    wrong: dict = {"hard": True}
    slow: dict = {"sample_ns": 1}
    for call, error in (
        (lambda: pin.irq(lambda _pin: None, 3, **wrong), TypeError),
        (lambda: fake_esp32.Timer(0).init(period=1, hard=True), ValueError),
        (lambda: fake_esp32.Timer(0).init(period=0), ValueError),
        (lambda: fake_esp32.Timer(4), ValueError),
        (lambda: fake_esp32.ADC(fake_esp32.Pin(5)), ValueError),
        (lambda: fake_esp32.ADC(fake_esp32.Pin(36), atten=4), ValueError),
        (lambda: fake_esp32.ADC(fake_esp32.Pin(36), **slow), TypeError),
        (lambda: fake_esp32.Pin(24), ValueError),
        (lambda: fake_esp32.Pin(36, fake_esp32.Pin.OUT), ValueError),
        (lambda: fake_esp32.WDT(timeout=0), ValueError),
        (lambda: fake_esp32.NVS("a-namespace-too-long"), OSError),
        (lambda: fake_esp32.NVS("ok").get_blob("none", bytearray(4)), OSError),
    ):
        try:
            call()
        except error:
            continue
        raise AssertionError(f"{error} was expected")
