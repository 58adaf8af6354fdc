"""The firmware's own process without a gateway: what its RAM cannot hold comes from its ring."""

import contextlib
import os
import time
from pathlib import Path

from clampgateway.clocksync import Clocks
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.link import Links
from clampgateway.model import GAP, RECORD, Item
from clamptools.boards import read_board
from clamptools.data import boards_dir
from clamptools.demo.devices import Plan, SimulatedDevice
from clamptools.interpreter import find_interpreter
from clamptools.machines import board_of, scenario
from clampwire.codec import Codec
from clampwire.messages import TO_THE_END

CODEC = Codec()
# So little RAM that some ten records fill it.
SPOOL = {"ram_bytes": 2500, "ram_items": 64, "flash_start": 0, "flash_bytes": 65536}
ALONE_S = 24.0
LINKED_S = 6.0


def machine(folder: Path) -> SimulatedDevice:
    """A simulated lathe with a ring in a file."""
    board = read_board(boards_dir() / f"{board_of('lathe')}.toml")
    plan = Plan({**board, "spool": SPOOL}, scenario("lathe"))
    return SimulatedDevice(folder / "lathe", folder / "ports", plan, find_interpreter())


def listen(device: SimulatedDevice, seconds: float) -> dict[tuple[int, int], Item]:
    """A gateway's session with the device, each item committed at once."""

    def mono_us() -> int:
        return time.monotonic_ns() // 1000

    clocks = Clocks(mono_us, lambda: time.time_ns() // 1_000_000)
    session = Links(Devices(), Descriptions(()), {}, "test", clocks).open("ring")
    device.plug_in()
    port = next((device.folder.parent / "ports").iterdir())
    line = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    got: dict[tuple[int, int], Item] = {}
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                session.receive(os.read(line, 4096), mono_us())
            items = session.take_items()
            for item in items:
                known = got.setdefault((item.boot, item.seq), item)
                assert known.payload == item.payload
            session.committed(items)
            os.write(line, session.poll(mono_us()))
            time.sleep(0.02)
    finally:
        os.close(line)
    return got


def test_records_that_ram_could_not_hold_come_condensed(tmp_path: Path) -> None:
    device = machine(tmp_path)
    device.start()
    try:
        time.sleep(ALONE_S)
        got = listen(device, LINKED_S)
    finally:
        device.kill()
    assert accounted(got, 1) >= 5


def accounted(got: dict[tuple[int, int], Item], boot: int) -> int:
    """Seconds that came condensed; every number of the power-up must be accounted for, once."""
    covered: set[int] = set()
    told: set[int] = set()
    for (of, seq), item in got.items():
        message = CODEC.decode(item.payload)[1]
        if item.kind == GAP and (message.of_boot or of) == boot and message.last_seq != TO_THE_END:
            told.update(range(message.first_seq, message.last_seq + 1))
        if of == boot and item.kind == RECORD and message.windows > 5:
            span = set(range(seq - message.before, seq))
            assert not covered & span
            assert not [s for s in span if (boot, s) in got and got[boot, s].kind == RECORD]
            covered |= span
    numbers = [seq for of, seq in got if of == boot]
    missing = set(range(max(numbers) + 1)) - set(numbers) - covered - told
    assert not missing
    return len(covered)
