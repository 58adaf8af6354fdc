"""What is asked of every driver of a FIFO, whatever the chip."""

from array import array

try:
    micropython = __import__("micropython")
except ImportError:
    micropython = None


def said(error: type[Exception], call) -> str:
    """The words of the error that `call` must raise."""
    try:
        call()
    except error as caught:
        return str(caught)
    raise AssertionError("no " + error.__name__)


def check_frames(driver, chip, clock, wait_us: int) -> None:
    """Every frame once, oldest first, axes and signs in place, and nothing beside them."""
    driver.start()
    k = 0
    for _ in range(3):
        clock.pass_us(wait_us)
        n = driver.pending()
        assert n > 4
        assert not driver.overrun
        buf = array("H", bytes(2 * 3 * (n + 2)))
        assert driver.read_into(buf, 3, n) == n
        assert buf[0] == buf[3 * (n + 1)] == 0
        for i in range(n):
            for axis in range(3):
                got, want = buf[3 + 3 * i + axis], 0x8000 + chip.value(k + i, axis)
                assert got == want, (k + i, axis, got, want)
        k += n
    assert chip.value(1, 1) < 0 < chip.value(1, 0)


def check_no_allocation(driver, clock, wait_us: int) -> None:
    """Status and data with the heap locked; under MicroPython alone."""
    if micropython is None:
        return
    driver.start()
    buf = array("H", bytes(2 * 3 * 200))
    clock.pass_us(wait_us)
    driver.read_into(buf, 0, driver.pending())
    clock.pass_us(wait_us)
    micropython.heap_lock()
    try:
        n = driver.read_into(buf, 0, driver.pending())
    finally:
        micropython.heap_unlock()
    assert n > 4


class Ledger:
    """Takes the blocks of a source; knows what was lost from the sensor's own numbers."""

    def __init__(self, chip) -> None:
        self.chip = chip
        self.next = self.lost = self.taken = 0
        self.worst_us = 0.0

    def take(self, block: list) -> None:
        buf, first, frames, end_us, lost = block
        chip = self.chip
        self.next += lost
        self.lost += lost
        for k in range(frames):
            at = first + 3 * k
            for axis in (0, 1, 2):
                want = 0x8000 + chip.value(self.next + k, axis)
                assert buf[at + axis] == want, (self.next, k, axis, buf[at + axis], want, lost)
        self.next += frames
        self.taken += frames
        true_us = (chip.began_ns + self.next * chip.period_ns) / 1000
        self.worst_us = max(self.worst_us, abs(end_us - true_us))


def run(source, clock, ledger: Ledger, span_us: int, poll_us) -> None:
    """Polls for a while; `poll_us(i)` is the pause after the i-th time."""
    end_us = clock.now_us + span_us
    i = 0
    while clock.now_us < end_us:
        block = source.take(clock.now_us)
        while block is not None:
            ledger.take(block)
            block = source.take(clock.now_us)
        clock.pass_us(poll_us(i))
        i += 1
