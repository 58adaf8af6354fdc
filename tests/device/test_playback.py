"""Recordings through the simulated converter, and through the whole chain by `replay`."""

import math
from array import array

from clampdevice import replay
from clampdevice.hal.sim.playback import Playback


class _File:
    """A recording of `n` samples, made as it is read: the heap has no room for all."""

    def __init__(self, n: int, signal) -> None:
        self.n = n
        self.signal = signal
        self.at = 0

    def readinto(self, values: array) -> int:
        count = min(len(values), self.n - self.at)
        for i in range(count):
            values[i] = self.signal(self.at + i)
        self.at += count
        return 4 * count


def test_a_recording_is_played_through_the_converter():
    def signal(i: int) -> float:
        return 9.0 if i == 700 else 2.0 * math.sin(0.01 * i)

    source = Playback(_File(701, signal), 1000.0, 1, 1000, 2048, (0, 4095))
    source.start(5000)
    at = last = 0
    block = source.take(0)
    while block is not None:
        buf, first, frames, end_us, lost = block
        assert (first, lost) == (0, 0)
        for i in range(frames):
            ideal = min(4095, max(0, 2048 + 1000 * signal(at + i)))
            assert abs(buf[i] - ideal) <= 0.51
        at += frames
        last = buf[frames - 1]
        assert end_us == 5000 + 1000 * at
        block = source.take(0)
    assert at == 701
    assert source.finished
    assert last == 4095  # 9.0 is beyond the rail


def test_a_torn_frame_is_dropped():
    source = Playback(_File(5, lambda i: 1.0 + i), 1000.0, 2, 100, 0, (0, 4095))
    source.start(0)
    block = source.take(0)
    assert block is not None
    buf, _first, frames, _end, _lost = block
    assert frames == 2
    assert list(buf[:4]) == [100, 200, 300, 400]
    assert source.take(0) is None
    assert source.finished


def _replay(job: dict, n: int, signal) -> list:
    lines: list = []
    count = replay.run(job, _File(n, signal), lines.append)
    assert count == len(lines)
    return lines


def test_replay_of_a_current():
    def signal(i: int) -> float:
        return 0.2 + 3 * math.sqrt(2) * math.sin(2 * math.pi * 0.05 * i)

    lines = _replay({"kind": "current", "rate_hz": 1000.0, "full_scale": 8}, 1050, signal)
    assert [line["t"] for line in lines] == [0.2, 0.4, 0.6, 0.8, 1.0]
    for line in lines:
        assert abs(line["rms"] / 3 - 1) < 0.001
        assert abs(line["mean"] - 0.2) < 0.004
        assert abs(line["peak"] - 3 * math.sqrt(2)) < 0.01
        assert abs(line["crest"] - math.sqrt(2)) < 0.01
        assert line["clipped"] == 0
    lines = _replay({"kind": "current", "rate_hz": 1000.0, "full_scale": 3}, 200, signal)
    assert lines[0]["clipped"] > 50


def test_replay_of_a_vibration():
    w = 2 * math.pi * 80

    def signal(i: int) -> float:
        return 1 + 0.5 * math.sqrt(2) * math.sin(w * i / 1600)

    job = {"kind": "vibration", "rate_hz": 1600.0, "full_scale": 4}
    lines = _replay(job, 3200, signal)
    assert len(lines) == 10
    assert lines[4]["velocity_rms_mm_s"] is None
    last = lines[9]
    assert abs(last["rms"] - 0.5) < 0.001
    assert abs(last["mean"] - 1) < 0.001
    assert abs(last["kurtosis"] - 1.5) < 0.01
    assert abs(last["velocity_rms_mm_s"] / (0.5 * 9806.65 / w) - 1) < 0.02
    job["unit"] = "m/s2"
    assert abs(_replay(job, 640, signal)[1]["rms"] - 0.5) < 0.001
    slow = _replay({"kind": "vibration", "rate_hz": 100.0, "full_scale": 4}, 100, signal)
    assert slow[-1]["velocity_rms_mm_s"] is None
    assert slow[-1]["kurtosis"] > 1


def test_a_wrong_job_is_refused():
    for job, word in (
        ({"kind": "current", "rate_hz": 0, "full_scale": 1}, "rate_hz"),
        ({"kind": "current", "rate_hz": 10}, "full_scale"),
        ({"kind": "volume", "rate_hz": 10, "full_scale": 1}, "volume"),
        ({"kind": "vibration", "rate_hz": 10, "full_scale": 1, "unit": "ft"}, "ft"),
    ):
        try:
            replay.run(job, _File(1, float), None)
        except replay.JobError as error:
            assert word in str(error)
        else:
            raise AssertionError("no JobError for " + repr(job))
