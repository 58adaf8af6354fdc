"""The command `status` on the sources of each chip: what they count is told, and fits a frame.

Under CPython alone: an ESP32's HAL and its fakes do not compile in 256 KB beside the rest.
"""

import json

import fake_esp32
from fake_esp32_hal import HAL, make_config, sine
from fakes_history import Device
from test_app import Guarded, Hal, make
from test_fifo import bench as fifo_bench
from test_rp2_adc import Bench as AdcBench
from test_rp2_entries import Bench as EntryBench

from clampdevice.app import App

LARGE = 999_999_999
BODY_MAX = 1008  # see link.py


def ask(app: App) -> dict:
    return app._lent("status")({})


def swollen(told: object) -> object:
    """The same with each counter as after many years of faults."""
    if isinstance(told, dict):
        return {name: swollen(value) for name, value in told.items()}
    return LARGE if isinstance(told, int) else told


def room(told: dict) -> int:
    body = json.dumps(swollen(told), separators=(",", ":"))
    return BODY_MAX - len(body) - body.count("}")


def test_a_pico_tells_what_its_sources_count() -> None:
    app = make(Guarded(0))
    adc, entries = AdcBench().source, EntryBench().source
    app._sources.update({"adc": adc, "accelerometer": entries})
    app._link.join(Device(sectors=6).history)
    adc.laps, adc.fifo_overruns, adc.slips, adc.silences, adc.torn = 1, 2, 3, 4, 5
    entries.faults, entries.resyncs = 6, 7
    told = ask(app)
    counted = {name: told["adc"][name] for name in told["adc"] if told["adc"][name]}
    assert counted == {
        "laps": 1, "fifo_overruns": 2, "slips": 3, "silences": 4, "torn": 5, "rate_hz": adc.rate_hz
    }  # fmt: skip
    assert (told["accelerometer"]["faults"], told["accelerometer"]["resyncs"]) == (6, 7)
    assert told["flash_erases"] >= 0
    assert room(told) > 0


def test_what_a_fifo_emptied_by_the_cpu_loses_is_told() -> None:
    source, chip, clock, _spi = fifo_bench()
    source.start(clock.now_us)
    clock.pass_us(100000)
    for _ in range(200):
        source.take(clock.now_us)
        clock.pass_us(500)
    app = make(Guarded(0))
    app._sources["accelerometer"] = source
    source.faults, source.clock.slips = 6, 7
    told = ask(app)["accelerometer"]
    assert told["lost_frames"] == chip.lost > 0
    assert (told["overruns"], told["faults"], told["slips"]) == (source.overruns, 6, 7)
    assert source.overruns > 0
    assert abs(told["rate_hz"] - 3200) < 10


class Esp32(Hal):
    """The hand-held HAL with the report of a real one."""

    def __init__(self) -> None:
        Hal.__init__(self, 0)
        self.world = fake_esp32.new_world(sine)
        config = make_config()
        self.real = HAL.Hal(config)
        self.real_sources = self.real.sources(config)
        self.report = self.real.report
        self.console = self.real.console


def test_an_esp32_tells_cost_rate_and_jitter() -> None:
    hal = Esp32()
    app = make(hal)
    app._sources = hal.real_sources
    source = app._sources["adc"]
    source.start(hal.world.us)
    for _ in range(20):
        hal.world.run(7000)
        hal.world.spend(3000)
        while source.take(hal.world.us) is not None:
            pass
    told = ask(app)
    assert told["adc"]["missed_slots"] > 20
    assert told["adc"]["achieved_hz"] < 1000
    assert told["adc"]["lost_frames"] == source.lost_frames
    assert told["flash"]["writes"] == 1  # the ADC's line
    assert told["adc_line"]["origin"]
    assert told["inputs"] == {"edges_lost": 0}
    told["accelerometer"] = dict.fromkeys(("overruns", "lost_frames", "slips", "faults"), 0)
    assert room(told) > 0
