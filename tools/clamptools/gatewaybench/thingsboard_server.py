"""Devices and server of ThingsBoard's gateway: just enough of both to count what it brings.

Run as `python -m clamptools.gatewaybench.thingsboard_server NEAR FAR MESSAGES BYTES`, with the
ports of the devices' broker and of ThingsBoard's. It says "listening" when the gateway may start
and "ready" when every device has come through, publishes when a line comes, and tells as one line
of JSON how it went.
"""

from __future__ import annotations

import json
import queue
import sys
import time
from typing import Any

from clamptools.gatewaybench.thingsboard import SERVER

HOST = "127.0.0.1"
DEVICES = 100
# Numbers of a record, as many as one of the frame devices has.
VALUES = 22
WINDOW = 100
READY_S = 90.0
ARRIVE_S = 180.0
WARM_EVERY_S = 1.0
_NO_LIMITS = dict.fromkeys(("messages", "telemetryMessages", "telemetryDataPoints"), "")
_SESSION = {
    "maxPayloadSize": 65_536,
    "maxInflightMessages": 1000,
    "rateLimits": _NO_LIMITS,
    "gatewayRateLimits": _NO_LIMITS,
}


class _Server:
    """ThingsBoard as far as the gateway needs it; counts what was not there before."""

    def __init__(self, port: int) -> None:
        self.came: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.messages = 0
        self._client = _client(SERVER, port)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: print("listening", flush=True)
        self._client.subscribe([("v1/devices/me/rpc/request/+", 1), ("v1/gateway/telemetry", 1)])
        self._client.loop_start()

    def _on_message(self, client: Any, _user: object, message: Any) -> None:  # noqa: ANN401 - paho
        content = json.loads(message.payload)
        if message.topic == "v1/gateway/telemetry":
            self.messages += 1
            for entries in content.values():
                for entry in entries:
                    self.came.put(int(entry.get("values", entry)["seq"]))
        elif content["method"] == "getSessionLimits":
            topic = message.topic.replace("request", "response")
            client.publish(topic, json.dumps(_SESSION), 1)


def _client(name: str, port: int) -> Any:  # noqa: ANN401 - paho is imported where it is used
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    client = Client(CallbackAPIVersion.VERSION2, name)
    client.max_inflight_messages_set(WINDOW)
    client.username_pw_set(name)
    client.connect(HOST, port)
    return client


def _message(seq: int, began_ms: int, size: int) -> tuple[str, str]:
    """Topic and payload of a record, of about so many bytes."""
    values = {f"f{number}": (1000 + seq % 1024 + number) / 1000 for number in range(VALUES)}
    # Of one device no two have the same time: it would take them for one.
    record = {"ts": began_ms + seq, "values": {"seq": seq, **values, "pad": ""}}
    record["values"]["pad"] = "x" * max(0, size - len(json.dumps(record)))
    return f"bench/device-{seq % DEVICES:03}/data", json.dumps(record)


def main(near: int, far: int, messages: int, size: int) -> None:
    """Ends with an exception if not all come in time; then nothing more is said."""
    server = _Server(far)
    began_ms = time.time_ns() // 1_000_000
    devices = _client("devices", near)
    devices.loop_start()
    # Until a first one of each device has come nothing counts: the gateway is still starting.
    warm: set[int] = set()
    end_s = time.monotonic() + READY_S
    while len(warm) < DEVICES:
        for seq in set(range(DEVICES)) - warm:
            devices.publish(*_message(seq, began_ms, size), 1)
        warm_until_s = time.monotonic() + WARM_EVERY_S
        while len(warm) < DEVICES and (left_s := warm_until_s - time.monotonic()) > 0:
            try:
                warm.add(server.came.get(timeout=left_s))
            except queue.Empty:
                break
        if time.monotonic() > end_s:
            raise TimeoutError(f"{len(warm)} of {DEVICES} devices have come")
    print("ready", flush=True)
    sys.stdin.readline()
    before, begun_s = server.messages, time.monotonic()
    for seq in range(DEVICES, DEVICES + messages):
        devices.publish(*_message(seq, began_ms, size), 1)
    came: set[int] = set()
    while len(came) < messages:
        seq = server.came.get(timeout=max(0.1, begun_s + ARRIVE_S - time.monotonic()))
        if seq >= DEVICES:
            came.add(seq)
    counted = {
        "seconds": time.monotonic() - begun_s,
        "messages": server.messages - before,
    }
    print(json.dumps(counted), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
