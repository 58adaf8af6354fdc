"""Pulses of 1 kHz that bounce, counted by the real firmware on the emulated Pico through PIO1.

Truth is the signal below, which counts its pulses; the core stands still for the flash meanwhile.
"""

import asyncio
from collections.abc import Callable, Iterator

import firmware
import pio
import pytest
from emulator import Pico
from flashtimes import TYPICAL_MS, WORST_MS

pytestmark = pytest.mark.timeout(1800)

COUNTED, WATCHED = 15, 14  # GPIOs; 1 is low
FILTER_US = 100  # the firmware's own
SPARE = 1024 * 1024
START = f"""
import gc, rp2, sys, time, machine
from clampdevice.hal.rp2.inputs import Inputs
counted = {{"key": "c", "index": 0, "features": ["count"]}}
watched = {{"key": "w", "index": 1, "features": ["state", "count"], "debounce_ms": 1}}
def make(*parts):
    return Inputs({{"pins": [{COUNTED}, {WATCHED}]}}, parts, machine.Pin, time.ticks_us, rp2)
make({{"index": 0}})
assert "clampdevice.hal.rp2.pulses" not in sys.modules
gc.collect(); free = gc.mem_free()
inputs = make(counted, watched)
gc.collect(); taken = free - gc.mem_free()
rises = 0
reads = 0
def turn(ms):
    global rises, reads
    end = time.ticks_add(time.ticks_ms(), ms)
    last = inputs.pulses(0)
    while time.ticks_diff(end, time.ticks_ms()) > 0:
        now = inputs.pulses(0)
        assert last <= now <= last + 5, (last, now)
        last = now
        reads += 1
        while True:
            edge = inputs.take(0)
            if edge is None:
                break
            rises += edge[1]
def tell():
    print(inputs.pulses(0), inputs.pulses(1), rises, inputs.edges_lost, reads,
        inputs.soft_counts, inputs.count_faults, taken)
flash = rp2.Flash(start={SPARE}, len=65536)
page = bytearray(256)
"""
# The whole way from board.json to records, of a board with nothing but this input.
CHAIN = f"""
import json, time
from clampdevice import board
from clampdevice.hal.rp2.hal import Hal
from clampdevice.measure import Measurement
import rp2
config = board.check({{"board": "b", "chip": "rp2040", "name": "b",
    "sources": {{"inputs": {{"pins": [{COUNTED}]}}}},
    "channels": [{{"key": "c", "quantity": "input", "index": 0, "features": ["count"]}}]}})
hal = Hal(config)
records = []
measure = Measurement(config, hal.sources(config))
def now_us():
    return time.ticks_diff(time.ticks_us(), began)
measure.on_record = lambda end_ms, n, flags, values: records.append(
    (end_ms, now_us() // 1000 - end_ms, flags[0], values[0]))
flash = rp2.Flash(start={SPARE}, len=65536)
def run(until_ms):
    while now_us() < 1000 * until_ms:
        if not measure.poll(now_us()):
            time.sleep_ms(20)
"""
FULL = """
inputs.close()
@rp2.asm_pio()
def filler():
    for _ in range(22):
        nop()
rp2.PIO(1).add_program(filler)
inputs = make(counted)
print(inputs.soft_counts, inputs.pulses(0))
"""


class Signal:
    """Pulses at a GPIO, in emulated time; each edge comes with bounces.

    Attributes:
        pulses: those begun.
    """

    def __init__(self, pico: Pico, gpio: int, half_us: float, bounces_us: tuple) -> None:
        self._gpio = pico.mcu.gpio[gpio]
        self._half_us, self._bounces_us = half_us, bounces_us
        self._alarm = pico.mcu.clock.create_alarm(self._step)
        self._clock = pico.mcu.clock
        self._due_ns = 0.0
        self._levels = self._run()
        self.running = False
        self.pulses = 0
        self._gpio.set_input_value(True)

    def start(self) -> None:
        self.running = True
        self._due_ns = self._clock.nanos
        self._step()

    def stop(self) -> None:
        """The pulse that is on is the last."""
        self.running = False

    def _run(self) -> Iterator[float]:
        """Sets levels; yields how long each stands, in us. Ends behind a whole pulse."""
        while self.running:
            self.pulses += 1
            for high in (False, True):
                left_us = self._half_us
                for us in self._bounces_us:
                    for level in (high, not high):
                        self._gpio.set_input_value(level)
                        yield us
                    left_us -= 2 * us
                self._gpio.set_input_value(high)
                yield left_us

    def _step(self) -> None:
        stands_us = next(self._levels, None)
        if stands_us is not None:
            self._due_ns += 1000 * stands_us
            self._alarm.schedule(max(0.0, self._due_ns - self._clock.nanos))


def test_no_stall_of_the_core_costs_a_pulse(emulated: Callable, measured: Callable) -> None:
    async def run() -> None:
        async with emulated(firmware.device_files()) as pico:
            pio.install(pico.mcu, 1)
            fast = Signal(pico, COUNTED, 500, (3, 20, 61, FILTER_US - 1, 7))
            slow = Signal(pico, WATCHED, 10_000, ())
            await pico.run(START + "inputs.start(0)")
            fast.start()
            slow.start()
            await pico.run("turn(200)\nfor _ in range(3):\n    gc.collect()")
            quiet = [int(word) for word in (await pico.run("tell()")).split()]
            pico.flash.clear()
            for times_ms, n in ((TYPICAL_MS, 3), (WORST_MS, 2)):
                pico.flash.set(times_ms)
                await pico.run(
                    f"for i in range({n}):\n    turn(30)\n    flash.ioctl(6, i)\n    turn(30)\n"
                    "    flash.writeblocks(i, page, 0)"
                )
            stalled_ms = pico.flash.stalled_ms
            assert pico.flash.sectors == 5
            fast.stop()
            slow.stop()
            told = [int(word) for word in (await pico.run("turn(30)\ntell()")).split()]
            assert told[:2] == [fast.pulses, slow.pulses]
            assert fast.pulses > stalled_ms > 900
            assert told[2] < slow.pulses  # by interrupt they are lost
            assert told[5:7] == [0, 0]
            assert quiet[4] > 100
            measured(
                f"1 kHz with bounces up to {FILTER_US - 1} us: {fast.pulses} of {fast.pulses} "
                f"pulses counted, core stalled for {stalled_ms:.0f} ms; 50 Hz beside it: "
                f"{slow.pulses} of {slow.pulses}, by interrupts {told[2]} and {told[3]} edges "
                f"told as lost; read {told[4]} times meanwhile; heap {told[7]} bytes"
            )
            assert (await pico.run(FULL)).split() == ["1", "None"]

    asyncio.run(run())


def test_records_of_a_board_that_counts(emulated: Callable, measured: Callable) -> None:
    async def run() -> None:
        async with emulated(firmware.device_files()) as pico:
            counter = pio.install(pico.mcu, 1).machines[0]
            signal = Signal(pico, COUNTED, 500, (99, 3))
            pico.flash.set(WORST_MS)
            await pico.run(CHAIN)

            def begin() -> None:
                if counter.enabled:
                    signal.start()
                    pico.at(2_600_000, signal.stop)
                else:
                    pico.at(1000, begin)

            pico.at(1000, begin)
            # Erased over the end of the second record.
            lines = await pico.run(
                "began = time.ticks_us()\nmeasure.start(0)\n"
                "run(1900)\nflash.ioctl(6, 0)\nrun(3100)\n"
                "for r in records:\n    print(*r)\n"
                "measure.start(now_us())\nprint(measure.channels[0].record(now_us())[1][0])\n"
                "hal.close()"
            )
            records = [[int(word) for word in line.split()] for line in lines.splitlines()[:-1]]
            assert [record[0] for record in records] == [1000, 2000, 3000]
            assert not any(record[2] for record in records)
            late_ms = [record[1] for record in records]
            counts = [record[3] for record in records]
            assert late_ms[1] > 250  # the erase
            assert counts[2] == signal.pulses
            assert int(lines.split()[-1]) == signal.pulses  # also over a restart
            # 1 kHz, so that the pulses between two counts are the ms between their moments.
            assert abs(counts[1] - counts[0] - (1000 + late_ms[1] - late_ms[0])) <= 3
            measured(f"records of 1 kHz: counts {counts}, read {late_ms} ms after their ends")

    asyncio.run(run())
