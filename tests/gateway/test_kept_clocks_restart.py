"""Clocks that are kept over a restart of the gateway: sessions, the file, the whole process."""

from __future__ import annotations

import json
import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clampdevice.link import layout_of
from clampgateway.clocksync import Clocks
from clampgateway.link import keptclocks
from clampgateway.link.links import Links
from clampgateway.store import Store, facts, store
from clampwire import framing
from support.gatewayprocess import GatewayProcess
from support.linkbench import CODEC, UTC_MS, LinkBench
from support.ports import wait_for
from support.ptythread import ThreadedDevice


class KeepingBench(LinkBench):
    """A bench whose gateway finds the clocks of the one before."""

    def restart_gateway(self, change: Callable[[dict], None] | None = None) -> None:
        said = json.loads(json.dumps(self.links.clocks()))
        if change is not None:
            change(said)
        self.start_gateway()
        clocks = Clocks(lambda: self.now_us, self.utc_ms, "run")
        boots = {"lathe": max((boot for _key, boot, _seq in self.committed), default=0)}
        self.links = Links(self.devices, self.links.descriptions, boots, "gw-1", clocks, said)
        self.session = self.links.open("port-a")

    def dated(self) -> int:
        """UTC of device time 0 by the newest item, in ms."""
        self.device.record(1.0)
        self.run(0.3)
        newest = self.committed[max(self.committed)]
        assert newest.synced
        return newest.utc_ms - newest.end_ms


def keeping() -> KeepingBench:
    bench = KeepingBench()
    bench.restart_gateway()  # so that the run of its machine has a name
    bench.run(2)
    bench.device.record(1.0)
    bench.run(60)
    return bench


def test_a_restart_in_the_middle_of_a_power_up(caplog: pytest.LogCaptureFixture) -> None:
    bench = keeping()
    zero_ms = bench.dated()
    for _ in range(3):
        bench.restart_gateway()
        for _ in range(20):
            bench.device.record(1.0)
            bench.run(0.05)
        bench.run(3)
        assert bench.session.stats()["clock_resumed"] == 1
        assert abs(bench.dated() - zero_ms) <= 1
    assert {item.utc_ms - item.end_ms for item in bench.committed.values()} <= {
        zero_ms - 1, zero_ms, zero_ms + 1,
    }  # fmt: skip
    assert all(item.synced for item in bench.committed.values())
    assert not [text for text in caplog.messages if "does not fit" in text]


def test_a_session_of_the_same_gateway_goes_on_too() -> None:
    bench = keeping()
    zero_ms = bench.dated()
    bench.replug()
    bench.run(20)  # until the device notices by itself
    assert bench.session.stats()["clock_resumed"] == 1
    assert abs(bench.dated() - zero_ms) <= 1


def test_a_contradiction_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def spoil(said: dict) -> None:
        said["devices"]["lathe"][0][2] += 5e6

    bench = keeping()
    zero_ms = bench.dated()
    with caplog.at_level(logging.WARNING, "clampgateway"):
        bench.restart_gateway(spoil)
        bench.run(20)
    assert bench.session.stats()["clock_contradicted"] == 1
    assert bench.links.stats()["clock_contradicted"] == 1
    assert any("kept of this power-up does not fit" in text for text in caplog.messages)
    assert abs(bench.dated() - zero_ms) <= 60  # by the answers of this session alone


def test_an_earlier_power_up_is_dated_after_a_restart_of_the_gateway() -> None:
    bench = keeping()
    end_ms, utc_ms = bench.device.now_us // 1000, UTC_MS + bench.now_us // 1000
    bench.run(1)
    bench.device.power_cycle()
    bench.run(5)
    bench.restart_gateway()
    bench.run(20)
    layout = layout_of(bench.device.link.describe_crc)
    record = CODEC.encode("Record", 1, 900, end_ms, 5, layout, b"", b"\x01\x02\x03\x04")
    bench.step(up=framing.frame(record))
    item = bench.committed["lathe", 1, 900]
    assert item.synced
    assert abs(item.utc_ms - utc_ms) <= 60


# --- the file ------------------------------------------------------------------------------------


def test_clocks_are_written_with_the_facts_and_not_more_often(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    one = Store(path)
    file = facts.path_of(path)
    seen: set[bytes] = set()
    for second in range(0, 1800, 10):
        one.upkeep(float(second), (), {"devices": {"lathe": [[second]]}})
        if file.exists():
            seen.add(file.read_bytes())  # a time of change may be that of the one before
    assert 20 <= len(seen) <= 1800 / store.FACTS_S
    one.keep_clocks({"devices": {"lathe": [[1800]]}})
    one.close()
    two = Store(path)
    assert two.clocks() == {"devices": {"lathe": [[1800]]}}
    two.close()


def test_damaged_facts_cost_the_clocks_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    one = Store(path)
    one.assign("unit", "", "lathe", 1, 9)
    one.keep_clocks(keptclocks.dump({}, Clocks(lambda: 1, lambda: UTC_MS, "p")))
    one.close()
    file = facts.path_of(path)
    whole = file.read_bytes()
    spoiled = [whole[:at] for at in range(0, len(whole), 11)]
    spoiled += [
        whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :] for at in range(0, len(whole), 7)
    ]
    for data in spoiled:
        if data.strip() == whole.strip():
            continue  # but for its last line's end
        file.write_bytes(data)
        two = Store(path)
        assert two.clocks() is None
        assert two.assign("unit", "", "lathe", 1, 9) == 1
        two.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    running = GatewayProcess(tmp_path)
    yield running
    if running.process is not None:
        running.process.kill()
        running.process.wait()


def test_a_gateway_that_is_started_again_gives_the_same_times(gateway: GatewayProcess) -> None:
    device = ThreadedDevice(gateway.ports, "lathe")
    device.plug()
    try:
        for resumed in (0, 1):
            gateway.start()
            known = len(device.acknowledged())
            wait_for(lambda known=known: len(device.acknowledged()) > known + 40, 20, "acks")
            wait_for(lambda: link(gateway).get("clock_rtt_us"), 10, "its clock in the counters")
            found = link(gateway)
            assert (found["clock_resumed"], found["clock_contradicted"]) == (resumed, 0)
            assert gateway.end() == 0
        text = facts.path_of(gateway.state / "store.db").read_text()
        assert json.loads(text.partition("\n")[2])["clocks"]["devices"]["lathe"]
        # A file from a machine whose clock is an hour off by now: it is seen, told, and left.
        said = json.loads(text.partition("\n")[2])
        said["clocks"]["power_up"] = "another run"
        said["clocks"]["utc_minus_mono_ms"] += 3_600_000
        _write(facts.path_of(gateway.state / "store.db"), said)
        gateway.start()
        wait_for(lambda: link(gateway).get("clock_contradicted"), 10, "it")
        assert gateway.end() == 0
    finally:
        device.unplug()
    assert "kept of this power-up does not fit" in gateway.log()
    with closing(sqlite3.connect(gateway.state / "store.db")) as db:
        zeros = [zero for (zero,) in db.execute("SELECT utc_ms - end_ms FROM items")]
    assert len(zeros) > 80
    assert max(zeros) - min(zeros) < 30
    assert "Traceback" not in gateway.log()


def link(gateway: GatewayProcess) -> dict[str, float]:
    """Counters and gauges of the device's session."""
    return gateway.device("lathe").get("link", {})


def _write(path: Path, said: dict) -> None:
    content = json.dumps(said)
    path.write_text(f"{zlib.crc32(content.encode()):08x}\n{content}\n")
