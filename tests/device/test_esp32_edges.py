"""Console, inputs and buses of the ESP32: what never waits, what is counted, what is refused."""

import fake_esp32
from fake_esp32_i2s import FakeSelect

from clampdevice.hal.esp32 import console as console_module
from clampdevice.hal.esp32.buses import check_bridge, open_bus
from clampdevice.hal.esp32.console import Meter, StdioConsole, UartConsole
from clampdevice.hal.esp32.inputs import EDGES, Inputs
from clampdevice.hal.esp32.watchdog import reset_cause


class Stream:
    """Standard input or output, as MicroPython has it on this port."""

    def __init__(self, world: fake_esp32.World, us_a_byte: float = 0, stuck_us: int = 0) -> None:
        self.buffer = self
        self.data = bytearray()
        self.calls = 0
        self._world = world
        self._us_a_byte = us_a_byte
        self.stuck_us = stuck_us
        self._out_us = 0.0

    def ioctl(self, writable: bool) -> bool:
        return writable or bool(self.data)  # always writable, whatever the FIFO holds

    def readinto(self, buf) -> int:
        assert len(buf) <= len(self.data), "would wait"
        for index in range(len(buf)):
            buf[index] = self.data[0]
            self.data = self.data[1:]
        return len(buf)

    def write(self, data) -> int:
        self.calls += 1
        self._world.us += self.stuck_us
        self._out_us = max(self._out_us, self._world.us) + len(data) * self._us_a_byte
        if self._out_us - self._world.us > 129 * self._us_a_byte:  # 128 in the FIFO, 1 on its way
            self._world.blocked.append(("stdout", len(data)))
        self.data += bytes(data)
        return len(data)


def _stdio(world: fake_esp32.World, out: Stream, baud: int | None) -> tuple:
    console_module.select = FakeSelect
    source = Stream(world)
    return StdioConsole(source, out, world.ticks_us, baud), source


def test_a_uart_takes_what_has_gone_out_and_no_more():
    world = fake_esp32.new_world()
    out = Stream(world, 10000000 / 115200)
    console, _source = _stdio(world, out, 115200)
    data = bytes(range(250)) * 20
    view = memoryview(data)
    begin = world.us
    while view:
        view = view[console.write(view) :]
        world.us += 3000
    assert world.blocked == []
    assert bytes(out.data) == data
    assert world.us - begin < 1.15 * 5000 * 10000000 / 115200  # and nearly as fast as the line


def test_a_meter_lives_through_the_wrap_of_the_ticks():
    world = fake_esp32.new_world()
    world.us = (1 << 30) - 4000
    meter = Meter(115200, 100, world.ticks_us)
    meter.spend(100)
    assert meter.free() == 0
    for _ in range(8):
        world.us += 1000
    assert 85 <= meter.free() <= 92


def test_input_is_read_without_a_wait():
    world = fake_esp32.new_world()
    console, source = _stdio(world, Stream(world), 115200)
    assert console.read() == b""
    source.data += bytes(range(200)) + bytes(100)
    assert console.read() == bytes(range(200)) + bytes(56)
    assert console.read() == bytes(44)
    assert console.read() == b""


def test_a_usb_host_that_does_not_read_costs_one_wait_in_two_seconds():
    world = fake_esp32.new_world()
    out = Stream(world, 0, 200000)
    console, _source = _stdio(world, out, None)
    view = memoryview(bytes(64))
    for _ in range(300):
        assert console.write(view) == 0
        world.us += 10000
    assert out.calls <= 3
    assert console.stalls == out.calls
    assert console.hung_up
    out.stuck_us = 0
    world.us += 2000000
    assert console.write(memoryview(bytes(100))) == 64  # a packet at a time
    assert not console.hung_up
    assert console.write(view) == 64


def test_a_uart_of_its_own_never_waits():
    world = fake_esp32.new_world()
    uart = fake_esp32.UART(1, baudrate=921600, tx=None, rx=None, txbuf=512, rxbuf=2048, timeout=0)
    console = UartConsole(uart, 921600, world.ticks_us)
    assert console.read() == b""
    uart.received = b"hello"
    assert console.read() == b"hello"
    data = bytes(4000)
    view = memoryview(data)
    while view:
        view = view[console.write(view) :]
        world.us += 700
    assert uart.sent == data
    assert world.blocked == []


def _inputs(world: fake_esp32.World, counted: bool) -> Inputs:
    def new_counter(number: int, pin):
        return fake_esp32.Counter(number, pin, edge=1) if counted else None

    inputs = Inputs({"pins": [27, 26]}, [0], fake_esp32.Pin, world.ticks_us, new_counter)
    inputs.start(world.us)
    return inputs


def test_edges_have_their_level_and_time():
    world = fake_esp32.new_world()
    inputs = _inputs(world, False)
    assert inputs.level(0) == 0  # active low, and the contact is open
    told = []
    for level in (0, 1, 0):
        world.run(5000)
        world.set_level(27, level)
        at = world.us
        world.spend(3000)  # the handler comes late
        world.run(0)
        edge = inputs.take(world.us)
        assert edge is not None
        told.append(edge[1])
        assert 0 <= edge[2] - at <= 3000
        assert inputs.take(world.us) is None
    assert told == [1, 0, 1]
    assert inputs.edges_lost == 0
    assert inputs.counted == []


def test_a_pulse_counter_finds_the_edges_that_no_handler_saw():
    world = fake_esp32.new_world()
    inputs = _inputs(world, True)
    assert inputs.counted == [0]
    for _ in range(30):
        for _ in range(10):
            world.set_level(27, 0)
            world.set_level(27, 1)
            world.spend(100)
        world.run(1000)
        while inputs.take(world.us) is not None:
            pass
        world.run(1000)
        assert inputs.take(world.us) is None
    assert world.dropped > 300
    # 300 pulses; all that the handlers found was the level at rest.
    assert inputs.edges_lost == 600
    world.set_level(27, 0)  # one edge whose handler waits is no loss
    assert inputs.take(world.us) is not None
    world.run(1000)
    inputs.take(world.us)
    inputs.take(world.us)
    assert inputs.edges_lost == 600


def test_a_full_ring_and_a_wrong_index_are_told():
    world = fake_esp32.new_world()
    inputs = _inputs(world, False)
    for turn in range(EDGES + 10):
        world.set_level(27, turn % 2)
        world.run(100)
    taken = 0
    while inputs.take(world.us) is not None:
        taken += 1
    assert taken >= EDGES
    assert inputs.edges_lost >= 4
    try:
        Inputs({"pins": [27]}, [1], fake_esp32.Pin, world.ticks_us, lambda _n, _pin: None)
    except ValueError as error:
        assert "input 1" in str(error)
    else:
        raise AssertionError("an input without a pin was accepted")


def test_a_fifo_has_to_last_over_a_flash_erase():
    check_bridge("adxl345", 32, 200, 90)
    check_bridge("adxl345", 32, 800, 35)  # the board accepts gaps
    for rate_hz, most in ((800, "355"), (3200, "355")):
        try:
            check_bridge("adxl345", 32, rate_hz, 90)
        except ValueError as error:
            assert most in str(error)
            assert "bridge_ms" in str(error)
        else:
            raise AssertionError(f"{rate_hz} Hz were accepted")


def test_buses_are_opened_as_the_board_says():
    fake_esp32.new_world()
    part: dict = {
        "kind": "spi",
        "id": 1,
        "sck_pin": 18,
        "mosi_pin": 23,
        "miso_pin": 19,
        "cs_pin": 5,
    }
    part["hz"] = 5000000
    bus = open_bus(part, fake_esp32, "sources.adc.bus")
    assert bus.kind == "spi"
    assert bus._spi.settings["baudrate"] == 5000000  # type: ignore[union-attr]
    assert fake_esp32.WORLD.levels[5] == 1  # not selected
    part = {"kind": "i2c", "id": 0, "scl_pin": 22, "sda_pin": 21, "address": 0x48}
    bus = open_bus(part, fake_esp32, "sources.adc.bus")
    assert bus._i2c.settings["freq"] == 400000  # type: ignore[union-attr]
    for wrong, said in (({"kind": "can"}, "can"), ({"kind": "spi", "id": 1}, "bus.sck_pin")):
        try:
            open_bus(wrong, fake_esp32, "sources.adc.bus")
        except ValueError as error:
            assert said in str(error)
        else:
            raise AssertionError(f"{wrong} was accepted")


def test_reset_causes_have_their_numbers():
    assert [reset_cause(number) for number in (0, 1, 2, 3, 4, 5)] == [0, 1, 2, 3, 1, 4]
