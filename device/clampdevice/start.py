"""Brings the firmware up: configuration, hardware, then everything else.

Owns the order. What is large comes first, while the heap is whole: a chip's ring of samples, 32 KB
and more in one piece at an aligned address, then the spool and the ADC's table. The firmware's
other modules would lie scattered over it; they are loaded with the collector at their heels,
because what an import leaves behind would keep them apart for ever.
"""

import asyncio
import gc
import json

from clampdevice import board, linear
from clampdevice.hal import open_hal

_IMPORT_BYTES = 4096


def _collect_every(size: int) -> None:
    """Collects now, and again after `size` bytes were allocated; -1: when the heap is full."""
    gc.collect()
    threshold = getattr(gc, "threshold", None)  # CPython has none
    if threshold:
        threshold(size)


def main() -> None:
    """Starts the firmware from the board.json of the working directory."""
    with open("board.json") as file:
        config = board.check(json.load(file))
    _collect_every(_IMPORT_BYTES)
    hal = open_hal(config)
    try:
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
