"""Blocks to windows: each frame in one window, on the clock's grid, and every loss told."""

from array import array

from clampdevice.sampler import Sampler

WINDOW_US = 200000


class Source:
    """Frames numbered from 0; `true_hz` is what the clock sees, `rate_hz` what is told."""

    slots = 1

    def __init__(self, rate_hz: float, block: int, true_hz: float = 0, start_us: int = 0) -> None:
        self.rate_hz = rate_hz
        self.true_hz = true_hz or rate_hz
        self.block = block
        self.frame = 0
        self.start_us = start_us
        self.pending_lost = 0
        self.blocks_left = 1 << 30
        self.buf = array("H", bytes(2 * block))

    def start(self, now_us: int) -> None:
        self.started_us = now_us

    def lose(self, frames: int) -> None:
        self.frame += frames
        self.pending_lost += frames

    def take(self, _now_us: int):
        if not self.blocks_left:
            return None
        self.blocks_left -= 1
        for i in range(self.block):
            self.buf[i] = (self.frame + i) & 0xFFFF
        self.frame += self.block
        lost, self.pending_lost = self.pending_lost, 0
        end_us = self.start_us + int(self.frame * 1000000 / self.true_hz)
        return [self.buf, 0, self.block, end_us, lost]


class Windows:
    """Keeps the first and the number of the frames of each window."""

    def __init__(self) -> None:
        self.closed: list = []
        self.next = None
        self.count = 0
        self.first = None

    def add(self, buf: array, first: int, n: int) -> None:
        frame = buf[first]
        assert self.next is None or frame == self.next, (frame, self.next)
        self.next = (frame + n) & 0xFFFF
        if self.first is None:
            self.first = frame
        self.count += n

    def close(self) -> None:
        self.closed.append((self.first, self.count))
        self.first = None
        self.count = 0


def _sampler(source: Source, start_us: int = 0) -> tuple:
    windows = Windows()
    sampler = Sampler("adc", source, [windows], WINDOW_US)
    sampler.start(start_us)
    return sampler, windows


def _fill(sampler: Sampler, windows: Windows) -> None:
    """One window; nothing of it is missing."""
    while not sampler.ready:
        assert sampler.step(0), "the source has no more"
    assert not sampler.gap
    windows.close()
    sampler.next_window()


def test_every_frame_is_in_one_window_and_the_fraction_is_carried():
    for rate_hz in (6400.0, 3200.0, 3134.307718818203, 26700.0, 1000.0, 833.3):
        for block in (256, 97, 3000):
            sampler, windows = _sampler(Source(rate_hz, block))
            for _ in range(30):
                _fill(sampler, windows)
            begin = 0
            for k, (first, count) in enumerate(windows.closed):
                end = int((k + 1) * 0.2 * rate_hz + 0.5)
                assert first == begin & 0xFFFF, (rate_hz, block, k)
                assert abs(begin + count - end) <= (0 if rate_hz % 5 == 0 else 1), (rate_hz, k)
                begin += count
            assert sampler.resyncs == 0, rate_hz
            assert not sampler.lost_frames


def test_waits_at_the_end_of_a_window():
    source = Source(6400.0, 256)
    sampler, windows = _sampler(source)
    while not sampler.ready:
        sampler.step(0)
    taken = source.frame
    for _ in range(3):
        assert sampler.step(0) is False
    assert windows.count == 1280
    assert source.frame == taken


def test_no_block_is_no_progress():
    source = Source(6400.0, 256)
    source.blocks_left = 2
    sampler, _windows = _sampler(source)
    assert sampler.step(0)
    assert sampler.step(0)
    assert sampler.step(0) is False
    assert not sampler.ready


def test_lost_frames_mark_their_window_only():
    source = Source(6400.0, 256)
    sampler, windows = _sampler(source)
    _fill(sampler, windows)
    sampler.step(0)
    source.lose(300)
    windows.next = None  # the break is expected
    gaps = []
    for _ in range(3):
        while not sampler.ready:
            sampler.step(0)
        gaps.append(sampler.gap)
        windows.close()
        sampler.next_window()
    assert gaps == [True, False, False]
    assert [count for _first, count in windows.closed] == [1280, 980, 1280, 1280]
    assert sampler.overruns == 1
    assert sampler.lost_frames == 300
    begin, end, frames = sampler.lost
    assert frames == 300
    assert abs(end - begin - 46875) <= 1


def test_a_loss_over_several_windows_leaves_them_empty():
    source = Source(6400.0, 256)
    sampler, windows = _sampler(source)
    _fill(sampler, windows)
    source.lose(4000)
    windows.next = None
    seen = []
    for _ in range(5):
        while not sampler.ready:
            assert sampler.step(0)
        seen.append((windows.count, sampler.gap))
        windows.close()
        sampler.next_window()
    assert seen == [(0, True), (0, True), (0, True), (1120, True), (1280, False)]
    # and the grid still holds
    assert windows.closed[-1][0] == 5 * 1280


def test_the_count_follows_the_clock():
    for ppm in (300, -300):
        source = Source(3200.0, 128, 3200 * (1 + ppm / 1000000))
        sampler, windows = _sampler(source)
        total = 0
        for k in range(300):
            _fill(sampler, windows)
            total += windows.closed[-1][1]
            grid = (k + 1) * 0.2 * source.true_hz
            assert abs(total - grid) < 2.5, (ppm, k, total - grid)
        assert 55 <= sampler.resyncs <= 60, sampler.resyncs  # 60 s * 3200 Hz * 300 ppm
        assert not sampler.overruns


def test_a_jump_of_the_stamps_is_no_drift():
    source = Source(6400.0, 256)
    sampler, windows = _sampler(source)
    _fill(sampler, windows)
    source.start_us = 5000  # 32 frames have gone without a word
    while not sampler.ready:
        assert sampler.step(0)
    assert sampler.gap
    assert windows.count == 1280 - 32
    assert sampler.resyncs == 1


def test_a_source_that_begins_late_is_aligned_by_its_stamps():
    source = Source(6400.0, 256, start_us=50000)
    sampler, windows = _sampler(source)
    while not sampler.ready:
        sampler.step(0)
    assert sampler.gap  # its first 50 ms are missing, and it says so
    assert windows.count == 960
    windows.close()
    sampler.next_window()
    _fill(sampler, windows)
    assert windows.closed[1] == (960, 1280)


def test_what_comes_before_the_start_is_dropped_and_no_loss():
    source = Source(6400.0, 256, start_us=0)
    sampler, windows = _sampler(source, 100000)
    _fill(sampler, windows)
    assert windows.closed == [(640, 1280)]
    assert not sampler.lost_frames


def test_given_up_and_back_again():
    source = Source(6400.0, 256)
    sampler, windows = _sampler(source)
    _fill(sampler, windows)
    source.blocks_left = 2
    while sampler.step(0):
        pass
    for _ in range(3):  # windows 1 to 3 go without it
        sampler.give_up()
        assert sampler.ready
        assert sampler.gap
        assert sampler.silent
        windows.close()
        sampler.next_window()
    source.blocks_left = 1 << 30
    windows.next = None
    while not sampler.ready:
        assert sampler.step(0)
    assert not sampler.silent
    assert sampler.gap
    windows.close()
    # Frames of closed windows were dropped and counted; window 4 begins at its own first frame.
    assert windows.closed[-1] == (4 * 1280, 1280)
    assert sampler.lost_frames == 4 * 1280 - 7 * 256
    sampler.next_window()
    _fill(sampler, windows)
    assert windows.closed[-1] == (5 * 1280, 1280)
    assert sampler.gap is False


def test_a_source_that_resumes_later_leaves_windows_empty():
    source = Source(6400.0, 256)
    sampler, windows = _sampler(source)
    _fill(sampler, windows)
    sampler.give_up()
    windows.close()
    sampler.next_window()
    source.frame = 3 * 1280 + 100
    windows.next = None
    seen = []
    for _ in range(3):
        while not sampler.ready:
            assert sampler.step(0)
        seen.append((windows.count, sampler.gap))
        windows.close()
        sampler.next_window()
    assert seen == [(0, True), (1180, True), (1280, False)]


def test_an_error_of_the_source_passes_and_changes_nothing():
    source = Source(6400.0, 256)
    sampler, windows = _sampler(source)
    sampler.step(0)
    good = source.take

    def broken(_now_us: int):
        raise OSError("bus")

    source.take = broken
    try:
        sampler.step(0)
    except OSError:
        pass
    else:
        raise AssertionError("no OSError")
    source.take = good
    _fill(sampler, windows)
    assert windows.closed == [(0, 1280)]
