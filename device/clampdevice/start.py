"""Brings the firmware up: configuration, hardware, then everything else.

Owns the order. What is large comes first, while the heap is whole: a chip's ring of samples, 32 KB
and more in one piece at an aligned address, then the spool and the ADC's table. The firmware's
other modules would lie scattered over it; they are loaded with the collector at their heels,
because what an import leaves behind would keep them apart for ever. What a board does not ask for
is not loaded, and what is needed once leaves the heap again; see docs/memory.md.
"""

import asyncio
import gc
import json

from clampdevice.borrow import Borrowed
from clampdevice.hal import open_hal

_IMPORT_BYTES = 8192


def _collect_every(size: int) -> None:
    """Collects now, and again after `size` bytes were allocated; -1: when the heap is full."""
    gc.collect()
    threshold = getattr(gc, "threshold", None)  # CPython has none
    if threshold:
        threshold(size)


def _read_board() -> dict:
    """The checked content of board.json."""
    with Borrowed():
        from clampdevice import board

        with open("board.json") as file:
            return board.check(json.load(file))


def _make_app(config: dict, hal):  # noqa: ANN202 - loaded behind the buffers
    """Everything behind the hardware."""
    from clampdevice.spool import Spool

    spool = Spool(config["spool"]["ram_bytes"], config["spool"]["ram_items"])
    with Borrowed():
        from clampdevice import linear

        lut = linear.table_for(config)
    from clampdevice.app import App

    return App(config, hal, spool, lut)


def main() -> None:
    """Starts the firmware from the board.json of the working directory."""
    _collect_every(_IMPORT_BYTES)
    config = _read_board()
    gc.collect()
    hal = open_hal(config)
    try:
        app = _make_app(config, hal)
        _collect_every(-1)  # from here on only where it is chosen
        asyncio.run(app.run())
    except KeyboardInterrupt:
        pass  # Ctrl-C leaves the prompt to mpremote
    finally:
        hal.close()
