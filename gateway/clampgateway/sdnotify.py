"""Tells systemd that the gateway is ready, alive and how it does (Type=notify, WatchdogSec=).

Ref: sd_notify(3), sd_watchdog_enabled(3). Without NOTIFY_SOCKET every call does nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """One datagram a message to the service manager. `failures` counts those that did not go."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        address = env.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        own = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = env.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if own and usec.isdecimal() and self._address else 0.0
        self.failures = 0

    def send(self, *assignments: str) -> None:
        """Sends lines such as "READY=1" and "STATUS=3 devices"."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            self.failures += 1
