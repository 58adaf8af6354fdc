"""A live gateway that runs out of descriptors or of memory for a while, and SQLite that does.

The limits are the kernel's, set from outside upon the running process, so nothing in the gateway
knows of the test. Truth is what the devices made and what was acknowledged to them.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clampgateway.model import RECORD, Item
from clampgateway.store import Store, StoreError
from clamptools.framedevice import FrameDevice
from support.faultserver import Life, account, fault_server, talk
from support.faulttable import FaultTable
from support.framethread import FrameThread
from support.gatewayprocess import GatewayProcess
from support.ports import free_port, wait_for
from support.ptythread import ThreadedDevice
from support.sqlitevfs import library
from support.tcpbench import HOST

pytestmark = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="no prlimit: this system cannot limit a live process"
)


@contextlib.contextmanager
def limited(pid: int, what: int, soft: int) -> Iterator[None]:
    """A soft limit of a live process, within the block."""
    old = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, old[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, old)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    """A running gateway with a TCP source, and a serial port that is not there yet."""
    toml = f'[[tcp]]\nport = {free_port()}\n[[serial]]\nport = "{tmp_path}/fixed/press"\n'
    running = GatewayProcess(tmp_path, toml).start()
    yield running
    if running.process is not None:
        running.process.kill()
        running.process.wait()


def stats(gateway: GatewayProcess) -> dict[str, Any]:
    return gateway.get("/api/v1/stats")


def port_of(gateway: GatewayProcess) -> int:
    return stats(gateway)["sources"]["tcp"]["port"]


def settle(gateway: GatewayProcess, *devices: FrameThread) -> tuple[int, int, float]:
    """(lost, doubled, seconds) when all that was made is acknowledged and the gateway ended."""
    begun_s = time.monotonic()
    for each in devices:
        each.making = False
    wait_for(lambda: not any(each.device.waiting for each in devices), 15, "acknowledgements")
    recovery_s = time.monotonic() - begun_s
    for each in devices:
        each.end()
    assert gateway.end() == 0, gateway.log()
    store = Store(gateway.state / "store.db")
    found = [stored.item for stored in store.read_after(0, 1_000_000)]
    assert store.alarm == ""
    store.close()
    lost = doubled = 0
    for each in devices:
        own = [item for item in found if item.device == each.device.device]
        there = {item.seq: item.payload for item in own}
        assert all(each.device.made[seq] == payload for seq, payload in there.items())
        lost += len(each.device.acked - set(there))
        doubled += len(own) - len(there)
        assert set(each.device.made) == each.device.acked
    return lost, doubled, recovery_s


def test_a_gateway_without_free_descriptors(gateway: GatewayProcess, faults: FaultTable) -> None:
    assert gateway.process is not None
    pid, port = gateway.process.pid, port_of(gateway)
    old, new = FrameThread("lathe", port), FrameThread("mill", port, making=False)
    wait_for(lambda: old.device.acked and new.device.ready, 10, "the first devices")
    press = ThreadedDevice(gateway.folder / "fixed", "press")
    (gateway.folder / "fixed").mkdir()
    acked = len(old.device.acked)
    with limited(pid, resource.RLIMIT_NOFILE, 3):  # those that are open stay
        late = FrameThread("late", port)
        press.plug()
        new.making = True  # a device that the store has not seen: its facts are to be written
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 0.5):
            pass
        time.sleep(1.2)  # the late one tries every 0.05 s
        wait_for(lambda: len(old.device.acked) > acked + 20, 10, "acks: nobody else is stopped")
        assert not late.device.ready
    begun_s = time.monotonic()
    wait_for(lambda: late.device.acked, 10, "a device that waited")
    wait_for(lambda: gateway.device("press").get("online"), 10, "the port")
    recovery_s = time.monotonic() - begun_s
    seen = stats(gateway)
    assert gateway.get("/healthz")["status"] == "ok"
    press.unplug()
    (one,) = seen["sources"]["serial"]["ports"].values()
    injected = (
        seen["sources"]["tcp"]["accept_failures"]
        + one["open_failures"]
        + seen["store"]["facts_failures"]
        + seen["sources"]["serial2"]["scan_failures"]
    )
    assert seen["sources"]["tcp"]["accept_failures"] >= 2
    assert one["open_failures"] >= 2
    assert seen["sources"]["serial2"]["scan_failures"] >= 2
    assert seen["store"]["facts_failures"] >= 1
    assert all(part["failures"] == 0 for part in seen["parts"].values())
    lost, doubled, _ = settle(gateway, old, new, late)
    assert "Traceback" not in gateway.log()
    faults.add("no free descriptors (EMFILE)", injected, lost, doubled, 0, recovery_s)


def test_a_store_that_cannot_be_opened_again_for_lack_of_descriptors(
    tmp_path: Path, faults: FaultTable
) -> None:
    """Its disk fails, so the file is closed to be opened anew; and then there is no descriptor."""
    device = FrameDevice("lathe", time.monotonic)
    rounds, recovery_s = 2, 0.0
    with fault_server() as server:
        server.make_store(tmp_path)
        line = None
        for seed in range(1, 20):
            server.start(Life(str(tmp_path), errors=("EIO",), seed=seed))
            line = server.connect()
            if line is not None:
                break
            server.ended()  # its disk failed at the start already
        assert line is not None

        def made() -> None:
            if device.waiting < 50:
                device.make()

        def closed() -> bool:
            made()
            with contextlib.suppress(FileNotFoundError):
                links = [link.readlink() for link in Path(f"/proc/{server.pid}/fd").iterdir()]
                return not any(link.name == "store.db" for link in links)
            return False

        def until(end_s: float) -> Callable[[], bool]:
            return lambda: made() or time.monotonic() > end_s

        with line:
            for _ in range(rounds):
                known = len(device.acked)
                assert talk(device, line, lambda known=known: made() or len(device.acked) > known)
                with limited(server.pid, resource.RLIMIT_NOFILE, 3):
                    assert talk(device, line, closed)
                    assert talk(device, line, until(time.monotonic() + 0.1))
                    acked = len(device.acked)
                    assert talk(device, line, until(time.monotonic() + 0.3))
                    assert len(device.acked) == acked, "acknowledged without a store"
                begun_s = time.monotonic()
                assert talk(device, line, lambda acked=acked: len(device.acked) > acked)
                recovery_s = max(recovery_s, time.monotonic() - begun_s)
            end_s = time.monotonic() + 10
            assert talk(device, line, lambda: not device.waiting or time.monotonic() > end_s)
        assert device.waiting == 0
        server.stop()  # its disk may fail at the very end
    lost, doubled = account(tmp_path, device)
    faults.add("store cannot be reopened (EMFILE)", rounds, lost, doubled, 0, recovery_s)


def test_a_gateway_whose_memory_is_bounded_in_a_flood(
    gateway: GatewayProcess, faults: FaultTable
) -> None:
    assert gateway.process is not None
    pid, port = gateway.process.pid, port_of(gateway)
    good = FrameThread("lathe", port)
    wait_for(lambda: good.device.acked, 10, "the first device")
    before = _address_space(pid)
    floods: list[FrameThread] = []
    end_s = time.monotonic() + 10
    rounds = 0
    while time.monotonic() < end_s:
        # Not a byte more than it had before the flood.
        with limited(pid, resource.RLIMIT_AS, before):
            floods += [FrameThread(f"flood-{rounds}-{one}", port, flood=True) for one in range(2)]
            time.sleep(0.6)
        time.sleep(0.6)  # so that the reserve comes back
        rounds += 1
        if rounds >= 2 and stats(gateway)["gateway"]["memory_errors"] >= 2:
            break
    assert gateway.process.poll() is None, gateway.log()
    wait_for(lambda: gateway.get("/healthz")["status"] != "failing", 10, "all parts")
    seen = stats(gateway)
    lost, doubled, recovery_s = settle(gateway, good, *floods)
    injected = seen["gateway"]["memory_errors"] + seen["committer"]["memory_errors"]
    faults.add("no memory in a flood", injected, lost, doubled, 0, recovery_s)
    assert seen["gateway"]["memory_short"] >= 1
    assert not any(part["error"] for part in seen["parts"].values()), "a part that stays away"
    assert "is short" not in str(seen)


def _address_space(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def test_sqlite_without_memory_at_any_of_its_allocations(
    tmp_path: Path, faults: FaultTable
) -> None:
    """SQLite's own limit, drawn closer from far to nothing, at each step of a store in use."""
    lib = library()
    limit = lib.sqlite3_hard_heap_limit64
    limit.argtypes, limit.restype = [ctypes.c_int64], ctypes.c_int64
    lib.sqlite3_memory_used.restype = ctypes.c_int64
    store = Store(tmp_path / "store.db")
    made: dict[int, bytes] = {}
    told: list[int] = []
    injected = seq = 0
    reasons: set[str] = set()
    try:
        for room in range(0, 24_000, 120):
            batch = []
            for _ in range(3):
                seq += 1
                made[seq] = struct.pack("<BII", RECORD, 1, seq) + bytes(seq % 900)
                device = f"dev-{seq // 40}"
                batch.append(Item(device, 1, seq, RECORD, seq, seq, True, 7, made[seq]))
            limit(lib.sqlite3_memory_used() + room)
            try:
                new, _ = store.append(batch, {"mqtt": seq - 3})
            except StoreError as error:
                limit(0)
                injected += 1
                reasons.add(str(error).rsplit(": ", 1)[1])
                new, _ = store.append(batch, {"mqtt": seq - 3})
            limit(0)
            told += [stored.item.seq for stored in new]
    finally:
        limit(0)
    assert reasons == {"no memory"}
    assert store.alarm == ""
    assert store.stats()["reopened"] == injected
    store.close()
    again = Store(tmp_path / "store.db")
    found = [stored.item for stored in again.read_after(0, 1_000_000)]
    again.close()
    assert {item.seq: item.payload for item in found} == made
    assert sorted(told) == sorted(made), "told as new more than once, or never"
    faults.add(
        "SQLite without memory", injected, len(set(made) - {one.seq for one in found}),
        len(found) - len(made),
    )  # fmt: skip
