"""Meters as devices: pymodbus's server on TCP, the real link, committer and store."""

import asyncio
import contextlib
import itertools
import math
from pathlib import Path

import pytest

from clampgateway.link import LinkSession
from clampgateway.model import GAP
from clampgateway.sources.modbus_meter import ModbusMeterSource
from support.gateway_parts import running, serving, until
from support.meterbench import (
    NUMBERS,
    MeterBench,
    live,
    meter,
    never_zero,
    numbered,
    read_on_tcp,
    reading,
    records,
    run,
    settings,
)
from support.meters import SDM120, TRUTH, on_tcp


def test_a_meter_on_tcp_becomes_a_device(tmp_path: Path) -> None:
    async def work() -> None:
        async with on_tcp(live()) as port:
            table = {"host": "127.0.0.1", "port": port, "meter": [meter(name="Press 3")]}
            async with reading(tmp_path, table) as bench:
                await until(bench.online, "the device")
                await records(bench)
                device = bench.parts.devices.at("press")
                assert device.identity is not None
                assert (device.identity.name, device.identity.boot) == ("Press 3", 1)
                assert device.identity.board == "Eastron SDM120-Modbus"
                assert device.source == f"127.0.0.1:{port} unit 1"
                readings = await bench.readings()
                assert len(readings) >= 3
                for each in readings:
                    assert (each.channels, each.quality, each.flags) == (NUMBERS, "good", ())
                    assert each.dur_ms == 400
                about = device.description
                assert about is not None
                channel = {each.key: each for each in about.channels}
                assert channel["energy1"].unit == "kWh"
                assert channel["energy1"].uncertainty_pct == 1.0
                assert math.isnan(channel["current1"].uncertainty_pct)
                assert channel["current1"].rate_hz == 2.5
                steps = [
                    after.t_ms - before.t_ms for before, after in itertools.pairwise(readings)
                ]
                # On the grid, on a machine that may be busy: none comes early.
                assert all(step > 200 for step in steps), steps
                assert await bench.gaps() == []
                assert [(e.kind, e.seq) for e in await bench.events()] == [("started", 0)]
                await numbered(bench)
                counts = bench.source.stats()
                assert (counts["alarm"], counts["timeouts"], counts["retries"]) == ("", 0, 0)
                assert device.link["undescribed"] == device.link["malformed"] == 0

    run(work)


def test_numbers_go_on_over_restarts_of_the_gateway(tmp_path: Path) -> None:
    """Each start is a power-up of its own; the first item of the next tells what could lack."""

    async def work() -> None:
        async with on_tcp(live()) as port:
            table = {"host": "127.0.0.1", "port": port, "meter": [meter()]}
            for _start in range(3):
                async with reading(tmp_path, table) as bench:
                    await until(lambda bench=bench: bench.online(), "the device")
                    await records(bench)
            async with reading(tmp_path, table) as bench:
                await until(bench.online, "the device")
                assert bench.count("boot", "press") == 4
                await until(lambda: not bench.count("kept", "press"), "commits")
                await numbered(bench)
                firsts = [item for item in await bench.items() if item.seq == 0]
                assert [(item.boot, item.kind == GAP) for item in firsts] == [
                    (1, False),
                    (2, True),
                    (3, True),
                    (4, True),
                ]
                told = [(g.reason, g.of_boot, g.first_seq, g.last_seq) for g in await bench.gaps()]
                assert told == [("power_cut", boot, 0, 0xFFFFFFFF) for boot in (1, 2, 3)]

    run(work)


def test_a_source_that_is_started_again_goes_on_in_its_power_up(tmp_path: Path) -> None:
    """As the supervisor does after an error."""

    async def work() -> None:
        async with on_tcp(live()) as port:
            table = {"host": "127.0.0.1", "port": port, "meter": [meter()]}
            async with running(tmp_path) as parts:
                bench = MeterBench(parts, table)
                for _start in range(3):
                    async with serving(bench.source.run):
                        await until(bench.online, "the device")
                        await records(bench)
                    assert not bench.online()
                assert bench.count("boot", "press") == 1
                await until(lambda: not parts.committer.pending, "commits")
                await numbered(bench)
                assert await bench.gaps() == [], "no power was cut"

    run(work)


def test_an_exception_withholds_what_it_refuses_and_no_more(tmp_path: Path) -> None:
    async def work() -> None:
        sim = live()
        async with read_on_tcp(sim, tmp_path) as bench:
            sim.refused = {SDM120["kwh"], SDM120["volts"], SDM120["hz"]}
            await records(bench, 5)
            readings = await bench.readings()
            last = readings[-1]
            assert last.quality == "good"
            # Both of voltage1; import, export of energy1 stand beside the frequency.
            assert last.channels["voltage1"] == {"rms": None, "frequency": None}
            assert last.channels["current1"] == NUMBERS["current1"]
            assert set(last.channel_flags) == {"voltage1", "energy1", "reactive1"}
            assert last.channel_flags["voltage1"] == ("bad",)
            faults = await bench.faults()
            text = "illegal data address (2) for 2 registers from 0 by function 4"
            assert ("fault", "voltage1", text) in faults
            assert bench.online()
            sim.refused = set()
            await records(bench)
            assert (await bench.readings())[-1].channels == NUMBERS
            cleared = [channel for kind, channel, _t in await bench.faults() if "_" in kind]
            assert sorted(cleared) == ["energy1", "reactive1", "voltage1"]
            gaps = {gap.channel: gap for gap in await bench.gaps()}
            assert set(gaps) == {"energy1", "reactive1", "voltage1"}
            partial = bench.count("partial", "press")
            assert {gap.samples for gap in gaps.values()} == {partial}
            assert bench.count("exceptions") >= 3 * partial - 3
            await never_zero(bench)
            await numbered(bench)

    run(work)


def test_a_meter_that_refuses_everything_is_online_and_bad(tmp_path: Path) -> None:
    async def work() -> None:
        sim = live()
        sim.refused = set(range(400))
        async with read_on_tcp(sim, tmp_path) as bench:
            assert {each.quality for each in await bench.readings()} == {"bad"}

    run(work)


def test_a_wrong_value_is_withheld_and_told(tmp_path: Path) -> None:
    async def work() -> None:
        sim = live()
        async with read_on_tcp(sim, tmp_path) as bench:
            sim.sdm120(pf=math.nan)
            await records(bench, 4)
            last = (await bench.readings())[-1]
            assert last.channels["current1"] == {**NUMBERS["current1"], "pf": None}
            assert last.channel_flags == {"current1": ("gap",)}
            assert bench.count("bad_values", "press") >= 4
            ((kind, channel, text),) = await bench.faults()
            assert (kind, channel) == ("fault", "current1")
            assert text == "pf is nan"
            sim.sdm120(pf=TRUTH["pf"])
            await records(bench)
            await never_zero(bench)

    run(work)


def test_a_converter_that_goes_and_comes_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with contextlib.AsyncExitStack() as first:
            port = await first.enter_async_context(on_tcp(live()))
            table = {"host": "127.0.0.1", "port": port, "timeout_s": 0.3, "meter": [meter()]}
            async with reading(tmp_path, table) as bench:
                await until(bench.online, "the device")
                await first.aclose()
                await until(lambda: not bench.online(), "the device to be offline", 20)
                assert "Connect call failed" in bench.count("alarm")
                async with on_tcp(live(), port=port):
                    await until(bench.online, "the device again", 20)
                    await records(bench)
                    assert bench.count("alarm") == ""
                    assert bench.count("opens") == 2
                    await never_zero(bench)
                    await numbered(bench)

    run(work)


def test_two_meters_under_one_id_are_refused_and_named(tmp_path: Path) -> None:
    """Of two lines; on one line the configuration refuses them."""

    async def work() -> None:
        async with on_tcp(live()) as port, on_tcp(live()) as other:
            table = {"host": "127.0.0.1", "port": port, "meter": [meter()]}
            async with reading(tmp_path, table) as bench:
                await until(bench.online, "the device")
                source = ModbusMeterSource(
                    settings(**{**table, "port": other}),
                    bench.links,
                    bench.parts.committer,
                    bench.clocks,
                )
                task = asyncio.create_task(source.run())
                await until(lambda: "two live links" in str(source.stats()["alarm"]), "refusal")
                await until(lambda: "two live links" in bench.count("alarm"), "refusal", 20)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                await until(bench.online, "the device again", 20)
                await records(bench)
                await numbered(bench)

    run(work)


def test_commands_are_answered(tmp_path: Path) -> None:
    async def work() -> None:
        async with on_tcp(live()) as port:
            table = {"host": "127.0.0.1", "port": port, "meter": [meter()]}
            async with reading(tmp_path, table) as bench:
                await until(bench.online, "the device")
                answer = await bench.links.command("press", "identify")
                assert answer.status == "unknown_command"
                assert "takes none" in answer.body["error"]
                assert (await bench.links.command("press", "describe")).status == "ok"
                await records(bench)
                await numbered(bench)

    run(work)


def test_a_host_that_says_nonsense_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes on a connection, no value comes of it, and the meter behind it is read."""
    for name in ("SILENT_RETRY_US", "LINE_RETRY_US"):
        monkeypatch.setattr(f"clampgateway.sources.modbus_meter.meter.{name}", 0)
    answer = bytes.fromhex("00010000000701040443668000")
    nonsense = [
        b"",  # silence
        answer[:7],  # half an answer
        b"\xff" * 300,
        bytes.fromhex("0001000000030104"),  # shorter than it says
        bytes.fromhex("00010000ffff010404"),  # an impossible length
        bytes.fromhex("99990000000701040443668000"),  # the number of another request
        bytes.fromhex("00010000000709040443668000"),  # another unit
        bytes.fromhex("000100000003018302"),  # an exception of another function
        bytes.fromhex("0001000000050103024366"),  # another function
        bytes.fromhex("00010000000301840b"),  # a converter that cannot reach the meter
        bytes.fromhex("0001000000030104000000"),  # no registers
    ]
    said = itertools.cycle(nonsense)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while request := await reader.read(512):
                data = next(said)
                right = data[:2] == answer[:2]
                writer.write(request[:2] + data[2:] if right else data)
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        table = {
            "host": "127.0.0.1",
            "port": port,
            "timeout_s": 0.05,
            "meter": [meter(period_s=0.2)],
        }
        async with reading(tmp_path, table) as bench:
            await until(lambda: bench.count("requests") > 3 * len(nonsense), "requests", 30)
            for each in await bench.readings():
                numbers = [n for c in each.channels.values() for n in c.values()]
                assert set(numbers) == {None}, "nothing was read"
            for counter in ("timeouts", "garbled", "exceptions", "wrong_lengths"):
                assert bench.count(counter) > 0, counter
            server.close()

    run(work)


def test_a_meter_s_link_without_memory_ends_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = LinkSession.receive
    failures = iter([True, False, False, True])

    def short(self: LinkSession, data: bytes, now_us: int) -> None:
        if self.state == "accepted" and next(failures, False):
            raise MemoryError
        receive(self, data, now_us)

    async def work() -> None:
        async with on_tcp(live()) as port:
            table = {"host": "127.0.0.1", "port": port, "meter": [meter()]}
            async with reading(tmp_path, table) as bench:
                await until(bench.online, "the device")
                await records(bench, 1)
                monkeypatch.setattr(LinkSession, "receive", short)
                await records(bench, 8)
                assert bench.parts.committer.memory_errors == 2
                assert bench.online()
                await numbered(bench)

    run(work)


def test_what_the_store_does_not_take_waits_in_the_meter(tmp_path: Path) -> None:
    async def work() -> None:
        async with on_tcp(live()) as port:
            table = {"host": "127.0.0.1", "port": port, "meter": [meter(period_s=0.2)]}
            async with reading(tmp_path, table) as bench:
                await until(bench.online, "the device")
                await records(bench, 1)
                bench.parts.committer._congested = True
                have = len(await bench.readings())
                await until(lambda: bench.count("kept", "press") >= 8, "what waits", 20)
                assert len(await bench.readings()) <= have + 3
                assert bench.online(), "it is we who do not listen"
                bench.parts.committer._congested = False
                await records(bench, 2)
                await numbered(bench)
                assert bench.count("dropped", "press") == 0

    run(work)
