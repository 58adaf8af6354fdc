"""Brings the firmware up: configuration, hardware, then everything else.

Owns the order. What is large comes first, while the heap is whole: a chip's ring of samples, 32 KB
and more in one piece at an aligned address, then the spool and the ADC's table. The firmware's
other modules would lie scattered over it; they are loaded with the collector at their heels. What
a board does not ask for is not loaded, and what is needed once leaves again; see docs/memory.md.
"""

import asyncio
import gc
import json

from clampdevice.borrow import Borrowed, loading
from clampdevice.hal import open_hal


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
    lut, problem = _make_table(config, hal)
    from clampdevice.app import App

    return App(config, hal, spool, lut, problem)


def _make_table(config: dict, hal) -> tuple:
    """(the ADC's table or None, why the chip's own curve was not used or "")."""
    adc = config["sources"].get("adc", {})
    own = None
    problem = ""
    with Borrowed():
        from clampdevice import linear
        from clampdevice.files import Files

        data = Files().read_file("adccurve.json")
        chip = adc.get("linearise", linear.NONE)
        if data and chip != linear.NONE:
            from clampdevice import curvefile

            try:
                own = curvefile.unpack(data, chip, hal.unique_id())
            except curvefile.CurveError as error:
                problem = str(error)
            else:
                limit = curvefile.remaining_lsb(own, chip)
                if limit is not None and "linearity_lsb" in adc:
                    adc["linearity_lsb"] = min(limit, adc["linearity_lsb"])
        return linear.table_for(config, own), problem


def main() -> None:
    """Starts the firmware from the board.json of the working directory."""
    loading(True)
    config = _read_board()
    gc.collect()
    hal = open_hal(config)
    try:
        app = _make_app(config, hal)
        loading(False)  # from here on only where it is chosen
        asyncio.run(app.run())
    except KeyboardInterrupt:
        pass  # Ctrl-C leaves the prompt to mpremote
    finally:
        hal.close()
