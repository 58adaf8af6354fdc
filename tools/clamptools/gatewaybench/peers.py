"""Others that bring messages from one place to a broker: what they cost in the same run.

A mosquitto bridge in C keeps nothing on a disk; it is how cheap forwarding can be. ThingsBoard's
gateway keeps records in SQLite, as ours does. Each peer is measured by the processor time of its
process, from the first message to the last.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from clamptools.demo.brokers import as_ourselves, find_mosquitto
from clamptools.demo.processes import Child, free_ports, wait_listening
from clamptools.errors import UserError
from clamptools.gatewaybench import thingsboard
from clamptools.gatewaybench.procfs import memory_mb, usage

START_S = 20.0
MESSAGES = 40_000
WINDOW = 100
ARRIVE_S = 60.0
ASK_EVERY_S = 0.05
IN_FLIGHT = 1000
THINGSBOARD = "thingsboard-gateway"
PEERS = ("mosquitto_bridge", "thingsboard")
_PLAIN = """
listener {port} 127.0.0.1
allow_anonymous true
persistence false
set_tcp_nodelay true
max_queued_messages 0
log_type error
"""
_BRIDGE = """
connection peer
address 127.0.0.1:{to}
topic # out 1
bridge_protocol_version mqttv311
max_inflight_messages 100
"""


def peers_of(
    names: str, folder: Path, message_bytes: int, thingsboard_program: str = THINGSBOARD
) -> dict[str, Any]:
    """Measures the peers that are named with commas; "none" names none.

    Raises:
        ChildError: A peer or its broker does not come up.
        UserError: A name is no peer's, or a peer does not work.
    """
    found: dict[str, Any] = {}
    for name in () if names == "none" else names.split(","):
        if name == "mosquitto_bridge":
            found[name] = mosquitto_bridge(folder, message_bytes)
        elif name == "thingsboard":
            found[name] = thingsboard_gateway(folder, message_bytes, thingsboard_program)
        else:
            raise UserError(f"--peers: {name} is no peer, they are {', '.join(PEERS)}")
    return found


def thingsboard_gateway(folder: Path, message_bytes: int, program: str) -> dict[str, Any]:
    """ThingsBoard's gateway between two brokers; where it is not installed, that it is not.

    Raises:
        ChildError: It or a broker does not come up.
        UserError: It does not deliver all messages.
    """
    found = shutil.which(program)
    if found is None:
        return {"skipped": f"{program} is not here; see --thingsboard"}
    near, far = free_ports(2)
    access = folder / "thingsboard.acl"
    access.write_text(thingsboard.ACCESS)
    many = f"max_inflight_messages {IN_FLIGHT}"  # 20 otherwise, which it would keep to
    target = broker(folder, "thingsboard-far", far, f"acl_file {access}\n{many}")
    source = broker(folder, "thingsboard-near", near, many)
    try:
        return thingsboard.measure(found, folder / "thingsboard", (near, far), message_bytes)
    finally:
        source.stop()
        target.stop()


def mosquitto_bridge(folder: Path, message_bytes: int) -> dict[str, Any]:
    """Broker to broker at QoS 1, nothing on a disk; the sending broker's processor time.

    Raises:
        ChildError: A broker does not come up.
        UserError: The bridge does not carry all messages.
    """
    near, far = free_ports(2)
    target = broker(folder, "far", far)
    source = broker(folder, "near", near, _BRIDGE.format(to=far))
    listening = subprocess.Popen(
        [sys.executable, "-m", "clamptools.gatewaybench.listener", str(far), "bench"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        _wait(listening, lambda heard: heard["connections"] == 1)
        # The bridge connects in its own time; the first message waits for it in the near broker.
        _publish(near, 1, message_bytes)
        _wait(listening, lambda heard: heard["lanes"]["data"]["messages"] == 1)
        before = usage(source.pid)
        _publish(near, MESSAGES, message_bytes)
        _wait(listening, lambda heard: heard["lanes"]["data"]["messages"] > MESSAGES)
        spent = usage(source.pid).since(before)
        return {
            "cpu_us_per_record": round(1e6 * spent.cpu_s / MESSAGES, 1),
            "measured_per_s": round(MESSAGES / spent.seconds),
            "rss_mb": round(memory_mb(source.pid)[1], 1),
            "bytes_written_per_record": round(spent.written_bytes / MESSAGES),
        }
    finally:
        listening.communicate(timeout=START_S)
        source.stop()
        target.stop()


def broker(folder: Path, name: str, port: int, extra: str = "") -> Child:
    """A mosquitto without a disk. Raises ChildError or UserError if it does not come up."""
    program = find_mosquitto()
    if program is None:
        raise UserError("mosquitto is not installed: apt-get install mosquitto")
    config = folder / f"{name}.conf"
    config.write_text("\n".join([_PLAIN.format(port=port), *as_ourselves(), extra]))
    child = Child(name, [program, "-c", str(config)], folder / f"{name}.log")
    wait_listening(child, port, START_S)
    return child


def _publish(port: int, messages: int, size: int) -> None:
    """In a process of its own. Raises CalledProcessError if it does not go."""
    arguments = [str(each) for each in (port, messages, size, WINDOW)]
    command = [sys.executable, "-m", "clamptools.gatewaybench.floor", "publish", *arguments]
    subprocess.run(command, check=True, timeout=ARRIVE_S, stdout=subprocess.DEVNULL)


def _wait(listening: subprocess.Popen[str], condition) -> None:  # noqa: ANN001 - (counts) -> bool
    assert listening.stdin is not None
    assert listening.stdout is not None
    end_s = time.monotonic() + ARRIVE_S
    while True:
        listening.stdin.write("\n")
        listening.stdin.flush()
        if condition(json.loads(listening.stdout.readline())):
            return
        if time.monotonic() > end_s:
            raise UserError("a peer did not bring all messages")
        time.sleep(ASK_EVERY_S)
