"""The TCP source on sockets of loopback: devices that come, go, come twice, or are none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from pathlib import Path

import pytest

from clampgateway.config import ConfigError, Wrong, load
from clampgateway.parts import sections
from clampgateway.sources import SOURCES
from clampgateway.sources.tcp import Settings, TcpSource
from clampgateway.stream import WRITE_BYTES
from support.devicelink import DeviceModel
from support.linkbench import frame, hello
from support.serialbench import until
from support.tcpbench import HOST, TcpBench, TcpDevice, closed_by_peer, on_tcp_bench


async def talking(bench: TcpBench, *devices: TcpDevice) -> None:
    """Until all are online and nothing of theirs waits."""

    def done() -> bool:
        there = all(bench.devices.at(each.device.device).online for each in devices)
        return there and not any(each.device.unacknowledged for each in devices)

    await until(done, 10)


def test_several_devices_at_once_and_all_is_kept(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        joined = [await bench.join(DeviceModel(f"dev-{number}")) for number in range(6)]
        await until(lambda: sum(device.online for device in bench.devices) == 6)
        for turn in range(20):
            for device in joined:
                device.device.record(turn / 10)
            await asyncio.sleep(0.02)
        await talking(bench, *joined)
        models = [device.device for device in joined]
        assert sum(len(model.made) for model in models) == 120
        assert bench.missing(*models) == set()
        assert bench.store.conflicts == 0
        assert (bench.count("connections"), bench.count("accepted")) == (6, 6)
        peers = bench.tcp.stats()["peers"]
        assert isinstance(peers, dict)
        assert {peer["device"] for peer in peers.values()} == {f"dev-{n}" for n in range(6)}
        assert bench.devices.at("dev-3").source in peers
        assert all(peer.startswith(f"tcp:{HOST}:") for peer in peers)

    on_tcp_bench(tmp_path, work)


def test_a_connection_that_breaks_in_the_middle_of_a_frame_loses_nothing(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        device = await bench.join(DeviceModel())
        await talking(bench, device)
        for cut in range(1, 60, 7):
            device.device.record(float(cut))
            device.runs = False
            data = device.device.take()
            device.write(data[: min(cut, len(data) - 1)])
            await asyncio.sleep(0.01)
            device.disconnect()
            device.runs = True
            await until(bench.online)
            await device.connect()
            device.device.record(0.5)
            await talking(bench, device)
        assert bench.missing(device.device) == set()
        assert bench.store.conflicts == 0
        assert bench.count("disconnects") == device.connections - 1 == 9

    on_tcp_bench(tmp_path, work)


def test_a_device_that_comes_again_while_its_old_connection_stands(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        device = await bench.join(DeviceModel())
        await talking(bench, device)
        for turn in range(5):
            for _ in range(3):
                device.device.record(float(turn))
            device.leave_open()  # no FIN: the gateway cannot know
            if turn % 2:
                device.device.power_cycle()
            await device.connect()
            device.device.record(0.5)
            await talking(bench, device)
            await until(lambda: bench.count("connections") == 1)
            assert device.left_closed
            assert bench.online("lathe")
        assert bench.missing(device.device) <= {("lathe", *key) for key in device.device.lost}
        assert bench.store.conflicts == 0
        assert bench.count("replaced") == bench.links.stats()["replaced"] == 5
        assert bench.count("disconnects") == 0
        assert bench.links.stats()["refused_twins"] == 0

    on_tcp_bench(tmp_path, work)


def test_an_earlier_power_up_that_is_still_alive_is_a_second_device(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        first = await bench.join(DeviceModel(boots=4))
        first.device.record(1.0)
        await talking(bench, first)
        twin = await bench.join(DeviceModel(boots=1))  # another board with the same id
        twin.device.record(2.0)
        await until(lambda: "two live links" in bench.devices.at("lathe").refused)
        # Refused, each asks again after 0.3 s: whoever would be cut off for it is gone by then.
        await asyncio.sleep(0.5)
        assert bench.count("connections") == 2  # both are told, none is cut off
        assert bench.count("replaced") == 0
        await bench.committer.flush()
        kept = bench.kept()
        first.device.record(3.0)
        await asyncio.sleep(0.3)  # many turns of the device, each of which would send it
        await bench.committer.flush()
        assert bench.kept() == kept
        twin.disconnect()
        await talking(bench, first)
        assert bench.missing(first.device) == set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clampdevice.link._REFUSED_MS", 300)
        on_tcp_bench(tmp_path, work)


def test_who_is_no_device_is_closed_and_counted(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        device = await bench.join(DeviceModel())
        mute, noisy, prober = bench.opened(), bench.opened(), bench.opened()
        prober.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        frames = bench.opened()  # frames, but never a Hello

        async def noise() -> None:
            number = 0
            while True:
                number += 1
                with contextlib.suppress(OSError):
                    noisy.send(bytes((number * 7 + at * at) & 0xFF for at in range(500)))
                    frames.send(frame("Answer", number & 0xFFFF, 0, b"{}"))
                device.device.record(1.0)
                await asyncio.sleep(0.02)

        making = asyncio.create_task(noise())
        await until(lambda: bench.count("no_hello") == 4)
        making.cancel()
        for sock in (mute, noisy, prober, frames):
            assert closed_by_peer(sock)
            sock.close()
        await talking(bench, device)
        assert bench.missing(device.device) == set()
        assert bench.count("connections") == 1
        assert bench.links.stats()["errors"] > 0

    on_tcp_bench(tmp_path, work, hello_s=1.0)


def test_a_half_open_connection_is_noticed(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        device = await bench.join(DeviceModel())
        other = await bench.join(DeviceModel("mill"))
        await talking(bench, device, other)
        device.leave_open()
        for _ in range(60):  # longer than idle_s
            other.device.record(1.0)
            await asyncio.sleep(0.02)
        await until(lambda: bench.count("silent") == 1)
        await until(lambda: bench.online("mill"))
        assert device.left_closed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clampgateway.clocksync.INTERVAL_US", 200_000)
        on_tcp_bench(tmp_path, work, idle_s=0.7)


def test_a_peer_that_does_not_read_gets_a_bounded_buffer_and_is_closed(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        good = await bench.join(DeviceModel())
        await talking(bench, good)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.connect((HOST, bench.address))
            deaf.setblocking(False)
            nonce = most = 0
            while not bench.count("stuck"):
                nonce += 1
                with contextlib.suppress(OSError):
                    deaf.send(b"".join([hello("deaf", nonce)] * 50))  # each is answered
                streams = [each.stream for each in bench.tcp._connections if each.stream]
                most = max([most, *(stream.unsent for stream in streams)])
                good.device.record(1.0)
                await asyncio.sleep(0.01)
            assert 0 < most <= WRITE_BYTES
            assert bench.count("write_stalls") > 0
        await talking(bench, good)
        assert bench.missing(good.device) == set()

    on_tcp_bench(tmp_path, work, idle_s=1.0)


def test_a_peer_that_sends_byte_by_byte_is_served(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        device = await bench.join(DeviceModel())
        await talking(bench, device)
        device.runs = False
        device.device.record(1.5)
        for byte in device.device.take():
            device.write(bytes((byte,)))
            await asyncio.sleep(0.003)
        await until(lambda: bench.missing(device.device) == set())

    on_tcp_bench(tmp_path, work)


def test_one_connection_too_many_is_refused_and_told(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        first, second = await bench.join(DeviceModel("a")), await bench.join(DeviceModel("b"))
        await talking(bench, first, second)
        third = bench.opened()
        await until(lambda: closed_by_peer(third))
        third.close()
        assert (bench.count("refused"), bench.count("accepted")) == (1, 2)
        assert "max_connections=2" in str(bench.tcp.stats()["alarm"])
        second.disconnect()
        await until(lambda: bench.tcp.stats()["alarm"] == "")
        await bench.join(DeviceModel("c"))
        await until(lambda: bench.online("a", "c"))

    on_tcp_bench(tmp_path, work, max_connections=2)


def test_commits_that_stall_stop_the_reading_and_end_no_connection(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        device = await bench.join(DeviceModel(spool_items=4096))
        await talking(bench, device)
        async with bench.committer._committing:  # no commit can begin
            for _ in range(300):
                device.device.record(1.0)
                device.device.link.made(device.device.spool.next_seq - 1)
                await asyncio.sleep(0.005)
            await until(lambda: bench.count("pauses"))
            waited = bench.committer.pending
            await asyncio.sleep(1.2)  # longer than `idle_s`, after which who is silent is cut off
            assert bench.committer.pending == waited
        assert bench.count("silent") == 0
        await talking(bench, device)
        assert bench.missing(device.device) == set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clampgateway.stream.INFLIGHT_MAX", 20)
        patch.setattr("clampgateway.clocksync.INTERVAL_US", 200_000)
        on_tcp_bench(tmp_path, work, idle_s=0.8)


def test_a_reset_is_a_disconnect(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        sock = bench.opened()
        await until(lambda: bench.count("connections"))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        await until(lambda: bench.count("disconnects") == 1)
        assert bench.count("failures") == 0

    on_tcp_bench(tmp_path, work)


def test_the_end_closes_listener_and_connections_and_submits_what_came(tmp_path: Path) -> None:
    async def work(bench: TcpBench) -> None:
        task = asyncio.create_task(bench.tcp.run())
        port = bench.address
        await until(lambda: bench.address != port)
        device = await bench.join(DeviceModel())
        nobody = bench.opened()
        await talking(bench, device)
        device.device.record(1.0)
        device.turn()  # sent, and perhaps still in the kernel: one turn of our loop reads it
        await asyncio.sleep(0.05)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 1)
        assert closed_by_peer(nobody)
        nobody.close()
        assert (bench.count("stopped"), bench.count("connections")) == (2, 0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, bench.address), timeout=1)
        await bench.committer.flush()
        assert bench.missing(device.device) == set()

    on_tcp_bench(tmp_path, work)


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        source = TcpSource(Settings(port=port), None, None, None)  # pyright: ignore[reportArgumentType]
        with pytest.raises(Exception, match=f"cannot listen on {HOST} port {port} .*set tcp.port"):
            asyncio.run(source.run())


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_every_loopback_address_is_fine(bind: str) -> None:
    assert Settings(bind=bind).bind in (bind, HOST)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.168.1.5", "fe80::1", "8.8.8.8"])
def test_any_other_address_is_refused_and_the_reason_is_said(tmp_path: Path, bind: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f'[gateway]\nstate_dir = "s"\n[[tcp]]\nport = 0\n[[tcp]]\nbind = "{bind}"\n')
    with pytest.raises(ConfigError) as caught:
        load(file, sections())
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (6, "tcp[1].bind")
    assert f'is "{bind}", must be a loopback address' in problem.what
    assert "devices on TCP have no keys yet" in problem.hint
    assert issubclass(Wrong, ValueError)
    assert SOURCES["tcp"] == f"{TcpSource.__module__}:{TcpSource.__name__}"


def test_what_else_the_section_says_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[[tcp]]\nidle_s = 5\nmax_connections = 0\n[[tcp]]\nport = 8620\n")
    with pytest.raises(ConfigError) as caught:
        load(file, sections())
    told = [str(problem) for problem in caught.value.problems]
    assert "line 2: tcp[0].idle_s: is 5" in told[0]
    assert "line 3: tcp[0].max_connections: is 0; allowed: 1 to 4000" in told[1]
    assert "line 5: tcp[1].port: port 8620 is taken by [api]" in told[2]
