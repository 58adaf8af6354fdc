"""The hardware behind one interface, chosen by where the firmware runs.

Only modules below this one may import `machine`, `rp2` or `esp32`. A HAL is a class `Hal` with:
`chip`, `runtime`; `ticks_us()`; `console` with `read() -> bytes`, `write(view) -> count`; the two
boot slots `read_slot(i)`, `write_slot(i, data)`; `unique_id()`, `reset_cause`, `nonce()`;
`sources(config)`: block sources by name, and "inputs"; `set_led(on)`, `heap_free()`;
`made(payload)`, told of every item when its name is final; `close()`, which ends whatever runs
without the CPU. A source may have `turn_ms`: how often it wants its `take` called.
"""

import sys


def open_hal(config: dict):  # noqa: ANN201 - a Hal of the port, which have no common base
    """The HAL of this machine. Raises ValueError where there is none yet."""
    if sys.platform in ("linux", "darwin"):
        from clampdevice.hal.sim import Hal

        return Hal(config)
    if sys.platform == "rp2":
        from clampdevice.hal.rp2.hal import Hal

        return Hal(config)
    if sys.platform == "esp32":
        from clampdevice.hal.esp32.hal import Hal

        return Hal(config)
    raise ValueError("no HAL for platform " + sys.platform)
