"""The composition root with a HAL that is held by hand: the watchdog, and what `status` tells."""

import asyncio
import gc
import sys

from clampdevice import app as app_module
from clampdevice import start
from clampdevice.app import App
from clampdevice.board import check
from clampdevice.spool import Spool

CONFIG = {
    "board": "pico",
    "chip": "rp2040",
    "name": "lathe",
    "id": "lathe",
    "spool": {"ram_bytes": 2048, "ram_items": 16},
    "sources": {"inputs": {"pins": [15]}},
    "channels": [{"key": "input1", "quantity": "input", "index": 0}],
}
TURN_MS = 50
WATCHDOG_AFTER_MS = 10000


class Stopped(Exception):
    """The test has seen enough."""


class Watchdog:
    def __init__(self, hal) -> None:
        self._hal = hal
        self.running = False
        self.calls: list = []

    def start(self) -> None:
        assert not self.running
        self.running = True
        self.calls.append(("start", self._hal.now_ms))

    def feed(self) -> None:
        assert self.running
        self.calls.append(("feed", self._hal.now_ms))

    def stop(self) -> None:
        self.running = False
        self.calls.append(("stop", self._hal.now_ms))


class Inputs:
    def __init__(self) -> None:
        self.edges_lost = 7

    def start(self, now_us: int) -> None:
        pass

    def level(self, index: int) -> int:
        return 0

    def take(self, now_us: int) -> None:
        return None


class Console:
    """Nobody is there. `read` is called once a turn of the link's task; time passes by it."""

    def __init__(self, hal) -> None:
        self._hal = hal
        self.overruns = 3

    def read(self) -> bytes:
        self._hal.turn()
        return b""

    def write(self, view) -> int:
        return 0


class Hal:
    chip = "sim"
    runtime = "none"
    reset_cause = 1

    def __init__(self, until_ms: int, ends: type = Stopped) -> None:
        self.now_ms = 0
        self.until_ms = until_ms
        self.ends = ends
        self.at: dict = {}
        self.closed = 0
        self.slots = [b"", b""]
        self.console = Console(self)

    def turn(self) -> None:
        self.now_ms += TURN_MS
        if self.now_ms in self.at:
            self.at[self.now_ms]()
        if self.now_ms >= self.until_ms:
            raise self.ends()

    def ticks_us(self) -> int:
        return 1000 * self.now_ms

    def sources(self, config: dict) -> dict:
        return {"inputs": Inputs()}

    def read_slot(self, slot: int) -> bytes:
        return self.slots[slot]

    def write_slot(self, slot: int, data: bytes) -> None:
        self.slots[slot] = data

    def unique_id(self) -> str:
        return "ab"

    def nonce(self) -> int:
        return 5

    def set_led(self, on: bool) -> None:
        pass

    def heap_free(self) -> int:
        return 1000

    def begin(self, device: str, start_us: int, describes: list) -> None:
        pass

    def made(self, payload) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


class Guarded(Hal):
    def __init__(self, until_ms: int, ends: type = Stopped) -> None:
        Hal.__init__(self, until_ms, ends)
        self.watchdog = Watchdog(self)

    def close(self) -> None:
        Hal.close(self)
        self.watchdog.stop()


class Telling(Hal):
    def report(self) -> dict:
        return {"flash": {"writes": 3}, "accelerometer": {"jitter_us": 9.5}, "torn": 6}


def make(hal: Hal) -> App:
    app_module.POLL_S = 0
    app = App(check(CONFIG), hal, Spool(2048, 16))
    app._measure.turn_s = 0
    return app


def forget() -> None:
    """Nothing of one run lives on in the next: tasks, and complaints that they were ended."""
    if sys.implementation.name == "micropython":
        asyncio.new_event_loop()  # there tasks outlive `run`
    gc.collect()


def run(app: App) -> None:
    try:
        asyncio.run(app.run())
    except Stopped:
        return
    finally:
        forget()
    raise AssertionError("ended by itself")


def test_the_watchdog_is_started_late_and_fed_once_a_window_without_any_gateway():
    hal = Guarded(60000)
    run(make(hal))
    calls = hal.watchdog.calls
    assert calls[0][0] == "start" and 0 <= calls[0][1] - WATCHDOG_AFTER_MS <= 300, calls[0]
    assert [name for name, _ms in calls[1:]] == ["feed"] * (len(calls) - 1)
    steps = [calls[i + 1][1] - calls[i][1] for i in range(len(calls) - 1)]
    assert 200 <= max(steps) <= 300 and len(calls) >= 245, (max(steps), len(calls))


def test_no_window_no_food():
    hal = Guarded(40000)
    app = make(hal)

    def hang() -> None:
        app._measure.poll = lambda now_us: 0

    hal.at[20000] = hang
    run(app)
    assert 19700 <= hal.watchdog.calls[-1][1] <= 20200, hal.watchdog.calls[-1]
    assert hal.watchdog.running


def test_a_board_that_never_makes_a_window_is_not_reset_for_ever():
    hal = Guarded(30000)
    app = make(hal)
    app._measure.poll = lambda now_us: 0
    run(app)
    assert hal.watchdog.calls == []


def test_without_the_links_task_no_food():
    hal = Guarded(30000)
    app = make(hal)
    poll = app._measure.poll

    async def talk() -> None:
        await asyncio.sleep(1000)

    def passing(now_us: int) -> int:
        hal.turn()
        return poll(now_us)

    app._talk = talk
    app._measure.poll = passing
    run(app)
    assert app._measure.window_end_us > 29000000
    assert hal.watchdog.calls == []


def test_a_hal_without_a_watchdog_runs_as_ever():
    hal = Hal(15000)
    app = make(hal)
    run(app)
    assert app._measure.window_end_us > 14000000


def test_ctrl_c_stops_it():
    hal = Guarded(15000, KeyboardInterrupt)
    old = start._read_board, start._make_app, start.open_hal
    start._read_board = lambda: check(CONFIG)
    start._make_app = lambda config, hal: make(hal)
    start.open_hal = lambda config: hal
    try:
        start.main()
    finally:
        start._read_board, start._make_app, start.open_hal = old
        forget()
    assert hal.closed == 1
    assert hal.watchdog.calls[-1] == ("stop", 15000)
    assert not hal.watchdog.running
    assert [name for name, _ms in hal.watchdog.calls].count("start") == 1


class Counting:
    """Something with a count."""

    def __init__(self, name: str, value: int) -> None:
        setattr(self, name, value)


class Source:
    """What an accelerometer's source has."""

    def __init__(self) -> None:
        self.rate_hz = 3205.123456
        self.overruns = 1
        self.lost_frames = 40
        self.faults = 2
        self.slots = 4
        self.clock = Counting("slips", 4)
        self.driver = Counting("strangers", 5)


def test_status_tells_what_sources_console_and_hal_count():
    hal = Guarded(0)
    app = make(hal)
    answer = app._lent("status")({})
    assert answer["inputs"] == {"edges_lost": 7}
    assert answer["console"] == {"overruns": 3}
    assert answer["heap_free"] == 1000
    assert "flash" not in answer
    app = make(Telling(0))
    app._sources["accelerometer"] = Source()
    answer = app._lent("status")({})
    assert answer["accelerometer"] == {
        "overruns": 1, "lost_frames": 40, "faults": 2, "slips": 4, "strangers": 5,
        "rate_hz": 3205.12, "jitter_us": 9.5,
    }  # fmt: skip
    assert answer["flash"] == {"writes": 3}
    assert answer["torn"] == 6
