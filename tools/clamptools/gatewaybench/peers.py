"""Others that bring messages from one place to a broker: what they cost in the same run.

A mosquitto bridge in C keeps nothing on a disk; it is how cheap forwarding can be. Each peer is
measured by the processor time of its process, from the first message to the last.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from clamptools.demo.brokers import as_ourselves, find_mosquitto
from clamptools.demo.processes import Child, free_ports, wait_listening
from clamptools.errors import UserError
from clamptools.gatewaybench.procfs import memory_mb, usage

START_S = 20.0
MESSAGES = 40_000
WINDOW = 100
ARRIVE_S = 60.0
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


def peers_of(names: str, folder: Path, message_bytes: int) -> dict[str, Any]:
    """Measures the peers that are named with commas; "none" names none.

    Raises:
        UserError: A name is no peer's, or a peer does not work.
    """
    found: dict[str, Any] = {}
    for name in () if names == "none" else names.split(","):
        if name not in PEERS:
            raise UserError(f"--peers: {name} is no peer, they are {', '.join(PEERS)}")
        found[name] = PEERS[name](folder, message_bytes)
    return found


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
        time.sleep(1.0)  # the bridge has connected
        before = usage(source.pid)
        publishing = [
            sys.executable, "-m", "clamptools.gatewaybench.floor", "publish",
            str(near), str(MESSAGES), str(message_bytes), str(WINDOW),
        ]  # fmt: skip
        subprocess.run(publishing, check=True, timeout=ARRIVE_S, stdout=subprocess.DEVNULL)
        _wait(listening, lambda heard: heard["lanes"]["data"]["messages"] >= MESSAGES)
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
        time.sleep(0.05)


PEERS = {"mosquitto_bridge": mosquitto_bridge}
