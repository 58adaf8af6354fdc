"""Pulses counted by PIO: with bounces, whatever the CPU does; what is left where there is none."""

from fakes_pio import FakePio

from clampdevice.hal.rp2.inputs import Inputs
from clampdevice.reports import counts
from clampdevice.status import COUNT_WRAP, InputChannel


class Pin:
    """`machine.Pin`, the class and its objects in one."""

    IN, PULL_UP, PULL_DOWN, IRQ_RISING, IRQ_FALLING = 0, 1, 2, 8, 4

    def __init__(self, board, number: int) -> None:
        self.board = board
        self.number = number
        self.handler = None

    def value(self) -> int:
        return self.board.levels[self.number]

    def irq(self, handler, trigger: int = 0, hard: bool = False) -> None:
        assert handler is None or hard
        self.handler = handler


class Board:
    """Pins with levels, PIO1, a clock; `machine.Pin` is `board`."""

    IN, PULL_UP, PULL_DOWN, IRQ_RISING, IRQ_FALLING = 0, 1, 2, 8, 4

    def __init__(self, low: bool, channels: list, pins: tuple = (15,), **pio) -> None:  # noqa: ANN003
        self.rest = 1 if low else 0
        self.levels = dict.fromkeys(pins, self.rest)
        self.pins: dict = {}
        self.pio = FakePio(self.levels, **pio)
        self.us = 0
        self.channels = [InputChannel(part) for part in channels]
        config = {"pins": list(pins), "active_low": low}
        self.inputs = Inputs(config, channels, self, self.ticks_us, self.pio)

    def __call__(self, number: int, mode: int, pull: int) -> Pin:
        assert (mode, pull) == (0, 1 if self.rest else 2)
        return self.pins.setdefault(number, Pin(self, number))

    def ticks_us(self) -> int:
        return self.us

    def start(self) -> None:
        self.inputs.start(0)
        for channel in self.channels:
            channel.start(self.inputs.level(channel.config["index"]))
            channel.count_by(self.inputs.pulses)
        self.pio.run(5)

    def stand(self, level: int, us: int, pin: int = 15) -> None:
        """`level` is 1 for connected, whatever that is at the pin."""
        value = level ^ self.rest
        moved = self.levels[pin] != value
        self.levels[pin] = value
        handler = self.pins[pin].handler
        if moved and handler is not None:
            handler(self.pins[pin])
        self.us += us
        self.pio.run(us)

    def pulse(self, half_us: int = 500, bounces: tuple = (), pin: int = 15) -> None:
        """One pulse; each edge comes with bounces of these lengths."""
        for level in (1, 0):
            left = half_us
            for us in bounces:
                self.stand(level, us, pin)
                self.stand(1 - level, us, pin)
                left -= 2 * us
            self.stand(level, left, pin)

    def counts(self) -> list:
        return [channel.record(0)[1][0] for channel in self.channels]


def counting(index: int = 0, **more) -> dict:  # noqa: ANN003
    part = {"key": "count" + str(index), "index": index, "features": ["count"]}
    part.update(more)
    return part


def test_every_pulse_of_1_khz_and_no_bounce():
    for low in (True, False):
        board = Board(low, [counting()])
        board.start()
        assert board.counts() == [0]
        for pulse in range(60):
            board.pulse(500, (3, 17, 40, 95, 1) if pulse % 3 else ())
            assert board.counts() == [pulse + 1]
        assert board.pins[15].handler is None  # no interrupt costs anything
        assert board.inputs.soft_counts == board.inputs.count_faults == 0


def test_a_level_counts_when_it_has_stood_for_the_filter_s_time():
    for low, filter_ms in ((0, 0), (1, 0.05), (0, 0.1), (1, 0.3), (0, 0.301), (1, 2)):
        filter_us = round(1000 * filter_ms)
        board = Board(bool(low), [counting(debounce_ms=filter_ms)])
        board.start()
        for rest_us in range(filter_us + 6, filter_us + 12):  # all phases of the program
            for us in (filter_us - 1, filter_us // 2):
                if us > 0:
                    board.stand(1, us)
                    board.stand(0, rest_us)
        assert board.counts() == [0]
        for rest_us in range(filter_us + 6, filter_us + 12):
            board.stand(1, filter_us + 5)
            board.stand(0, rest_us)
        assert board.counts() == [6]


def test_a_gap_shorter_than_the_filter_ends_no_pulse():
    for low in (True, False):
        board = Board(low, [counting(debounce_ms=0.2)])
        board.start()
        board.stand(1, 300)
        for us in (1, 60, 150, 195):
            board.stand(0, us)
            board.stand(1, 20)
            board.stand(0, us)
            board.stand(1, 300)
        assert board.counts() == [1]
        board.stand(0, 300)
        board.stand(1, 300)
        assert board.counts() == [2]


def test_what_is_connected_at_the_start_is_no_pulse():
    for low in (True, False):
        board = Board(low, [counting()])
        board.levels[15] ^= 1
        board.start()
        board.stand(1, 1000)
        assert board.counts() == [0]
        board.stand(0, 500)
        board.pulse()
        assert board.counts() == [1]


def test_several_inputs_share_the_program():
    board = Board(True, [counting(i) for i in range(3)], pins=(13, 14, 15))
    board.start()
    for pin, pulses in ((13, 4), (14, 7), (15, 2)):
        for _ in range(pulses):
            board.pulse(300, (), pin)
    assert board.counts() == [4, 7, 2]
    assert len(board.pio.loaded) == 1
    board.inputs.close()
    assert not board.pio.loaded
    assert not any(machine.enabled for machine in board.pio.machines.values())


def test_a_count_goes_on_over_32_bits_and_over_a_restart():
    board = Board(True, [counting()])
    board.start()
    board.pulse()
    assert board.counts() == [1]
    machine = board.pio.machines[4]
    machine.x = 2  # as after 2**32 - 3 pulses
    assert board.counts() == [0xFFFFFFFD]
    for expected in (0xFFFFFFFE, 0, 1, 2, 3):  # the record's value has no 0xFFFFFFFF
        board.pulse()
        assert board.counts() == [expected]
    board.pulse()  # not read before the restart
    board.inputs.start(0)
    board.pio.run(5)
    before = board.inputs.pulses(0)
    assert before == 0xFFFFFFFD + 6 and before % COUNT_WRAP == 4
    board.pulse()
    assert board.inputs.pulses(0) == before + 1


def test_a_machine_that_does_not_answer_is_told_and_the_count_stands():
    board = Board(True, [counting()])
    board.start()
    board.pulse()
    assert board.counts() == [1]
    board.pulse()
    board.pio.machines[4].deaf = True
    assert board.counts() == [1]
    assert board.inputs.count_faults == 1
    board.pio.machines[4].deaf = False
    board.pio.machines[4].rx = [3, 4]  # what came too late is not taken for the answer
    assert board.counts() == [2]
    assert board.inputs.count_faults == 1


def test_without_a_machine_edges_are_counted_and_that_is_told():
    nothing_left: list = [{"taken": (4, 5, 6, 7)}, {"room": 10}]
    for pio in nothing_left:
        board = Board(True, [counting()], **pio)
        told = {"edges_lost": 0, "soft_counts": 1, "count_faults": 0}
        assert counts(board.inputs) == told
        assert board.inputs.pulses(0) is None
        board.start()
        assert board.pins[15].handler is not None
        board.pulse()
        board.pulse()
        channel = board.channels[0]
        while True:
            edge = board.inputs.take(board.us)
            if edge is None:
                break
            channel.settled(edge[2])
            channel.edge(edge[1], edge[2])
        channel.settled(board.us)
        assert board.counts() == [2]
    # A radio has one: three are counted in hardware, the fourth is not.
    pins = (12, 13, 14, 15)
    board = Board(True, [counting(i) for i in range(4)], pins=pins, taken=(5,))
    assert board.inputs.soft_counts == 1
    assert [board.inputs.pulses(i) for i in range(4)] == [0, 0, 0, None]


def test_edges_go_on_for_those_that_need_them():
    needs: list = [{"features": ["state", "count"]}, {"events": True}, {"role": "contact"}]
    for extra in needs:
        board = Board(True, [counting(**extra)])
        board.start()
        assert board.pins[15].handler is not None
        channel = board.channels[0]
        board.stand(1, 400)
        assert board.inputs.take(board.us) == [0, 1, 0]
        channel.edge(1, 0)
        assert channel.settled(400) == 0
        assert channel.state == 1
        assert channel.record(400)[1][-1] == 1  # of the hardware, not the sum of both
        board.inputs.close()
        assert board.pins[15].handler is None


def test_an_input_that_does_not_count_has_no_counter():
    board = Board(True, [{"key": "input1", "index": 0}])
    board.start()
    assert board.inputs.pulses(0) is None
    assert not board.pio.machines
    assert not hasattr(board.inputs, "soft_counts")


def test_one_input_has_one_filter():
    try:
        Board(True, [counting(), counting(debounce_ms=5)])
    except ValueError as error:
        assert "0.1 and of 5" in str(error)
    else:
        raise AssertionError("no ValueError")
    board = Board(True, [counting(), counting()])
    board.start()
    board.pulse()
    assert board.counts() == [1, 1]
    assert board.pins[15].handler is None
    board = Board(True, [counting(), {"key": "input1", "index": 0}])
    board.start()
    assert board.pins[15].handler is not None
