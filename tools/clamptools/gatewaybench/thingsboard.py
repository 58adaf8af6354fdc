"""ThingsBoard's gateway as a peer: messages in over MQTT, SQLite, telemetry out over MQTT.

Owns its configuration and its run; devices and server are `thingsboard_server`. The project does
not depend on it: who wants it compared installs `thingsboard-gateway` in an environment of its
own and names its program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from clamptools.demo.processes import Child
from clamptools.errors import UserError
from clamptools.gatewaybench.procfs import memory_mb, usage

MESSAGES = 10_000
STOP_S = 30.0
_NOBODY = "http://127.0.0.1:9"
USER, SERVER = "bench", "server"
# ThingsBoard routes nothing between its clients: a gateway must not hear its own requests.
ACCESS = f"""
user {USER}
topic write v1/devices/me/#
topic read v1/devices/me/rpc/response/+
topic write v1/gateway/#
user {SERVER}
topic readwrite #
"""


def measure(program: str, folder: Path, ports: tuple[int, int], size: int) -> dict[str, Any]:
    """What one record of `size` bytes costs it. `ports`: the devices' broker and ThingsBoard's.

    Raises:
        ChildError: It does not stay up.
        UserError: It does not deliver.
    """
    (folder / "logs").mkdir(parents=True)
    _configure(folder, *ports)
    # It installs what it lacks and asks for updates by itself; while it is measured it does not.
    alone = {"TB_GW_CONFIG_DIR": f"{folder}/", "PIP_NO_INDEX": "1", "HTTPS_PROXY": _NOBODY}
    env = {**os.environ, **alone}
    arguments = [*map(str, (*ports, MESSAGES, size))]
    server = subprocess.Popen(
        [sys.executable, "-m", "clamptools.gatewaybench.thingsboard_server", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    child: Child | None = None
    try:
        assert server.stdout is not None
        server.stdout.readline()  # it listens: the gateway asks once
        child = Child("thingsboard", [program], folder / "output.log", cwd=folder, env=env)
        return _measured(child, server)
    finally:
        if child is not None:
            child.stop()
        if server.poll() is None:
            server.terminate()
        server.communicate(timeout=STOP_S)


def _measured(child: Child, server: subprocess.Popen[str]) -> dict[str, Any]:
    assert server.stdin is not None
    assert server.stdout is not None
    if server.stdout.readline().strip() != "ready":
        raise UserError(f"the ThingsBoard gateway delivers nothing:\n{child.tail()}")
    before = usage(child.pid)
    server.stdin.write("\n")
    server.stdin.flush()
    said = server.stdout.readline()
    child.check()
    spent = usage(child.pid).since(before)
    if not said:
        raise UserError(f"the ThingsBoard gateway did not deliver all:\n{child.tail()}")
    counted = json.loads(said)
    return {
        "cpu_us_per_record": round(1e6 * spent.cpu_s / MESSAGES, 1),
        "measured_per_s": round(MESSAGES / counted["seconds"]),
        "rss_mb": round(memory_mb(child.pid)[1], 1),
        "bytes_written_per_record": round(spent.written_bytes / MESSAGES),
        "records_per_message": round(MESSAGES / counted["messages"], 1),
    }


def _configure(folder: Path, near: int, far: int) -> None:
    """Its files: no rate limits, records in SQLite, one mapping for all devices."""
    mapping = {
        "topicFilter": "bench/+/data",
        "subscriptionQos": 1,
        "converter": {
            "type": "json",
            "deviceInfo": {
                "deviceNameExpressionSource": "topic",
                "deviceNameExpression": "(?<=bench/)(.*?)(?=/data)",
                "deviceProfileExpressionSource": "constant",
                "deviceProfileExpression": "default",
            },
            "sendDataOnlyOnChange": False,
            "timeout": 60000,
            "attributes": [],
            "timeseries": ["*"],  # as they come: the cheapest that it can do
        },
    }
    limits = (
        "rateLimits", "dpRateLimits", "messagesRateLimits", "deviceMessagesRateLimits",
        "deviceRateLimits", "deviceDpRateLimits",
    )  # fmt: skip
    files = {
        "tb_gateway.json": {
            "thingsboard": {
                "host": "127.0.0.1",
                "port": far,
                "remoteShell": False,
                "remoteConfiguration": False,
                "statistics": {"enable": False},
                "minPackSendDelayMS": 50,
                "minPackSizeToSend": 500,
                "security": {"type": "accessToken", "accessToken": USER},
                "qos": 1,
                "reportStrategy": {"type": "ON_RECEIVED"},
                **dict.fromkeys(limits, "0:0,"),
            },
            "storage": {"type": "sqlite", "data_file_path": f"{folder}/data/"},
            "grpc": {"enabled": False},
            "connectors": [{"type": "mqtt", "name": "bench", "configuration": "mqtt.json"}],
        },
        "mqtt.json": {
            "broker": {
                "host": "127.0.0.1",
                "port": near,
                "clientId": "thingsboard-gateway",
                "version": 5,
                "maxMessageNumberPerWorker": 10,
                "maxNumberOfWorkers": 100,
                "security": {"type": "anonymous"},
            },
            "mapping": [mapping],
            "requestsMapping": {},
        },
        "logs.json": {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": {"class": "logging.StreamHandler", "level": "WARNING"}},
            "root": {"level": "WARNING", "handlers": ["console"]},
        },
    }
    (folder / "data").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
