"""The signal chain in one object: sources to records, events and overruns.

Owns the order of things: takes blocks from every source, closes the windows of all channels at
one moment, joins five windows to a record, watches the inputs and the machine's state. Bytes and
spool are the app's, which hangs its functions on `on_record`, `on_event` and `on_overrun`.

A channel object has `config`, `key`, `source_name` (None without blocks), `describe()`,
`record()`; one that feeds on blocks also `add(buf, first, n)`, `close(gap)`, `level`,
`window_features()`. A fault of one source marks its channels and stops no other.
"""

from clampdevice.analog import AnalogChannel
from clampdevice.borrow import Borrowed
from clampdevice.channels import Temperature, make_channel
from clampdevice.current import CurrentChannel
from clampdevice.sampler import Sampler
from clampdevice.status import InputChannel, has_lamps
from clampwire import messages
from clampwire.values import BAD

WINDOW_US = 1000 * messages.WINDOW_MS
WINDOWS_PER_RECORD = 5
LEARN_FLOOR_S = 10
# A source that is this late with a window is left behind. All sources are emptied before anyone
# is judged, so a stall of the whole device makes no source late.
GRACE_US = 250000
# From one poll to the next: for sources that do not say how long they can wait, and at most.
TURN_MS = 10
TURN_MOST_MS = 60

STATE = messages.code_of(messages.EVENT_KINDS, "state")
INPUT = messages.code_of(messages.EVENT_KINDS, "input")
FAULT = messages.code_of(messages.EVENT_KINDS, "fault")
FAULT_CLEARED = messages.code_of(messages.EVENT_KINDS, "fault_cleared")
OFF = messages.code_of(messages.MACHINE_STATES, "off")


class Measurement:
    """Everything from the sources to the sinks; a pure function of the sources and the clock.

    Args:
        config: the checked content of board.json.
        sources: block sources by name, "adc" and "accelerometer", and "inputs", the source of
            edges; see `clampdevice.hal`.
        kernels: `clampdevice.kernels` unless a test brings another.
        files: where counters are kept, see `counters.Counters`; None keeps nothing.
        lut: the ADC's table by `linear.table_for(config)`; made here if it is not given.

    Attributes:
        channels: the channels in the order of board.json.
        status: the machine's state, see `judges.Status`; to be kept by the app. None without.
        on_record(end_ms, windows, flags, values): once a second; a list of flags, one a channel,
            and all values in the order of the channels and their features, None where missing.
        on_event(at_ms, channel, kind, value, text): a debounced edge, a change of the machine's
            state, a fault; `channel` an index or messages.NO_CHANNEL.
        on_overrun(at_ms, channel, from_ms, to_ms, samples): samples of a channel were lost.
        on_window(channel, end_us, features): every window, where anybody asks; None as a rule.
        on_described(channel): what a channel says of itself has changed: a floor was learned.
        counters: see `counters.Counters`, to be kept by the app; None if nobody counts.
        overruns, lost_samples, faults: for Status; samples are counted a channel.
        temperature_c: of the chip, from the ADC's own slot; NaN without.
        turn_s: how often `poll` should be called.
    """

    def __init__(
        self, config: dict, sources: dict, kernels=None, on_record=None, on_event=None,
        on_overrun=None, on_window=None, files=None, on_described=None, lut=None,
    ) -> None:  # fmt: skip
        if kernels is None:
            from clampdevice import kernels
        self.on_record = on_record
        self.on_event = on_event
        self.on_overrun = on_overrun
        self.on_window = on_window
        self.on_described = on_described
        self.overruns = self.lost_samples = self.faults = 0
        self.temperature_c = float("nan")
        if lut is None and config["sources"].get("adc", {}).get("linearise", "none") != "none":
            from clampdevice import linear

            lut = linear.table_for(config)
        self._lut = lut
        self.channels = tuple(
            make_channel(part, config, sources, kernels, self._lut) for part in config["channels"]
        )
        self.counters = None
        self._join(files)
        turns = [getattr(source, "turn_ms", TURN_MS) for source in sources.values()]
        self.turn_s = min(turns + [TURN_MOST_MS]) / 1000
        self._inputs = sources.get("inputs")
        self._input_channels = [
            (index, channel)
            for index, channel in enumerate(self.channels)
            if isinstance(channel, InputChannel)
        ]
        self._samplers: list = []  # (Sampler, [(index, channel) fed by it])
        self._temperature = None
        for name in ("adc", "accelerometer"):
            if name in sources:
                self._add_sampler(name, config["sources"][name], sources[name], kernels)
        self.status = None
        if config.get("state") or has_lamps(self.channels):
            from clampdevice.judges import Status

            self.status = Status(config.get("state"), self.channels, files)
        self._state = self.status.machine if self.status else None
        self._held_edge = None
        self._off_records = 0
        self._floors = [
            (index, channel)
            for index, channel in enumerate(self.channels)
            if isinstance(channel, AnalogChannel) and channel.config.get("learn_floor")
        ]
        self._end_us = 0
        self._windows = 0
        self._frames = False  # whether any source gave a frame to this record

    def _join(self, files) -> None:
        """Currents find their voltage, and those that count their counter."""
        for channel in self.channels:
            if not isinstance(channel, CurrentChannel):
                continue
            channel.join(self.channels)
            if channel.counts:
                if self.counters is None:
                    from clampdevice.counters import Counters

                    self.counters = Counters(files)
                channel.count_with(self.counters.counter(channel.key))

    def _add_sampler(self, name: str, config: dict, source, kernels) -> None:
        fed = [pair for pair in enumerate(self.channels) if pair[1].source_name == name]
        if not fed:
            return
        # A voltage before the currents that take its samples and its window.
        voltages = [pair for pair in fed if pair[1].quantity == "voltage"]
        fed = voltages + [pair for pair in fed if pair not in voltages]
        consumers: list = [channel for _index, channel in fed]
        if config.get("temperature_slot") is not None:
            self._temperature = Temperature(config, kernels, self._lut)
            consumers.append(self._temperature)
        self._samplers.append((Sampler(name, source, consumers, WINDOW_US), fed))

    @property
    def window_end_us(self) -> int:
        """Device time at which the window being filled ends."""
        return self._end_us

    def start(self, now_us: int) -> None:
        """Starts the sources; windows end at now_us + k * 200 ms, records at + k * 1 s."""
        self._end_us = now_us + WINDOW_US
        for sampler, _fed in self._samplers:
            sampler.start(now_us)
        if self._inputs is not None:
            self._inputs.start(now_us)
            for _index, channel in self._input_channels:
                channel.start(self._inputs.level(channel.config["index"]))
                channel.count_by(getattr(self._inputs, "pulses", None))

    def poll(self, now_us: int) -> int:
        """Does what there is to do, at most to the end of one window. 0 if there was nothing.

        Returns the number of blocks handled, edges taken and windows closed; more may wait.
        """
        done = self._poll_inputs(now_us)
        moved = True
        while moved:
            moved = False
            for sampler, fed in self._samplers:
                was_silent = sampler.silent
                try:
                    stepped = sampler.step(now_us)
                except OSError as error:
                    self._silent(sampler, fed, str(error), now_us)
                    continue
                if was_silent or sampler.lost is not None:
                    self._tell_step(sampler, fed, now_us, was_silent)
                if stepped:
                    moved = True
                    done += 1
        if now_us < self._end_us:
            return done
        for sampler, fed in self._samplers:
            if not sampler.ready:
                if now_us - self._end_us < GRACE_US:
                    return done
                self._silent(sampler, fed, "no samples for the window", now_us)
        self._close_window()
        return done + 1

    def due(self, now_us: int) -> bool:
        """Whether the present window has ended: after a `poll` that did something, more waits."""
        return now_us >= self._end_us

    def drain(self, clock) -> None:
        """Does all there is to do now, window by window; for those who must not be behind."""
        while self.poll(clock.now_us()) and self.due(clock.now_us()):
            pass

    def _tell_step(self, sampler: Sampler, fed: list, now_us: int, was_silent: bool) -> None:
        if sampler.lost is not None:
            from_us, to_us, frames = sampler.lost
            sampler.lost = None
            self._lost(fed, from_us, to_us, frames)
        if was_silent and not sampler.silent:
            for index, _channel in fed:
                self._tell(now_us, index, FAULT_CLEARED, 0, sampler.name + ": samples again")

    def _silent(self, sampler: Sampler, fed: list, text: str, now_us: int) -> None:
        if not sampler.silent:
            self.faults += 1
            for index, _channel in fed:
                self._tell(now_us, index, FAULT, 0, sampler.name + ": " + text)
        sampler.give_up()

    def _lost(self, fed: list, from_us: int, to_us: int, frames: int) -> None:
        self.overruns += 1
        for index, _channel in fed:
            self.lost_samples += frames  # an accelerometer's frame is one sample of its channel
            if self.on_overrun is not None:
                to_ms = to_us // 1000
                self.on_overrun(to_ms, index, from_us // 1000, to_ms, frames)

    def _tell(self, at_us: int, channel: int, kind: int, value: int, text: str) -> None:
        if self.on_event is not None:
            self.on_event(at_us // 1000, channel, kind, value, text)

    def _poll_inputs(self, now_us: int) -> int:
        if self._inputs is None:
            return 0
        done = 0
        while True:
            edge, self._held_edge = self._held_edge, None
            if edge is None:
                edge = self._inputs.take(now_us)
            if edge is not None and edge[2] > self._end_us:
                # It belongs to the next window: a count is exact at its record's end.
                self._held_edge = edge
                edge = None
            at_us = min(now_us, self._end_us) if edge is None else edge[2]
            # An edge must find its channel as it stood just before it.
            for index, channel in self._input_channels:
                since_us = channel.settled(at_us)
                if since_us is not None and channel.tells:
                    self._tell(since_us, index, INPUT, channel.state or 0, channel.key)
            if edge is None:
                return done
            done += 1
            for _index, channel in self._input_channels:
                if channel.config["index"] == edge[0]:
                    channel.edge(edge[1], at_us)

    def _close_window(self) -> None:
        end_us = self._end_us
        for sampler, fed in self._samplers:
            for index, channel in fed:
                channel.close(sampler.gap)
                self._frames = self._frames or channel.level is not None
                if self.on_window is not None:
                    self.on_window(index, end_us, channel.window_features())
        if self.status is not None:
            change = self.status.window(end_us - WINDOW_US, end_us)
            if change is not None:
                at_us, state, text = change
                self._tell(at_us, messages.NO_CHANNEL, STATE, state, text)
        self._windows += 1
        if self._windows == WINDOWS_PER_RECORD:
            self._close_record(end_us)
        for sampler, _fed in self._samplers:
            sampler.next_window()
        self._end_us = end_us + WINDOW_US

    def _close_record(self, end_us: int) -> None:
        """Tells the record, unless a stall of the device took all of it: then a gap says so."""
        self._windows = 0
        silent: list = []
        for sampler, fed in self._samplers:
            if sampler.silent:
                silent += [index for index, _channel in fed]
        told = self._frames or silent or not self._samplers
        self._frames = False
        if self._temperature is not None:
            self.temperature_c = self._temperature.take_c()
        flags = []
        values = []
        for index, channel in enumerate(self.channels):
            if isinstance(channel, InputChannel):
                own, numbers = channel.record(end_us)
            else:
                own, numbers = channel.record()
            flags.append(own | BAD if index in silent else own)
            values += numbers
        if told and self.on_record is not None:
            self.on_record(end_us // 1000, WINDOWS_PER_RECORD, flags, values)
        for index, channel in enumerate(self.channels):
            if isinstance(channel, AnalogChannel):
                for value, begins, text in channel.take_changes():
                    self.faults += begins
                    self._tell(end_us, index, FAULT if begins else FAULT_CLEARED, value, text)
        self._learn_floors()

    def _learn_floors(self) -> None:
        """Takes the noise of a machine that has been off for a while, where board.json says so."""
        if not self._floors or self._state is None or self._state.state != OFF:
            self._off_records = 0
            return
        self._off_records += 1
        if self._off_records % LEARN_FLOOR_S:
            return
        with Borrowed():
            from clampdevice.floor import learn

            for index in learn(self._floors):
                if self.on_described is not None:
                    self.on_described(index)
