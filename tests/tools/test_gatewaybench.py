"""The benchmark of the gateway: its devices, its subscriber, its floor, and a small run."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from clampgateway.model import RECORD
from clamptools import cli
from clamptools.demo.processes import free_ports
from clamptools.errors import UserError
from clamptools.framedevice import FrameDevice
from clamptools.gatewaybench import floor, peers, thingsboard
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


def test_a_peer_that_is_not_here_is_named(tmp_path: Path) -> None:
    found = peers.peers_of("thingsboard", tmp_path, 300, str(tmp_path / "no-gateway"))
    assert "no-gateway is not here" in found["thingsboard"]["skipped"]
    assert peers.peers_of("none", tmp_path, 300) == {}
    with pytest.raises(UserError, match="kura is no peer"):
        peers.peers_of("kura", tmp_path, 300)


def test_a_bridge_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_debian("mosquitto")
    monkeypatch.setattr(peers, "MESSAGES", 2000)
    bridge = peers.peers_of("mosquitto_bridge", tmp_path, 300)["mosquitto_bridge"]
    assert bridge["cpu_us_per_record"] > 0
    assert bridge["measured_per_s"] > 0


def test_what_thingsboard_gets_is_counted_once(tmp_path: Path) -> None:
    """Its gateway is played here: it asks for its limits, and brings everything twice."""
    need_debian("mosquitto")
    near, far = free_ports(2)
    access = tmp_path / "access"
    access.write_text(thingsboard.ACCESS)
    brokers = (
        peers.broker(tmp_path, "near", near),
        peers.broker(tmp_path, "far", far, f"acl_file {access}"),
    )
    command = [
        "-m",
        "clamptools.gatewaybench.thingsboard_server",
        str(near),
        str(far),
        "250",
        "300",
    ]
    server = subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    limits: list[dict[str, object]] = []
    devices, out = Client(CallbackAPIVersion.VERSION2), Client(CallbackAPIVersion.VERSION2)
    out.username_pw_set(thingsboard.USER)
    out.on_message = lambda _client, _user, message: limits.append(json.loads(message.payload))

    def forward(_client: Client, _user: object, message: MQTTMessage) -> None:
        device = message.topic.split("/")[1]
        telemetry = json.dumps({device: [json.loads(message.payload)]})
        for _ in range(2):
            out.publish("v1/gateway/telemetry", telemetry, 1)

    devices.on_message = forward
    try:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        for client, port, topic in (
            (out, far, "v1/devices/me/rpc/response/+"),
            (devices, near, "bench/+/data"),
        ):
            client.connect("127.0.0.1", port)
            client.subscribe(topic, 1)
            client.loop_start()
        out.publish("v1/devices/me/rpc/request/7", json.dumps({"method": "getSessionLimits"}), 1)
        assert server.stdout.readline() == "ready\n"
        server.stdin.write("\n")
        server.stdin.flush()
        counted = json.loads(server.stdout.readline())
        assert counted["messages"] >= 250
        assert limits[0]["rateLimits"] == limits[0]["gatewayRateLimits"]
        assert server.wait(10) == 0
    finally:
        server.kill()
        server.communicate()
        for client in (devices, out):
            client.loop_stop()
        for each in brokers:
            each.stop()


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
