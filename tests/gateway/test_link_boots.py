"""Items that come after their power-up has ended, as from a ring in flash: what dates them."""

from __future__ import annotations

import pytest

from clampdevice.link import layout_of
from clampwire import framing, messages
from support.linkbench import CODEC, UTC_MS, LinkBench, hello, running


def _older(bench: LinkBench, end_ms: int, boot: int = 1, seq: int = 900) -> tuple[int, int]:
    """(UTC, synced) of a record of an earlier power-up that comes now, as from a ring in flash."""
    layout = layout_of(bench.device.link.describe_crc)
    record = CODEC.encode("Record", boot, seq, end_ms, 5, layout, b"", b"\x01\x02\x03\x04")
    bench.step(up=framing.frame(record))
    item = bench.committed["lathe", boot, seq]
    return item.utc_ms, item.synced


def _one_power_up(bench: LinkBench) -> tuple[int, int]:
    """(device time, UTC) of a moment in a power-up whose clock was heard, which then ends."""
    bench.device.record(1.0)
    bench.run(60)
    moment = bench.device.now_us // 1000, UTC_MS + bench.now_us // 1000
    bench.run(1)
    bench.device.power_cycle()
    return moment


@pytest.mark.parametrize("replugged", [False, True])
def test_what_comes_after_a_restart_is_dated_by_the_clock_of_its_own_power_up(
    replugged: bool,
) -> None:
    bench = running()
    end_ms, utc_ms = _one_power_up(bench)
    if replugged:
        bench.replug()
    bench.run(600)
    told_ms, synced = _older(bench, end_ms)
    assert synced
    assert abs(told_ms - utc_ms) <= 60
    assert bench.session.stats()["older_synced"] == 1
    assert bench.session.stats()["unsynced"] == 0


def test_utc_that_became_known_after_the_restart_dates_what_was_before() -> None:
    bench = running(utc_known=False)
    end_ms, utc_ms = _one_power_up(bench)
    bench.run(5)
    assert _older(bench, end_ms, seq=901) == (0, False)
    bench.utc_known = True
    told_ms, synced = _older(bench, end_ms)
    assert synced
    assert abs(told_ms - utc_ms) <= 60


def test_a_power_up_whose_clock_nobody_heard_is_not_dated() -> None:
    bench = running()
    end_ms, _utc_ms = _one_power_up(bench)
    bench.device.power_cycle()  # boot 2 never spoke
    bench.run(5)
    assert _older(bench, end_ms, boot=2) == (0, False)
    bench.kill_gateway()  # and what a gateway heard it forgets with its end
    bench.run(20)
    assert _older(bench, end_ms) == (0, False)
    assert bench.session.stats()["unsynced"] == 1


def test_a_boot_number_that_was_not_final_takes_no_other_power_ups_clock() -> None:
    bench = running()
    end_ms, utc_ms = _one_power_up(bench)
    bench.device.boots = bench.device.link.boot = 1  # its counter was lost; Hello says 1 again
    bench.run(20)  # it is 2 now, but no item has said so
    bench.replug()
    bench.run(5)
    told_ms, synced = _older(bench, end_ms)
    assert synced
    assert abs(told_ms - utc_ms) <= 60


def test_the_clock_of_a_device_is_not_that_of_the_next_at_the_same_port() -> None:
    bench = running()
    bench.device.record(1.0)
    bench.run(5)
    # One of another wire version: it is refused, but asked for its time all the same.
    bench.session.receive(hello("mill", 5, messages.WIRE_MAJOR + 1), bench.now_us)
    bench.run(5)
    assert bench.session.clock.synced
    bench.session.receive(hello("mill", 6, messages.WIRE_MAJOR + 1), bench.now_us)
    assert len(bench.links.fits("lathe")) == 1
    assert len(bench.links.fits("mill")) == 0
