"""An I2S ADC on an ESP32: never waits, in order, every lost buffer counted."""

import fake_esp32
from fake_esp32_i2s import DMA_FRAMES, I2S, FakeSelect

from clampdevice.hal.esp32 import i2s
from clampdevice.hal.esp32.dmacount import BUFFER_FRAMES, DmaCount

RATE = 8000
ADC = {"rate_hz": RATE, "slots": 2, "bits": 16, "vref_v": 3.0}
ADC.update({"sck_pin": 14, "ws_pin": 15, "sd_pin": 32})


def _open(ring_ms: int = 450) -> tuple:
    """(world, source, its I2S) at the start of the stream."""
    world = fake_esp32.new_world()
    world.us = 5000000
    i2s.select = FakeSelect
    I2S.opened = []

    def new_i2s() -> I2S:
        world.us += 3000
        return I2S(
            0,
            sck=fake_esp32.Pin(14),
            ws=fake_esp32.Pin(15),
            sd=fake_esp32.Pin(32),
            mode=I2S.RX,
            bits=16,
            format=I2S.STEREO,
            rate=RATE,
            ibuf=i2s.ring_bytes(RATE, ring_ms),
        )

    source = i2s.I2sSource(new_i2s, RATE, ring_ms, world.ticks_us)
    source.start(world.us)
    return world, source, I2S.opened[0]


def _drain(source: i2s.I2sSource, world: fake_esp32.World) -> list:
    """(first value of the left slot, frames, end_us, lost) of each block; both slots checked."""
    found = []
    while True:
        block = source.take(world.us)
        if block is None:
            return found
        buf, first, frames, end_us, lost = block
        left = [buf[first + 2 * k] - 32768 for k in range(frames)]
        right = [buf[first + 2 * k + 1] - 32768 for k in range(frames)]
        assert left == [(left[0] + k) % 30000 for k in range(frames)]
        assert right == [-value for value in left]
        found.append((left[0], frames, end_us, lost))


def test_the_ring_is_as_long_as_asked():
    _world, _source, bus = _open(450)
    assert (bus.buffers - 2) * DMA_FRAMES * 1000 >= 450 * RATE
    assert BUFFER_FRAMES == DMA_FRAMES


def test_a_steady_reader_gets_all_frames_in_time():
    I2S.true_ppm = 0
    world, source, _bus = _open()
    begin = world.us
    frames = 0
    last_end = None
    for turn in range(1500):
        world.us += 7000 + 1000 * (turn % 7)
        for first, count, end_us, lost in _drain(source, world):
            assert lost == 0
            assert first == frames % 30000
            frames += count
            # By the stream's own clock; the phase is known to a few ms at first, then better.
            assert abs(end_us - (begin + frames * 125)) < (33000 if turn < 30 else 3000), turn
            assert last_end is None or abs(end_us - last_end - count * 125) < (
                33000 if turn < 30 else 1000
            )
            last_end = end_us
    assert 0 <= (world.us - begin) // 125 - frames <= BUFFER_FRAMES
    assert (source.overruns, source.lost_frames) == (0, 0)
    assert world.blocked == []
    assert abs(source.measured_hz - RATE) < 2


def test_a_clock_that_is_off_is_no_loss():
    for ppm in (-150, 150):
        I2S.true_ppm = ppm
        world, source, bus = _open()
        for turn in range(4000):
            world.us += 9000 + 500 * (turn % 5)
            _drain(source, world)
        I2S.true_ppm = 0
        assert bus.dropped_buffers == 0
        assert source.lost_frames == 0, ppm
        assert abs(source.measured_hz / RATE - 1 - ppm / 1000000) < 0.00005


def test_a_pause_within_the_ring_loses_nothing_and_a_longer_one_is_counted():
    world, source, bus = _open()
    for _ in range(50):
        world.us += 10000
        _drain(source, world)
    world.us += 450000
    assert sum(block[3] for block in _drain(source, world)) == 0
    assert source.lost_frames == 0
    world.us += 1300000
    blocks = _drain(source, world)
    for _ in range(20):  # the account is settled at the first look that finds it empty
        world.us += 10000
        blocks += _drain(source, world)
    assert bus.dropped_buffers > 20
    assert source.lost_frames == bus.dropped_buffers * DMA_FRAMES
    assert sum(block[3] for block in blocks) == source.lost_frames
    assert source.overruns == 1


def test_a_flash_operation_loses_whole_buffers_and_all_are_told():
    world, source, bus = _open()
    told = 0
    for turn in range(200):  # the phase is learned while nothing happens
        world.us += 6000 + 700 * (turn % 9)
        assert sum(block[3] for block in _drain(source, world)) == 0
    for turn in range(400):
        world.us += 6000 + 700 * (turn % 9)
        if turn % 10 == 5:
            bus.hold(80000)  # a sector
        elif turn % 10 == 7:
            bus.hold(1000)  # an entry of NVS
        told += sum(block[3] for block in _drain(source, world))
    for _ in range(10):
        world.us += 10000
        told += sum(block[3] for block in _drain(source, world))
    # 80 ms are two or three buffers of 32 ms, and one of them is delivered.
    assert 40 <= bus.dropped_buffers <= 80
    assert told == source.lost_frames == bus.dropped_buffers * DMA_FRAMES
    assert source.missed_by_now() == told


def test_settings_that_cannot_be_are_refused():
    i2s.check_i2s(ADC)
    for key, value, said in (
        ("slots", 4, "2 slots"),
        ("bits", 12, "16 bits"),
        ("rate_hz", 6400, "8000"),
        ("rate_hz", 8000.5, "whole"),
        ("sd_pin", None, "sd_pin"),
    ):
        wrong = dict(ADC)
        wrong[key] = value
        try:
            i2s.check_i2s(wrong)
        except ValueError as error:
            assert said in str(error), str(error)
        else:
            raise AssertionError(f"{key} = {value} was accepted")


def test_the_fake_knows_the_ports_rules():
    pins = {"sck": fake_esp32.Pin(14), "ws": fake_esp32.Pin(15), "sd": fake_esp32.Pin(32)}
    good: dict = {"mode": I2S.RX, "bits": 16, "format": I2S.STEREO, "rate": RATE, "ibuf": 8192}
    good.update(pins)
    for change, error in (
        ({"mck": fake_esp32.Pin(0)}, TypeError),
        ({"bits": 24}, ValueError),
        ({"mode": 0}, ValueError),
        ({"format": 7}, ValueError),
        ({"ws": fake_esp32.Pin(34)}, OSError),
    ):
        wrong = dict(good)
        wrong.update(change)
        try:
            I2S(0, **wrong)
        except error:
            pass
        else:
            raise AssertionError(f"{change} was accepted")
    bus = I2S(0, **good)
    bus.readinto(bytearray(64) and [0] * 32)
    assert fake_esp32.WORLD.blocked == [("i2s", 64)]  # without a poll it would have waited
    fake_esp32.WORLD.blocked.clear()


def test_a_stream_that_was_never_read_empty_is_not_judged():
    count = DmaCount(RATE)
    count.start(0)
    count.received(100)
    assert count.lost == 0
    assert abs(count.end_ticks() - 12500) <= 1
    assert count.empty(32010, 32020) == 0
