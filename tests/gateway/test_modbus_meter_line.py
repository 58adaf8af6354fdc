"""Meters on a serial line that fails in all ways: a pty, pymodbus's server, the real store."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from support.gateway_parts import until
from support.meterbench import (
    live,
    meter,
    never_zero,
    numbered,
    reading,
    records,
    run,
)
from support.meters import TRUTH, PtyLine, SimMeter, half, silence, wrong_crc

Harm = Callable[[bytes], bytes]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is later on a pty than a test makes it."""
    monkeypatch.setattr("clampgateway.sources.modbus_meter.bus.LATE_S", 0.4)


@pytest.mark.parametrize(
    ("harm", "counter", "said"),
    [
        (silence, "timeouts", "no answer within 0.15 s"),
        (half, "garbled", "no valid answer, "),
        (wrong_crc, "garbled", "no valid answer, "),
    ],
    ids=["silent", "half-answers", "wrong-CRC"],
)
def test_a_line_that_fails_is_told_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Harm, counter: str, said: str
) -> None:
    monkeypatch.setattr("clampgateway.sources.modbus_meter.meter.SILENT_RETRY_US", 1_000_000)

    async def work() -> None:
        line = PtyLine(tmp_path / "tty", live())
        await line.plug()
        table = {"port": str(line.path), "timeout_s": 0.15, "meter": [meter()]}
        async with reading(tmp_path, table) as bench:
            await until(bench.online, "the device")
            await records(bench)
            line.harm = harm
            await until(lambda: not bench.online(), "the device to be offline", 20)
            assert said in bench.count("alarm")
            assert bench.count("alarm").startswith("press: ")
            assert bench.count(counter) >= 3
            assert bench.count("retries") > 0
            reads = bench.count("reads", "press")
            await asyncio.sleep(1.0)
            assert bench.count("reads", "press") == reads, "a failed reading makes no record"
            line.harm = lambda data: data
            await until(bench.online, "the device again", 20)
            await records(bench)
            assert bench.count("alarm") == ""
            faults = await bench.faults()
            assert [(kind, channel) for kind, channel, _text in faults] == [
                ("fault", ""),
                ("fault_cleared", ""),
            ]
            assert all(said in text for _kind, _channel, text in faults)
            (gap,) = await bench.gaps()
            assert (gap.reason, gap.channel) == ("sensor_fault", "")
            assert gap.first_seq > gap.last_seq, "readings are missing, and no number"
            assert gap.samples == bench.count("failed", "press") >= 3
            assert gap.samples == pytest.approx(gap.seconds / 0.4, abs=2)
            await never_zero(bench)
            await numbered(bench)
            link = bench.parts.devices.at("press").link
            assert link["malformed"] == link["undescribed"] == 0
        await line.unplug()

    run(work)


def test_a_frame_that_is_lost_now_and_then_is_asked_for_again(tmp_path: Path) -> None:
    async def work() -> None:
        line = PtyLine(tmp_path / "tty", live())
        dice = random.Random(7)
        line.harm = lambda data: wrong_crc(data) if dice.random() < 0.1 else data
        await line.plug()
        table = {
            "port": str(line.path),
            "timeout_s": 0.05,
            "retries": 3,
            "meter": [meter(period_s=1.0)],
        }
        async with reading(tmp_path, table) as bench:
            await until(bench.online, "the device")
            await records(bench, 5)
            assert bench.count("garbled") == bench.count("retries") > 0
            assert await bench.faults() == []
            await never_zero(bench)
        await line.unplug()

    run(work)


@pytest.mark.parametrize("retries", [0, 1])
def test_an_answer_that_comes_late_is_not_taken_for_the_next(tmp_path: Path, retries: int) -> None:
    """Requests of one length to one meter: their answers look alike but for the values."""

    async def work() -> None:
        line = PtyLine(tmp_path / "tty", live())
        await line.plug()
        table = {"port": str(line.path), "timeout_s": 0.1, "retries": retries, "meter": [meter()]}
        async with reading(tmp_path, table) as bench:
            await until(bench.online, "the device")
            await records(bench, 2)
            for delay_s in (0.13, 0.0, 0.25, 0.11, 0.28):
                line.delay_s = delay_s
                await asyncio.sleep(0.7)
            line.delay_s = 0.0
            await records(bench, 2)
            assert bench.count("timeouts") > 3
            await never_zero(bench)
            await numbered(bench)
        await line.unplug()

    run(work)


def test_noise_on_the_line_harms_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        line = PtyLine(tmp_path / "tty", live())
        dice = random.Random(11)

        def noisy(data: bytes) -> bytes:
            kind = dice.randrange(4)
            if kind == 0:
                return dice.randbytes(dice.randrange(1, 80))
            if kind == 1:
                at = dice.randrange(len(data))
                return data[:at] + bytes((data[at] ^ 1 << dice.randrange(8),)) + data[at + 1 :]
            return data if kind == 2 else dice.randbytes(dice.randrange(1, 6)) + data

        await line.plug()
        table = {"port": str(line.path), "timeout_s": 0.05, "retries": 2, "meter": [meter()]}
        async with reading(tmp_path, table) as bench:
            await until(bench.online, "the device", 20)
            line.harm = noisy
            await asyncio.sleep(3)
            line.harm = lambda data: data
            await records(bench, 2)
            assert bench.count("garbled") > 5
            await never_zero(bench)
            await numbered(bench)
        await line.unplug()

    run(work)


def test_a_silent_meter_does_not_hold_up_the_others_on_its_line(tmp_path: Path) -> None:
    async def work() -> None:
        line = PtyLine(tmp_path / "tty", live(), SimMeter(3).sdm120(**TRUTH))
        line.harm = lambda data: b"" if data[0] == 2 else data
        await line.plug()
        meters = [meter("press"), meter("ghost", 2), meter("mill", 3)]
        table = {"port": str(line.path), "baud": 115_200, "timeout_s": 0.3, "meter": meters}
        async with reading(tmp_path, table) as bench:
            await until(lambda: bench.count("alarm"), "the alarm", 20)
            assert bench.count("alarm") == "ghost: no answer within 0.3 s"
            assert bench.parts.devices.get("ghost") is None, "nobody has heard of it"
            before = {name: bench.count("reads", name) for name in ("press", "mill")}
            await asyncio.sleep(4.0)
            for name, reads in before.items():
                assert bench.count("reads", name) >= reads + 8, "10 periods, and one long pause"
                await never_zero(bench, name)
                await numbered(bench, name)
                # What was not read because the line was busy is told at the end.
                assert bench.count("failed", name) == 0
        async with reading(tmp_path, table) as bench:
            for name in before:
                gaps = await bench.gaps(name, overrun=True)
                assert sum(gap.samples for gap in gaps) > 0
                assert all(gap.first_seq > gap.last_seq for gap in gaps)
        await line.unplug()

    run(work)


def test_a_port_that_is_not_there_is_named_and_taken_when_it_comes(tmp_path: Path) -> None:
    async def work() -> None:
        line = PtyLine(tmp_path / "tty", live())
        table = {"port": str(line.path), "timeout_s": 0.3, "meter": [meter()]}
        async with reading(tmp_path, table) as bench:
            await until(lambda: bench.count("open_failures") > 1, "failures")
            assert "cannot be opened: " in bench.count("alarm")
            assert str(line.path) in bench.count("alarm")
            await line.plug()
            await until(bench.online, "the device", 20)
            await records(bench)
            await line.unplug()
            await until(lambda: not bench.online(), "the device to be offline", 20)
            assert bench.count("disconnects") == 1
            await line.plug()
            await until(bench.online, "the device again", 20)
            await records(bench)
            reasons = [gap.reason for gap in await bench.gaps()]
            assert set(reasons) == {"sensor_fault"}
            await never_zero(bench)
            await numbered(bench)
        await line.unplug()

    run(work)
