"""The whole gateway as a process: started from a file, asked over HTTP, stopped, killed, crowded.

Devices are the firmware's own link at the end of a pty; nothing here is a stand-in for a part of
the gateway.
"""

import contextlib
import json
import re
import signal
import socket
import sqlite3
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clampgateway.bridges import BRIDGES
from clampgateway.config import load
from clampgateway.config.settings import CORE
from clampgateway.parts import sections
from clampgateway.sources import SOURCES
from support.gatewayprocess import GatewayProcess
from support.mosquitto import Mosquitto
from support.ports import free_port, wait_for
from support.ptythread import ThreadedDevice
from support.skips import need_debian

Gateways = Callable[..., GatewayProcess]
Devices = Callable[[str], ThreadedDevice]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateways]:
    """Makes gateways, not yet started; arguments as for GatewayProcess after the folder."""
    made: list[GatewayProcess] = []

    def make(toml: str = "", env: dict[str, str] | None = None) -> GatewayProcess:
        made.append(GatewayProcess(tmp_path, toml, env))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Devices]:
    """Makes devices that are plugged into the gateway's folder of ports."""
    made: list[ThreadedDevice] = []

    def make(name: str) -> ThreadedDevice:
        (tmp_path / "ports").mkdir(exist_ok=True)
        made.append(ThreadedDevice(tmp_path / "ports", name))
        made[-1].plug()
        return made[-1]

    yield make
    for one in made:
        one.unplug()


def test_records_reach_the_store_and_a_stop_keeps_them(gateway: Gateways, device: Devices) -> None:
    one, two = device("lathe"), device("laser")
    running = gateway().start()
    wait_for(lambda: len(one.acknowledged()) > 10 and len(two.acknowledged()) > 10, 20, "acks")
    seen = running.device("lathe")
    assert seen["online"] is True
    assert seen["identity"]["name"] == "Lathe 3"
    assert seen["reading"]["ch"]["current1"]["rms"] == pytest.approx(4.5)
    assert seen["source"].endswith("ports/lathe")
    stats = running.get("/api/v1/stats")
    assert stats["committer"]["committed"] > 20
    assert stats["links"]["online"] == 2
    assert stats["sources"]["serial"]["ports"][str(one.path)]["state"] == "open"
    assert stats["parts"]["api"]["failures"] == 0
    assert running.get("/healthz") == {"status": "ok", "reasons": []}
    assert running.end() == 0
    kept = running.committed()
    for each in (one, two):
        told = {(each.model.device, *name) for name in each.acknowledged()}
        assert len(told) > 10
        assert told <= kept
    assert not (running.state / "api.json").exists()
    assert not (running.state / "store.db-wal").exists()
    assert "Traceback" not in running.log()


def test_a_kill_loses_nothing_that_was_acknowledged(gateway: Gateways, device: Devices) -> None:
    one = device("lathe")
    running = gateway().start()
    for _ in range(3):
        before = len(one.acknowledged())
        wait_for(lambda before=before: len(one.acknowledged()) > before + 5, 20, "acks")
        running.end(signal.SIGKILL)
        running.start()
    wait_for(lambda: running.device("lathe").get("online"), 15, "the device")
    assert running.end(signal.SIGINT) == 0
    assert {("lathe", *name) for name in one.acknowledged()} <= running.committed()


def test_a_device_that_was_here_is_offline_not_unknown(gateway: Gateways, device: Devices) -> None:
    one = device("lathe")
    running = gateway().start()
    wait_for(lambda: len(one.acknowledged()) > 2, 20, "acks")
    running.end()
    one.unplug()
    running.start()
    assert running.device("lathe")["online"] is False
    assert running.end() == 0


def test_an_unplugged_port_is_shown_and_found_again(gateway: Gateways, device: Devices) -> None:
    one = device("lathe")
    running = gateway().start()
    wait_for(lambda: running.device("lathe").get("online"), 15, "the device")
    one.unplug()
    wait_for(lambda: running.device("lathe")["online"] is False, 15, "offline")
    one.plug()
    wait_for(lambda: running.device("lathe")["online"], 15, "online again")
    before = len(one.acknowledged())
    wait_for(lambda: len(one.acknowledged()) > before + 5, 15, "acks")
    assert running.end() == 0


def test_a_port_of_its_own_that_is_absent_degrades(gateway: Gateways) -> None:
    running = gateway('[[serial]]\nport = "/dev/ttyClampworkNone"\n').start()
    report = wait_for(
        lambda: (found := running.get("/healthz"))["status"] != "ok" and found, 10, "a reason"
    )
    assert report["status"] == "degraded"
    assert report["reasons"][0]["text"] == "/dev/ttyClampworkNone is not plugged in"
    assert running.end() == 0


def test_a_released_port_is_free_for_others(gateway: Gateways, device: Devices) -> None:
    one = device("lathe")
    running = gateway().start()
    state = ("--state-dir", str(running.state))

    def port() -> dict[str, Any]:
        return running.get("/api/v1/stats")["sources"]["serial"]["ports"][str(one.path)]

    wait_for(lambda: running.device("lathe").get("online"), 15, "the device")
    shown = running.release(str(one.path), "--seconds", "60", *state)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == f"{one.path} is free for 60 s\n"
    wait_for(lambda: port()["state"] == "released", 5, "its state")
    assert running.device("lathe")["online"] is False
    shown = running.release(str(one.path), "--seconds", "0", "--config", str(running.file))
    assert shown.returncode == 0
    wait_for(lambda: running.device("lathe")["online"], 15, "online again")
    shown = running.release("/dev/other", *state)
    assert shown.returncode == 2
    assert f"no source has the port /dev/other: there are {one.path}" in shown.stderr
    shown = running.release(str(one.path), "--seconds", "-1", *state)
    assert shown.returncode == 2
    (running.state / "api.token").write_text("wrong")
    shown = running.release(str(one.path), *state)
    assert shown.returncode == 2
    assert "Bearer" in shown.stderr
    assert port()["releases"] == 1
    assert running.end() == 0


def test_a_second_gateway_on_one_state_is_refused(gateway: Gateways) -> None:
    running = gateway().start()
    other = gateway()
    assert other.fails() == 1
    assert "cannot start: " in other.log()
    assert "Traceback" not in other.log()
    assert running.get("/healthz")["status"] == "ok"
    assert running.end() == 0


def test_a_bridge_that_cannot_run_stops_nobody(gateway: Gateways, device: Devices) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = device("lathe")
        running = gateway(f"[modbus]\nport = {port}\n").start()
        wait_for(lambda: len(one.acknowledged()) > 5, 15, "acks")
        report = running.get("/healthz")
        assert report["status"] == "failing"
        assert str(port) in report["reasons"][0]["text"]
        assert running.get("/api/v1/stats")["parts"]["modbus"]["failures"] >= 1
    wait_for(
        lambda: running.get("/healthz")["status"] == "ok", 15, "Modbus, once the port is free"
    )
    assert "Traceback" not in running.log()
    assert running.end() == 0


def test_an_absent_broker_degrades_and_the_stop_is_in_time(
    gateway: Gateways, device: Devices
) -> None:
    one = device("lathe")
    running = gateway(f"[mqtt]\nport = {free_port()}\n[modbus]\nport = 0\n").start()
    wait_for(lambda: len(one.acknowledged()) > 5, 15, "acks")
    report = wait_for(
        lambda: (found := running.get("/healthz"))["status"] == "degraded" and found, 10, "it"
    )
    assert report["reasons"][0]["part"] == "mqtt"
    assert running.get("/api/v1/stats")["feed"]["readers"]["mqtt"]["backlog"] > 0
    assert running.end() == 0


def test_a_stop_delivers_what_is_committed_and_says_farewell(
    gateway: Gateways, device: Devices, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    program = need_debian("mosquitto-clients", "mosquitto_sub")
    broker, one = mosquitto(), device("lathe")
    running = gateway(f"[mqtt]\nport = {broker.port}\n").start()
    base = "clampwork/default/lathe"
    command = [program, "-p", str(broker.port), "-F", "%t %r %p"]
    out = tmp_path / "heard"
    with out.open("wb") as file, subprocess.Popen(
        [*command, "-q", "1", "-t", f"{base}/data", "-t", "clampwork/default/_gateway/#"],
        stdout=file,
    ) as subscriber:  # fmt: skip
        try:
            wait_for(lambda: len(one.acknowledged()) > 20, 15, "acks")
            assert running.end() == 0
            # Nothing may come behind the farewell: it is the last that was sent.
            wait_for(lambda: out.read_text().endswith(" offline\n"), 15, "the farewell")
        finally:
            subscriber.terminate()
    heard = [line.split(" ", 2) for line in out.read_text().splitlines()]
    (gateway_topic,) = {topic for topic, _, _ in heard if topic != f"{base}/data"}
    assert heard[-1] == [gateway_topic, "0", "offline"]
    records = [json.loads(text) for topic, _, text in heard if topic == f"{base}/data"]
    received = {("lathe", record["boot"], record["seq"]) for record in records}
    assert len(received) == len(records) > 10
    # The subscriber may have come after the first ones; it has all of the rest.
    first = min(received)
    assert received == {name for name in running.committed() if name >= first}
    # One of the device, one of the gateway: it waits for both, and not longer.
    both = ["-C", "2", "-t", "clampwork/default/+/availability", "-t", gateway_topic]
    shown = subprocess.run(
        [*command, "-W", "9", *both],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert f"{gateway_topic} 1 offline" in shown.stdout.splitlines()


@pytest.mark.parametrize("state_dir", ["/proc/clampwork", "/dev/null/x"])
def test_a_state_folder_that_cannot_be_made_is_a_sentence(
    gateway: Gateways, state_dir: str
) -> None:
    running = gateway()
    running.file.write_text(f'[gateway]\nstate_dir = "{state_dir}"\n')
    assert running.fails() == 1
    assert running.log().count("\n") == 1
    assert "set gateway.state_dir" in running.log()


def test_the_service_manager_sees_ready_alive_and_stopping(
    gateway: Gateways, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = tmp_path / "notify"
        manager.bind(str(address))
        manager.settimeout(10)
        running = gateway(env={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "2000000"})
        running.start()
        heard: list[str] = []
        began = time.monotonic()
        while sum("WATCHDOG=1" in text for text in heard) < 3:
            heard.append(manager.recv(4096).decode())
        assert time.monotonic() - began < 5
        assert heard[0].startswith("READY=1\nSTATUS=")
        assert any(text.startswith("STATUS=0 of 0 devices online, ok") for text in heard)
        assert running.end() == 0
        manager.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            while True:
                heard.append(manager.recv(4096).decode())
        assert "STOPPING=1" in heard


def test_a_stuck_store_is_not_called_alive(gateway: Gateways, device: Devices) -> None:
    """A commit that can never end, here by another program's lock, is failing and shown so."""
    one = device("lathe")
    running = gateway().start()
    wait_for(lambda: len(one.acknowledged()) > 2, 15, "acks")
    with contextlib.closing(sqlite3.connect(running.state / "store.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        report = wait_for(
            lambda: (found := running.get("/healthz"))["status"] == "failing" and found, 30, "it"
        )
        assert report["reasons"][0]["part"] == "committer"
        known = one.acknowledged()
        time.sleep(1)
        assert one.acknowledged() == known
        other.execute("ROLLBACK")
    wait_for(lambda: running.get("/healthz")["status"] == "ok", 15, "commits again")
    wait_for(lambda: len(one.acknowledged()) > len(known) + 5, 15, "acks again")
    assert running.end() == 0


def test_journal_lines_have_levels_and_no_times(gateway: Gateways) -> None:
    running = gateway()
    running._log.touch()
    status = running._log.stat()
    running._env["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
    running.start()
    assert running.end() == 0
    lines = running.log().splitlines()
    assert lines
    assert all(line.startswith("<6>") for line in lines)


def test_the_example_names_every_key_with_its_default(root_dir: Path) -> None:
    example = root_dir / "docs/examples/gateway.toml"
    config = load(example, sections())
    # A meter's line has no default: its part is out, and test_meter_config.py looks at it.
    expected = [name for name in (*SOURCES, *BRIDGES) if name != "modbus_meter"]
    assert [part.section for part in (*config.sources, *config.bridges)] == expected
    text = re.sub(r"(?ms)^#\[\[modbus_meter\]\]\n.*?^$", "", example.read_text())
    # "#key = value" is a default, "# text" a remark.
    active = "".join(
        line.removeprefix("#") if re.match(r"#[a-z_]+ = ", line) else line
        for line in text.splitlines(keepends=True)
    )
    document = tomllib.loads(active)
    models = CORE | {name: sections()[name].settings() for name in expected}
    assert document.keys() == models.keys()
    for name, model in models.items():
        table = document[name][0] if isinstance(document[name], list) else document[name]
        assert list(table) == list(model.model_fields), name
        for key, field in model.model_fields.items():
            if field.default is not None and not field.is_required():
                default = (
                    list(field.default) if isinstance(field.default, tuple) else field.default
                )
                assert table[key] == default, f"{name}.{key}"
