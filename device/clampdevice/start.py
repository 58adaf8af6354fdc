"""Brings the firmware up: configuration, hardware, then everything else.

Owns the order. What is large comes first, while the heap is whole: a chip's ring of samples, 32 KB
and more in one piece at an aligned address, then the spool and the ADC's table. The firmware's
other modules would lie scattered over it; they are loaded with the collector at their heels,
because what an import leaves behind would keep them apart for ever.
"""

import asyncio
import gc
import json
import sys

import clampdevice
from clampdevice.hal import open_hal

_IMPORT_BYTES = 4096


def _collect_every(size: int) -> None:
    """Collects now, and again after `size` bytes were allocated; -1: when the heap is full."""
    gc.collect()
    threshold = getattr(gc, "threshold", None)  # CPython has none
    if threshold:
        threshold(size)


def _read_board() -> dict:
    """The checked content of board.json. What checks it is needed once, and leaves the heap."""
    from clampdevice import board

    with open("board.json") as file:
        config = board.check(json.load(file))
    del sys.modules["clampdevice.board"]
    delattr(clampdevice, "board")
    return config


def main() -> None:
    """Starts the firmware from the board.json of the working directory."""
    _collect_every(_IMPORT_BYTES)
    config = _read_board()
    gc.collect()
    hal = open_hal(config)
    try:
        from clampdevice import linear
        from clampdevice.spool import Spool

        spool = Spool(config["spool"]["ram_bytes"], config["spool"]["ram_items"])
        lut = linear.table_for(config)
        from clampdevice.app import App
        from clampdevice.preload import preload

        preload(config)
        _collect_every(-1)  # from here on only where it is chosen
        asyncio.run(App(config, hal, spool, lut).run())
    except KeyboardInterrupt:
        pass  # Ctrl-C leaves the prompt to mpremote
    finally:
        hal.close()
