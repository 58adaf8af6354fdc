"""The firmware's composition root: makes the parts, joins them, and runs the two tasks.

Sampling turns blocks into items of the spool; the link carries them. Neither waits for the other:
a gateway that is gone, or a host that does not read, costs the sampler nothing.
"""

import asyncio
import gc

from clampdevice.analog import AnalogChannel
from clampdevice.bootcount import BootCount
from clampdevice.borrow import Borrowed, fill_holes
from clampdevice.calibration import CalibrationStore
from clampdevice.clock import TICKS_PERIOD, Clock
from clampdevice.commands import Commands, seconds_of
from clampdevice.files import Files
from clampdevice.kernels import stuff
from clampdevice.layers import Layers
from clampdevice.link import Identity, Link, layout_of
from clampdevice.measure import Measurement
from clampdevice.spool import Loss, Spool
from clampwire import messages
from clampwire.codec import Codec
from clampwire.values import pack_flags, pack_values
from clampwire.version import __version__

OVERRUN = messages.code_of(messages.GAP_REASONS, "overrun")
STARTED = messages.code_of(messages.EVENT_KINDS, "started")
FAULT = messages.code_of(messages.EVENT_KINDS, "fault")
_IDENTIFY_S = 5
_IDENTIFY_MOST_S = 600
POLL_S = 0.02  # from one look at the line to the next; twice that while nothing is said
# A start may take long, and a board that cannot run is not to be reset for ever.
_WATCHDOG_AFTER_MS = 10000
_HEAP_EVERY_S = 5  # counting what is free takes a hundredth of a chip's second
# Commands of `service.py` and `reports.py`
SERVICE = ("calibrate", "calibration", "measure_floor", "counters", "uncertainty")
REPORTS = ("status", "why", "relearn")


class App:
    """One power-up of a device: `config` is the checked content of board.json, `spool` empty.

    `lut` is the ADC's table, see `linear.table_for`; None where it has none. `problem`: why it is
    not of the chip's own curve, "" if all is well.
    """

    def __init__(self, config: dict, hal, spool: Spool, lut=None, problem: str = "") -> None:
        self._hal = hal
        self._lut = lut
        self._problem = problem
        self._refiner = None  # while it counts
        self._clock = Clock(hal.ticks_us)
        self._codec = Codec()
        self._boots = BootCount(hal)
        self._spool = spool
        self._files = files = Files()
        sources = hal.sources(config)
        measure = Measurement(config, sources, files=files, lut=lut)
        self._sources = sources
        measure.on_record = self._record
        measure.on_event = self._event
        measure.on_overrun = self._overrun
        measure.on_described = self._floor_learned
        self._measure = measure
        calibrations = CalibrationStore(files)
        for channel in measure.channels:
            if isinstance(channel, AnalogChannel):
                channel.calibrate(calibrations.get(channel.key))
        describes = self._describes()
        device = config.get("id") or hal.unique_id()
        identity = Identity(
            device, config["name"], config["board"], __version__, hal.runtime, hal.reset_cause
        )
        self._link = Link(
            self._codec,
            self._spool,
            self._clock,
            identity,
            describes,
            self._commands(),
            self,
            hal.nonce(),
            stuff,
        )
        self._layers = layers = Layers(config["spool"], hal)
        boot = max(self._boots.value, layers.highest_boot) + 1
        self._link.boot = self._boots.raise_to(boot)
        layers.open(spool, describes, boot)
        self._link.join(layers.history)
        self._layout = layout_of(self._link.describe_crc)
        self._layouts = {self._layout: self._link.describe_crc}
        self._identify_until_ms = 0
        self._made_s = 0  # device time of a record after which the loop has not paused yet
        self._lag_ms = 0
        self._holes: object = None
        self._heap_free = hal.heap_free()  # from here on after a record, when it is clean
        self._device = device
        self._curve = config["sources"].get("adc", {}).get("linearise", "none")

    def _commands(self) -> Commands:
        return Commands(
            (
                ("identify", self._identify),
                ("describe", lambda args: {}),
                ("hello", lambda args: {}),
                ("time", self._time),
                ("refine", self._refine),
            )
            + tuple((name, self._lent(name)) for name in SERVICE + REPORTS)
        )

    def _lent(self, name: str):  # noqa: ANN202 - a function
        """A command whose code is loaded for it, and leaves the heap after it."""

        def command(args: dict) -> dict:
            measure, clock = self._measure, self._clock
            with Borrowed():
                if name in REPORTS:
                    from clampdevice.reports import Reports

                    made = Reports(
                        measure, self._link, self._spool, clock, self._heap_free, self._hal,
                        self._sources,
                    )  # fmt: skip
                else:
                    from clampdevice.service import Service

                    store, changed = CalibrationStore(self._files), self._describe_again
                    made = Service(measure.channels, measure.counters, store, clock, changed)
                return getattr(made, name)(args)

        return command

    def _refine(self, args: dict) -> dict:
        """The command of `refine.py`, which stays loaded for as long as it counts."""
        refiner, self._refiner = self._refiner, None
        with Borrowed():
            if refiner is None:
                from clampdevice.refine import Refiner

                measure, device = self._measure, self._hal.unique_id()
                refiner = Refiner(
                    measure.channels, self._lut, self._curve, device, self._files, self._clock
                )
            try:
                return refiner.run(args)
            finally:
                if refiner.busy:
                    self._refiner = refiner

    def _describes(self) -> list:
        """Describe's fields of all channels, by which values are packed from now on."""
        describes = [channel.describe() for channel in self._measure.channels]
        self._value_layout = tuple(
            (code, mult, exp)
            for fields in describes
            for _key, _unit, code, mult, exp in fields[-1]
        )
        return describes

    def _describe_again(self) -> bool:
        """False if records of an earlier description in this power-up have the same layout."""
        self._link.describe_again(self._describes())
        crc = self._link.describe_crc
        self._layout = layout_of(crc)
        return self._layouts.setdefault(self._layout, crc) == crc

    def _floor_learned(self, _channel: int) -> None:
        # Values keep their scale: records that share a layout number are still read right.
        self._describe_again()

    def choose_boot(self, highest: int) -> int:
        """The boot number of this power-up, above all that the gateway has seen."""
        if highest >= self._link.boot:
            return self._boots.raise_to(max(highest, self._boots.value) + 1)
        return self._link.boot

    def confirmed(self) -> None:
        """What was made before the boot number was final has its name now."""
        for offset in range(len(self._spool)):
            self._hal.made(self._spool.payload((self._spool.oldest_seq + offset) & 0xFFFFFFFF))

    def told(self, payload) -> None:
        """A Gap, which the link makes by itself."""
        self._hal.made(payload)

    def _keep(self, name: str, *fields: object) -> None:
        """Put an item into the spool and on its way."""
        payload = self._codec.encode(name, self._link.boot, self._spool.next_seq, *fields)
        if self._link.confirmed:
            self._hal.made(payload)
        self._link.made(self._spool.put(payload))

    def _record(self, end_ms: int, windows: int, flags: list, values: list) -> None:
        data = pack_values(self._value_layout, values)
        self._keep("Record", end_ms, windows, self._layout, pack_flags(flags), data)
        if self._measure.counters is not None:
            self._measure.counters.keep(end_ms)
        if self._measure.status is not None:
            self._measure.status.keep(1000 * end_ms)
        self._made_s = end_ms // 1000

    def _event(self, at_ms: int, channel: int, kind: int, value: int, text: str) -> None:
        self._keep("Event", at_ms, channel, kind, value, text)

    def _overrun(self, at_ms: int, channel: int, from_ms: int, to_ms: int, samples: int) -> None:
        # No record is lost by an overrun, so the range of a Gap is empty: first is above last.
        # Through the spool's list of losses, so that a storm of overruns cannot flood it.
        self._spool.lost(Loss(OVERRUN, channel, 1, 0, (from_ms, to_ms), samples))

    def _identify(self, args: dict) -> dict:
        seconds = seconds_of(args, _IDENTIFY_S, _IDENTIFY_MOST_S)
        self._identify_until_ms = self._clock.now_ms() + int(1000 * seconds)
        return {"seconds": seconds}

    def _time(self, _args: dict) -> dict:
        return {"device_us": self._clock.now_us(), "utc_ms": self._clock.utc_ms()}

    def status(self, link: Link) -> bytes:
        """A Status payload, for the link."""
        spool, measure = self._spool, self._measure
        lag_ms, self._lag_ms = self._lag_ms, 0
        return self._codec.encode(
            "Status",
            self._clock.now_ms() // 1000,
            spool.next_seq,
            spool.oldest_seq,
            len(spool),
            spool.dropped,
            measure.overruns,
            measure.lost_samples & 0xFFFFFFFF,
            measure.faults,
            link.rx_frames,
            link.rx_errors,
            link.tx_frames,
            spool.resent,
            self._heap_free,
            min(lag_ms, 0xFFFF),
            measure.temperature_c,
        )

    async def run(self) -> None:
        """Sample and talk until cancelled."""
        describes = self._link.describe_payloads()
        now_us = self._clock.now_us()
        self._hal.begin(self._device, now_us, describes)
        self._measure.start(now_us)
        now_ms = now_us // 1000
        if self._link.boot > 1:
            self._link.tell(self._layers.cut(), now_ms)
        self._event(now_ms, messages.NO_CHANNEL, STARTED, self._hal.reset_cause, __version__)
        if self._layers.problem:
            self._event(now_ms, messages.NO_CHANNEL, FAULT, 0, self._layers.problem)
        if self._problem:
            self._measure.faults += 1
            self._event(now_ms, messages.NO_CHANNEL, FAULT, 0, self._problem)
        layers = self._layers.run(
            self._clock, self._sources.values(), self._hal.ticks_us, self._measure
        )
        await asyncio.gather(self._sample(), self._talk(), layers)

    async def _sample(self) -> None:
        measure, clock = self._measure, self._clock
        while True:
            handled = measure.poll(clock.now_us())
            if handled and measure.due(clock.now_us()):
                await asyncio.sleep(0)
                continue
            # Not before all is taken: the rest might not wait for a collection.
            if self._made_s:
                if self._holes is None:
                    self._holes = fill_holes()
                gc.collect()
                if not self._made_s % _HEAP_EVERY_S:
                    self._heap_free = self._hal.heap_free()
                self._made_s = 0
            await asyncio.sleep(measure.turn_s)

    def _blinks(self) -> bool:
        """Whether the light that shows which board this is should be on now."""
        now_ms = self._clock.now_ms()
        if now_ms >= self._identify_until_ms:
            self._identify_until_ms = 0
            return False
        return now_ms // 125 % 2 == 0

    async def _talk(self) -> None:
        console, link = self._hal.console, self._link
        view = None
        clock = self._clock
        last = clock.ticks()
        pause_s = POLL_S
        watchdog = getattr(self._hal, "watchdog", None)
        watchdog_ms = clock.now_ms() + _WATCHDOG_AFTER_MS
        seen_us = 0
        while True:
            data = console.read()
            busy = bool(data)
            while data:
                link.receive(data)
                data = console.read()
            while True:
                if not view:
                    view = link.next_frame()
                if not view:
                    break
                busy = True
                count = console.write(view)
                view = view[count:]
                if view:
                    break  # the host reads no faster; go on next time
            ticks = clock.ticks()
            spent_us = ticks - last if ticks >= last else ticks + TICKS_PERIOD - last
            self._lag_ms = max(self._lag_ms, spent_us // 1000 - int(1000 * pause_s))
            last = ticks
            self._hal.set_led(self._identify_until_ms > 0 and self._blinks())
            # Fed if a window was made and this task runs. Whether a gateway answers is no matter:
            # a reset mends nothing of that. All local, since each name costs memory.
            window_us = self._measure.window_end_us
            if watchdog is not None and window_us != seen_us:
                seen_us = window_us
                if watchdog.running:
                    watchdog.feed()
                elif clock.now_ms() >= watchdog_ms:
                    watchdog.start()
            pause_s = POLL_S if busy else 2 * POLL_S
            await asyncio.sleep(pause_s)
