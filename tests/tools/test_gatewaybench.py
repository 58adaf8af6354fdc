"""The benchmark of the gateway: its devices, its subscriber, its floor, and a small run."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clampgateway.model import RECORD
from clamptools import cli
from clamptools.framedevice import FrameDevice
from clamptools.gatewaybench import floor
from clamptools.gatewaybench.fleet import BenchDevice
from clamptools.gatewaybench.listener import Listener
from clamptools.gatewaybench.procfs import Usage, memory_mb, usage
from clampwire.codec import Codec
from support.mosquitto import Mosquitto
from support.skips import need_debian

CODEC = Codec()


def test_a_cheap_record_is_a_record() -> None:
    """The same bytes as the codec makes, but for the time."""
    cheap, plain = BenchDevice("d"), FrameDevice("d", time.monotonic)
    for _ in range(3):
        assert cheap.make() == plain.make()
    for seq in range(3):
        _name, one = CODEC.decode(cheap.made[seq])
        _name, other = CODEC.decode(plain.made[seq])
        assert one._replace(end_ms=0) == other._replace(end_ms=0)
        assert cheap.made[seq][0] == RECORD
        assert abs(one.end_ms - other.end_ms) < 100


def publish(topic: str, payload: bytes) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic.encode() + payload
    size, length = bytearray(), len(body)
    while True:
        length, digit = divmod(length, 128)
        size.append(digit | 0x80 * bool(length))
        if not length:
            return b"\x30" + bytes(size) + body


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_listener_counts_whatever_the_pieces(step: int) -> None:
    listener = Listener()
    listener.connected()
    many = json.dumps([{"t": 1, "seq": seq} for seq in range(2, 40)]).encode()
    stream = (
        b"\x20\x02\0\0\x90\x03\0\1\0"
        + publish("bench/hall/d/data", b'{"t":1,"seq":0}')
        + publish("bench/hall/d/data", b'{"t":1,"seq":1,"ch":{}}')
        + publish("bench/hall/d/history", many)
        + publish("bench/hall/e/data", b'{"seq":0}')
        + publish("bench/hall/e/data", b'{"seq":0}')
    )
    for at in range(0, len(stream), step):
        listener.feed(stream[at : at + step], 10.0 + at)
    counts = listener.counts()
    assert (counts["records"], counts["doubled"], counts["connections"]) == (41, 1, 1)
    assert counts["lanes"]["data"]["messages"] == 4
    history = counts["lanes"]["history"]
    assert (history["messages"], history["records"], history["bytes"]) == (1, 38, len(many))
    assert [sample[:3] for sample in counts["samples"]][:2] == [
        ("data", "d", 0),
        ("history", "d", 5),
    ]
    assert listener.counts()["samples"] == []


def test_floor_appends_and_publishes(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    assert floor.append(str(tmp_path), 250, 64, 100) >= 0
    assert (tmp_path / "floor.log").stat().st_size == 250 * 64
    broker = mosquitto(extra="set_tcp_nodelay true")
    assert floor.publish(broker.port, 333, 300, 100) > 0


def test_usage_is_that_of_a_process() -> None:
    before = usage(os.getpid())
    assert usage(os.getpid()).since(before).cpu_s >= 0
    assert Usage(3.0, 2.0, 10).since(Usage(1.0, 0.5, 4)) == Usage(2.0, 1.5, 6)
    now_mb, peak_mb = memory_mb(os.getpid())
    assert 0 < now_mb <= peak_mb


def test_arguments_that_cannot_be_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "gateway", "--tcp", "0", "--ptys", "0"]) == 2
    assert cli.main(["bench", "gateway", "--tcp", "300"]) == 2
    assert cli.main(["bench", "gateway", "--rate", "0"]) == 2
    assert "at most 256" in capsys.readouterr().err


@pytest.mark.timeout(150)
def test_a_small_run_brings_everything(
    capsys: pytest.CaptureFixture[str], report_line: Callable[[str], None]
) -> None:
    need_debian("mosquitto")
    arguments = ["--tcp", "3", "--ptys", "2", "--rate", "100", "--seconds", "2", "--outage", "2"]
    assert cli.main(["bench", "gateway", *arguments, "--peers", "none", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    data, history = result["lanes"]["data"], result["lanes"]["history"]
    assert data["records"] == pytest.approx(200, rel=0.3)
    assert data["messages"] == data["records"]
    assert history["records"] > 100
    assert history["messages"] < history["records"] / 4
    assert result["doubled"] == 0
    assert result["latency_p99_ms"] >= result["latency_p50_ms"] > 0
    assert result["cpu_us_per_record"] > result["floor"]["cpu_us_per_record"] > 0
    assert result["ratio_to_floor"] > 1
    assert 20 < result["rss_mb"] < 120
    assert result["bytes_written_per_record"] > 0
    report_line(f"bench gateway, small: {result['cpu_us_per_record']} us a record")
