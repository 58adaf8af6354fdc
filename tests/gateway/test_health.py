"""Health, supervisor, log lines and the service manager's socket."""

import asyncio
import logging
import os
import socket
from pathlib import Path

import pytest

from clampgateway import supervisor as supervisor_module
from clampgateway.health import Health, LoopLag, Progress
from clampgateway.logs import REPEATS, LineFormatter, RepeatFilter
from clampgateway.model import GatewayError
from clampgateway.sdnotify import Notifier
from clampgateway.supervisor import Supervisor


class Clock:
    """Seconds that pass only when told to, or when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def test_the_worst_reason_decides() -> None:
    texts = {"a": "", "b": "", "c": ""}
    health = Health()
    health.watch("a", lambda: texts["a"], vital=False)
    health.watch("b", lambda: texts["b"], vital=True)
    health.watch("c", lambda: texts["c"], vital=False)
    assert health.report().status == "ok"
    texts["a"] = "unplugged"
    assert health.report().status == "degraded"
    texts["b"] = "disk full"
    report = health.report()
    assert report.status == "failing"
    assert [reason.part for reason in report.reasons] == ["a", "b"]
    assert [reason.part for reason in report.vital] == ["b"]


def test_loop_lag_is_what_was_too_much() -> None:
    clock = Clock()
    lag = LoopLag(1.0, clock)
    clock.now = 1.5
    lag.tick()
    assert (lag.lag_s, lag.problem(), lag.late) == (0.5, "", 0)
    clock.now += 4.0
    lag.tick()
    assert "blocked for 3.0 s" in lag.problem()
    clock.now += 1.0
    lag.tick()
    assert (lag.problem(), lag.max_s, lag.late) == ("", 3.0, 1)


def test_progress_is_any_answer_while_something_waits() -> None:
    clock = Clock()
    progress = Progress(clock)
    for attempts, waiting in ((1, 5), (2, 5), (2, 0), (2, 9)):
        progress.saw(attempts, waiting)
        assert progress.problem() == ""
        clock.now += 15
    progress.saw(2, 9)
    clock.now += 6
    assert progress.problem() == "9 items wait, nothing was committed for 36 s"
    progress.saw(3, 9)
    assert progress.problem() == ""


def test_nothing_to_do_is_no_standstill() -> None:
    clock = Clock()
    progress = Progress(clock)
    for _ in range(5):
        clock.now += 100
        progress.saw(0, 0)
        assert progress.problem() == ""


def test_a_failing_part_is_started_again_and_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    ran = []

    async def broken() -> None:
        ran.append(clock.now)
        if len(ran) == 8:
            await asyncio.Event().wait()
        raise (OSError("no such port"), GatewayError("refused"), KeyError("x"))[len(ran) % 3]

    async def steady() -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        parts = Supervisor(clock, clock.sleep)
        parts.start("steady", steady)
        parts.start("broken", broken)
        with pytest.raises(ValueError, match="broken"):
            parts.start("broken", broken)
        while len(ran) < 8:
            if ran and parts.problem("broken"):
                assert parts.stats()["broken"]["failures"] == len(ran)
            await asyncio.sleep(0)
        assert clock.slept == [1, 2, 4, 8, 16, 32, 60]
        assert parts.stats()["broken"] == {
            "starts": 8,
            "failures": 7,
            "error": "",
            "retry_in_s": 0.0,
        }
        assert parts.stats()["steady"]["failures"] == 0
        assert (parts.problem("broken"), parts.problem("nobody")) == ("", "")
        assert await parts.stop(["broken", "steady", "nobody"], 1) == []

    asyncio.run(scenario())
    crashes = [record for record in caplog.records if record.exc_info]
    assert len(caplog.records) == 7
    assert {record.exc_info[0] for record in crashes if record.exc_info} == {KeyError}


def test_a_group_of_named_reasons_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()

    async def fails(reason: str) -> None:
        raise GatewayError(reason)

    async def part() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails("no broker"))
            tasks.create_task(fails("no disk"))

    async def scenario() -> None:
        parts = Supervisor(clock)
        parts.start("part", part)
        for _ in range(20):
            await asyncio.sleep(0)
        assert parts.problem("part") == "no broker; no disk"
        await parts.stop(["part"], 1)

    asyncio.run(scenario())
    assert [record.exc_info for record in caplog.records] == [None]


def test_a_part_that_ran_long_starts_with_the_first_back_off() -> None:
    clock = Clock()
    ran = []

    async def returns() -> None:
        ran.append(clock.now)
        if len(ran) == 3:
            clock.now += supervisor_module.SETTLED_S
        if len(ran) == 5:
            await asyncio.Event().wait()

    async def scenario() -> None:
        parts = Supervisor(clock, clock.sleep)
        parts.start("part", returns)
        while len(ran) < 5:
            await asyncio.sleep(0)
            if parts.problem("part"):
                assert parts.problem("part") == "ended by itself"
        await parts.stop(["part"], 1)

    asyncio.run(scenario())
    assert clock.slept == [1, 2, 1, 2]


def test_a_part_that_does_not_stop_is_named() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                if over:
                    raise

    over: list[bool] = []

    async def scenario() -> None:
        parts = Supervisor()
        parts.start("stubborn", stubborn)
        await asyncio.sleep(0)
        assert await parts.stop(["stubborn"], 0.05) == ["stubborn"]
        over.append(True)
        assert await parts.stop(["stubborn"], 1) == []

    asyncio.run(scenario())


def _record(text: str, *args: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("clampgateway.link", level, "", 1, text, args, None)


def test_text_from_outside_stays_in_its_line() -> None:
    line = LineFormatter(journal=True).format(_record("said %s", "a\nroot: b\x1b[31m\x9b"))
    assert line == "<6>link: said a\\nroot: b\\x1b[31m\\x9b"


def test_lines_for_people_have_a_time_and_a_level() -> None:
    record = _record("part failed part=%s", "mqtt", level=logging.ERROR)
    record.created, record.msecs = 0.25, 250.0
    line = LineFormatter(journal=False).format(record)
    assert line == "1970-01-01T00:00:00.250Z error link: part failed part=mqtt"


def test_every_line_of_a_traceback_has_its_level() -> None:
    record = _record("failed", level=logging.ERROR)
    try:
        int("x")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    lines = LineFormatter(journal=True).format(record).splitlines()
    assert len(lines) > 2
    assert all(line.startswith("<3>link: ") for line in lines)


def test_repetition_is_held_back_and_counted() -> None:
    clock = Clock()
    repeats = RepeatFilter(clock)
    passed = sum(repeats.filter(_record("no port port=%s", "a")) for _ in range(100))
    assert (passed, repeats.held_back) == (REPEATS, 100 - REPEATS)
    assert repeats.filter(_record("no port port=%s", "b"))
    clock.now += 60
    later = _record("no port port=%s", "a")
    assert repeats.filter(later)
    assert later.getMessage() == f"no port port=a held_back={100 - REPEATS}"


def test_a_flood_of_different_lines_does_not_grow_the_filter() -> None:
    repeats = RepeatFilter(Clock())
    for number in range(5000):
        assert repeats.filter(_record("%d", number))
    assert len(repeats._seen) <= 1000


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(tmp_path: Path, *, abstract: bool) -> None:
    address = f"@clampwork-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        manager.settimeout(2)
        notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
        assert notifier.watchdog_s == 30.0
        notifier.send("READY=1", "STATUS=3 devices")
        assert manager.recv(100) == b"READY=1\nSTATUS=3 devices"
        assert notifier.failures == 0
    notifier.send("WATCHDOG=1")
    assert notifier.failures == 1


def test_without_a_service_manager_nothing_is_sent() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "30000000"})
    notifier.send("READY=1")
    assert (notifier.watchdog_s, notifier.failures) == (0.0, 0)
    other = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}
    assert Notifier(other).watchdog_s == 0.0
