"""Rings of 64 and 96 KB, for which the heap of the other interpreter is too small."""

import pytest
from test_rp2_adc import Bench


@pytest.mark.parametrize(("ring_ms", "segments"), [(900, 2), (1400, 3)])
def test_segments_take_turns(ring_ms: int, segments: int) -> None:
    bench = Bench(rate_hz=6400, block_frames=256, ring_ms=ring_ms)
    assert len(bench.machine.channels) == 2 * segments
    bench.start()
    bench.run(400)
    bench.machine.advance(1000 * (ring_ms - 150))
    bench.run(200)
    assert bench.lost == 0
    bench.machine.advance(3000 * ring_ms)
    bench.run(200)
    assert bench.source.laps == 1
    elapsed = (bench.ends[-1] - bench.ends[0]) * 6400 // 1000000
    assert bench.frames + bench.lost - 256 == elapsed
