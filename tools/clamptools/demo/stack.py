"""The processes of a demo: broker, gateway, devices, each its own, on free ports of loopback.

Owns their folders, the gateway's configuration, and that all of them end. Used by the demo and
by the end-to-end tests, which bring a broker of their own and kill the gateway.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from clampgateway.app import STORE_FILE
from clampgateway.ledger.content import Day, unpack
from clampgateway.store import Store
from clamptools.demo.account import EVENT, GAP, RECORD, Key
from clamptools.demo.brokers import BrokerPlan
from clamptools.demo.devices import Plan, SimulatedDevice
from clamptools.demo.processes import Child, free_ports, wait_listening
from clamptools.demo.relay import Relay
from clamptools.interpreter import Interpreter

HOST = "127.0.0.1"
ROOT = "clampwork"
SITE = "demo"
GATEWAY_ID = "demo"
START_TIMEOUT_S = 20.0
STORE_BATCH = 1000


class Stack:
    """A context: nothing runs before `start_...`, nothing after it.

    Args:
        folder: An empty folder for everything.
        plans: The devices.
        interpreter: What runs their firmware.
        mqtt_port: A broker that runs already; without it `start_broker` starts one.
        mosquitto: What `start_broker` starts; the embedded one if None.
        relayed: Whether the devices' ports are joined to the gateway's by `cables`, unplugged at
            first; else they are the gateway's.
    """

    def __init__(
        self,
        folder: Path,
        plans: Sequence[Plan],
        interpreter: Interpreter,
        mqtt_port: int | None = None,
        mosquitto: str | None = None,
        relayed: bool = False,
    ) -> None:
        self.folder = folder
        self.embedded = mqtt_port is None and mosquitto is None
        free = free_ports(3)
        self.mqtt_port = mqtt_port or free[0]
        self.broker_plan = BrokerPlan(folder, self.mqtt_port, mosquitto)
        self.brings_broker = mqtt_port is None
        self.modbus_port, self.api_port = free[1:]
        self.state_dir = folder / "gateway"
        ports = folder / "ports"
        inner = folder / "inner" if relayed else ports
        self.devices = [
            SimulatedDevice(folder / plan.board["name"], inner, plan, interpreter)
            for plan in plans
        ]
        self.cables: dict[str, Relay] = {}
        if relayed:
            ports.mkdir()
            self.cables = {d.name: Relay(d.port, ports / d.name) for d in self.devices}
        # Names of devices whose power is cut now.
        self.dark: set[str] = set()
        self.broker: Child | None = None
        self.gateway: Child | None = None
        self._config = folder / "gateway.toml"
        self._config.write_text(self._toml())

    def __enter__(self) -> Stack:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop_devices()
        for child in (self.gateway, self.broker):
            if child is not None:
                child.stop()

    def start_broker(self) -> None:
        """Starts the broker, again if it ended. Raises ChildError if it does not come up."""
        self.broker = Child("broker", self.broker_plan.command(), self.folder / "broker.log")
        wait_listening(self.broker, self.mqtt_port, START_TIMEOUT_S)

    def start_gateway(self, *, wait: bool = True) -> None:
        """Starts the gateway, again if it ended. Raises ChildError if it does not come up."""
        self.gateway = Child(
            "gateway",
            [sys.executable, "-m", "clamptools.cli", "gateway", "run", str(self._config)],
            self.folder / "gateway.log",
        )
        if wait:
            wait_listening(self.gateway, self.modbus_port, START_TIMEOUT_S)

    def kill_gateway(self) -> None:
        """Ends the gateway as a power cut does; nobody minds that it is not there."""
        child, self.gateway = self.gateway, None
        if child is not None:
            child.kill()

    def stop_gateway(self) -> int | None:
        """Ends the gateway in order (SIGTERM); its exit code, None if it did not end by that."""
        if self.gateway is None:
            return None
        in_time = self.gateway.stop()
        return self.gateway.code if in_time else None

    def committed(self) -> set[Key]:
        """Names of all items in the gateway's store, also while the gateway runs."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            # The store is one process's alone; what a second may read is a copy.
            copy = Path(folder) / STORE_FILE
            source = sqlite3.connect(f"{(self.state_dir / STORE_FILE).as_uri()}?mode=ro", uri=True)
            with closing(source), closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            store = Store(copy)
            try:
                found: set[Key] = set()
                last = 0
                while batch := store.read_after(last, STORE_BATCH):
                    found.update(
                        Key(s.item.device, s.item.boot, s.item.seq)
                        for s in batch
                        if s.item.kind in (RECORD, EVENT, GAP)
                    )
                    last = batch[-1].id
                return found
            finally:
                store.close()

    def ledger(self) -> list[tuple[str, Day]]:
        """(device, day) of the gateway's ledger; only after the gateway's end."""
        store = Store(self.state_dir / STORE_FILE)
        try:
            rows = store.read_ledger()
        finally:
            store.close()
        return [(device, unpack(device, day, body).day) for device, day, body in rows]

    def device(self, name: str) -> SimulatedDevice:
        """The device of this name. Raises KeyError."""
        for device in self.devices:
            if device.name == name:
                return device
        raise KeyError(name)

    def start_devices(self) -> None:
        """Powers all devices up, and plugs cables in. Raises ChildError if one does not come up.

        With cables: in a running loop.
        """
        for device in self.devices:
            device.start()
        for device in self.devices:
            device.plug_in()
        for cable in self.cables.values():
            cable.plug()

    def stop_devices(self) -> None:
        for device in self.devices:
            self.dark.add(device.name)
            device.stop()

    def check(self) -> None:
        """Raises ChildError if a process that should run has ended."""
        for child in (self.gateway, self.broker):
            if child is not None:
                child.check()
        for device in self.devices:
            if device.name not in self.dark:
                device.check()

    def _toml(self) -> str:
        sections: dict[str, dict[str, Any]] = {
            "[gateway]": {"id": GATEWAY_ID, "site": SITE, "state_dir": str(self.state_dir)},
            "[api]": {"port": self.api_port},
            "[[serial]]": {"port": str(self.folder / "ports" / "*")},
            "[mqtt]": {
                "host": HOST,
                "port": self.mqtt_port,
                "root": ROOT,
                # The embedded broker speaks nothing newer.
                "protocol": "3.1.1" if self.embedded else "5",
            },
            "[modbus]": {"bind": HOST, "port": self.modbus_port},
        }
        lines: list[str] = []
        for head, keys in sections.items():
            # A JSON string or number is a TOML one.
            lines += [head, *(f"{key} = {json.dumps(value)}" for key, value in keys.items()), ""]
        return "\n".join(lines)
