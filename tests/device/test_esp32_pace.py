"""Pacing on an ESP32: slots, holes, the ring, and what a pause of the chip costs."""

import math

import fake_esp32

from clampdevice.hal.esp32.framering import FrameRing
from clampdevice.hal.esp32.pace import ALLOWED_ONE_IN, BURST, Pacer, period_for
from clampdevice.hal.esp32.paced import PacedSource

TICKS = 1 << 30


class Scanner:
    """Two slots: the slot's number on the grid, and a sine of 50 Hz."""

    slots = 2

    def __init__(self, world: fake_esp32.World, cost_us: int = 80) -> None:
        self._world = world
        self._cost_us = cost_us
        self.fail = False

    def read_into(self, buf, first: int) -> None:
        if self.fail:
            raise OSError("no answer")
        us = self._world.us
        buf[first] = (us // 1000) & 0xFFFF
        buf[first + 1] = int(32768 + 20000 * math.sin(2 * math.pi * 50 * us / 1000000) + 0.5)
        self._world.spend(self._cost_us)


def _source(world: fake_esp32.World, ring_ms: int = 450) -> PacedSource:
    def start(period_us: int, callback) -> fake_esp32.Timer:
        timer = fake_esp32.Timer(0)
        timer.init(mode=1, period=period_us, tick_hz=1000000, callback=callback)
        return timer

    return PacedSource(Scanner(world), 1000, start, world.ticks_us, ring_ms)


def _drain(source: PacedSource, world: fake_esp32.World) -> list:
    """Blocks as (values of slot 0, of slot 1, end_us, lost)."""
    found = []
    while True:
        block = source.take(world.us)
        if block is None:
            return found
        buf, first, frames, end_us, lost = block
        part = [buf[first + i] for i in range(2 * frames)]
        found.append((part[::2], part[1::2], end_us, lost))


def test_slots_lateness_and_holes_are_counted():
    pacer = Pacer(1000)
    at = TICKS - 2500  # across the wrap of the ticks
    pacer.start(at)
    moments = (0, 1020, 1030, 2010, 3300, 7000, 7001, 8000)
    steps = [pacer.slot((at + off) % TICKS) for off in moments]
    assert steps == [1, 1, 0, 1, 1, 4, 0, 1]
    assert (pacer.taken, pacer.missed, pacer.bursts) == (6, 3, 2)
    assert pacer.late_max_us == 300
    assert abs(pacer.jitter_us - math.sqrt((20**2 + 10**2 + 300**2) / 6)) < 0.01
    assert abs(pacer.achieved_hz - 1000 * 6 / 9) < 0.01
    assert pacer.missed_by((at + 8400) % TICKS) == 3
    assert pacer.missed_by((at + 12100) % TICKS) == 6


def test_a_converter_too_slow_for_the_rate_is_refused():
    assert period_for(1000, 120, 0.5) == 1000
    try:
        period_for(4000, 200, 0.5)
    except ValueError as error:
        assert "4000" in str(error)
        assert "2500" in str(error)  # what would be possible
    else:
        raise AssertionError("4000 a second at 200 us were accepted")


def test_the_ring_cuts_at_holes_and_at_its_end():
    result: list = [0, 0, 0, 0, 0]
    ring = FrameRing(1, 32)
    assert not ring.block(1, result)
    for index in range(30):
        ring.buf[ring.place()] = index
        ring.put(1000 * index, 7 if index == 10 else 0)
    assert ring.block(20, result)
    assert result[1:] == [0, 10, 9000, 0]  # a hole ends a block, however short
    assert ring.block(20, result)
    assert result[1:] == [10, 20, 29000, 7]
    assert not ring.block(20, result)
    for index in range(30, 70):
        place = ring.place()
        if place < 0:
            break
        ring.buf[place] = index
        ring.put(1000 * index, 0)
    assert ring.full == 1  # 32 frames wait, none is overwritten
    assert ring.block(20, result)
    assert result[1:] == [30, 2, 31000, 0]  # up to the end of the buffer
    assert ring.block(20, result)
    assert result[1:] == [0, 30, 61000, 0]


def test_a_quiet_chip_gives_every_slot():
    world = fake_esp32.new_world()
    source = _source(world)
    assert source.rate_hz == 1000
    assert 80 <= source.cost_us <= 81
    source.start(world.us)
    begin = world.us
    values: list = []
    for _ in range(20):
        world.run(50000)
        for frames, _sine, end_us, lost in _drain(source, world):
            values += frames
            assert lost == 0
            assert -1000 <= world.us - end_us < 71000
            # The block ends one period after its last sample.
            assert abs(end_us - (1000 * frames[-1] + 1000)) <= 1000
    assert len(values) >= 970
    assert values == list(range(values[0], values[0] + len(values)))
    assert (source.missed_slots, source.overruns, source.ring_full) == (0, 0, 0)
    assert 1000000 <= world.us - begin < 1002000
    assert source.achieved_hz == 1000


def test_what_is_missed_is_counted_and_told_beyond_the_allowance():
    world = fake_esp32.new_world()
    source = _source(world)
    source.start(world.us)
    got = lost = 0
    for turn in range(50):
        world.run(300000)
        world.spend(3300)  # a collection: the interrupts go on, callbacks pile up
        world.run(1000)
        if turn % 10 == 4:
            world.flash()
        for frames, _sine, _end_us, missing in _drain(source, world):
            got += len(frames)
            lost += missing
            assert missing == 0 or missing >= 70, missing
    assert source.bursts >= 100  # piled up callbacks were refused, not taken for samples
    assert source.overruns == 5
    assert lost == source.lost_frames
    assert 5 * 76 <= lost <= 5 * 81
    # Every slot is accounted for: taken, or missed.
    slots = (world.us - 16 * 80) // 1000
    report = source.report()
    assert abs(got + source.missed_slots - slots) <= 25
    assert source.missed_slots >= lost + 45 * 2
    assert report["missed_slots"] == source.missed_slots
    assert report["achieved_hz"] < 1000
    assert report["jitter_us"] > 0
    assert "not gapless" in report["kind"]


def test_a_share_of_small_holes_is_told_too():
    for missed, every, told in ((1, 60, False), (1, 40, True), (4, 300, False), (5, 300, True)):
        pacer = Pacer(1000)
        pacer.start(0)
        at = told_slots = 0
        for turn in range(3000):
            at += 1000 * (1 + missed if turn % every == every - 1 else 1)
            told_slots += pacer.to_tell(pacer.slot(at))
        assert (told_slots > 0) == told, (missed, every, told_slots)
        untold = pacer.missed - told_slots
        assert untold <= BURST + (pacer.taken + pacer.missed) / ALLOWED_ONE_IN


def test_a_queue_of_eight_drops_in_silence_and_is_seen():
    world = fake_esp32.new_world()
    source = _source(world)
    source.start(world.us)
    world.run(30000)
    world.spend(25000)
    world.run(30000)
    assert world.dropped >= 16
    blocks = _drain(source, world)
    assert sum(block[3] for block in blocks) == source.lost_frames
    assert 23 <= source.lost_frames <= 25
    assert source.overruns == 1


def test_nobody_takes_and_the_ring_is_full():
    world = fake_esp32.new_world()
    source = _source(world, ring_ms=450)
    source.start(world.us)
    world.run(2000000)
    assert source.ring_full > 1400
    blocks = _drain(source, world)
    first = [value for block in blocks for value in block[0]]
    assert len(first) == 512
    assert first == list(range(first[0], first[0] + 512))  # the oldest, in order
    world.run(100000)
    blocks = _drain(source, world)
    assert blocks[0][3] == source.lost_frames
    assert blocks[0][0][0] - first[-1] - 1 == source.lost_frames


def test_a_silent_bus_is_told_once_a_call_and_the_slot_is_missed():
    world = fake_esp32.new_world()
    source = _source(world)
    source.start(world.us)
    world.run(50000)
    _drain(source, world)
    source._scanner.fail = True
    world.run(20000)
    try:
        source.take(world.us)
    except OSError as error:
        assert "no answer" in str(error)
    else:
        raise AssertionError("the fault was not told")
    source._scanner.fail = False
    world.run(60000)
    blocks = _drain(source, world)
    assert source.errors == 20
    assert sum(block[3] for block in blocks) == 20
    assert source.missed_slots == 20


def test_a_hole_costs_an_rms_what_is_said():
    # Of a window of 200 ms at 50 Hz: nowhere, and at no length up to 15 ms, more than 0.9 %.
    square = [math.sin(2 * math.pi * n / 20 + 0.1) ** 2 for n in range(200)]
    worst = 0.0
    for length in (1, 2, 4, 5, 7, 12, 15):
        for first in range(60):
            rest = sum(square) - sum(square[first : first + length])
            rms = math.sqrt(rest / (200 - length))
            worst = max(worst, abs(rms / math.sqrt(0.5) - 1))
    assert 0.007 < worst < 0.009, worst
