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


def files() -> dict[str, bytes]:
    needed = tuple(f"clampdevice/{part}" for part in ("__init__", "hal/__init__", "hal/rp2/"))
    return {
        name: content
        for name, content in firmware.device_files().items()
        if name.startswith(needed)
    }


def test_no_stall_of_the_core_costs_a_pulse(emulated: Callable, measured: Callable) -> None:
    async def run() -> None:
        async with emulated(files()) as pico:
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
            fast.running = slow.running = False
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
