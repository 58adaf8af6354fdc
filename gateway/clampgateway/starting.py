"""What a gateway needs before it has parts: its folder, its id, and a clock of UTC."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from clampgateway.clocksync import system_clocks
from clampgateway.kernelclock import RESTORED_FROM, KernelClock, steady_us, wall_ms
from clampgateway.link import keptclocks
from clampgateway.model import GatewayError
from clampgateway.store import Store
from clampgateway.utcclock import UtcClock

ID_FILE = "gateway.id"


class StartError(GatewayError):
    """The gateway cannot start here; the text says what is in the way."""


def utc_clock(store: Store, *, trusted: bool) -> UtcClock:
    kernel = KernelClock(wall_ms, restored_from=() if trusted else RESTORED_FROM)
    seen_ms = 0 if trusted else keptclocks.seen_ms(store.clocks())
    power_up = system_clocks().power_up
    return UtcClock(steady_us, wall_ms, kernel, power_up, store.eras(), seen_ms)


def own_id(state_dir: Path) -> str:
    """This gateway's id, made at first start: host names repeat where cards are copied."""
    path = state_dir / ID_FILE
    try:
        found = path.read_text("ascii").strip()
    except FileNotFoundError:
        found = ""
    except (OSError, ValueError) as error:
        raise StartError(f"{path} cannot be read: {error}") from error
    if not found:
        found = f"gw-{secrets.token_hex(4)}"
        path.write_text(found + "\n", "ascii")
    return found


def make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"state folder {folder} cannot be made ({error.strerror}): set gateway.state_dir"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StartError(f"state folder {folder} cannot be written: set gateway.state_dir")
    return folder
