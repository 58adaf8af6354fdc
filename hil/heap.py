"""What is free on the emulated Pico while the firmware comes up, and how long that takes.

    PICO_UF2=firmware.uf2 python hil/heap.py BOARD.json [DEVICE]

Owns the steps, which are those of `clampdevice.start`, and their lines: free heap after a
collection, and milliseconds since the step before. The last line is the largest piece that is
free. DEVICE is the folder of the firmware, this checkout's if it is left out. What the figures
mean: docs/memory.md.
"""

import asyncio
import os
import sys
from pathlib import Path

from emulator import Pico
from firmware import DEVICE, device_files

_GUEST = r"""
import gc, time
def step(name):
    global last
    spent = time.ticks_diff(time.ticks_ms(), last)
    gc.collect()
    print(name, gc.mem_free(), spent)
    last = time.ticks_ms()
last = time.ticks_ms()
step("prompt")
from clampdevice import start
start.loading(True)
config = start._read_board()
step("board")
hal = start.open_hal(config)
step("hal")
app = start._make_app(config, hal)
start.loading(False)
step("app")
import micropython
micropython.qstr_info()
low, high = 0, 1 << 17
while high - low > 256:
    middle = (low + high) // 2
    try:
        bytearray(middle)
        low = middle
    except MemoryError:
        high = middle
    gc.collect()
print("largest", low)
hal.close()
"""


async def measure(uf2: str, board: bytes, device: Path = DEVICE) -> str:
    """The lines above, for the content of a board.json and the firmware in `device`."""
    pico = Pico(uf2)
    await pico.start()
    try:
        await pico.load({**device_files(device), "board.json": board})
        await pico.reset()
        return await pico.run(_GUEST)
    finally:
        pico.stop()


def main() -> int:
    uf2 = os.environ.get("PICO_UF2", "")
    if len(sys.argv) < 2 or not Path(uf2).is_file():
        print(__doc__, file=sys.stderr)
        return 2
    device = Path(sys.argv[2]) if len(sys.argv) > 2 else DEVICE
    print(asyncio.run(measure(uf2, Path(sys.argv[1]).read_bytes(), device)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
