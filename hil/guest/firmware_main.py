"""Stands for main.py: the firmware as it is, on a clock that is put forward, beside flash writes.

`SECONDS` is where device time begins: from 1,074 s on, a time in microseconds is no small integer
any more. `EVERY_MS` is how often a sector or a page of spare flash is written, one a call; 0 is
never. `ASKS`: each time as the firmware's own ring does it, when the sampler has the time that
the flash may take; without, it is written whenever that falls.
"""

import asyncio

import rp2

from clampdevice import clock, start
from clampdevice.layers import Room

SECONDS = 0
EVERY_MS = 0
ASKS = False
ERASE_US = 405000  # as in `history`, which takes 10 KB of heap and is not loaded without a ring
SPARE = 1024 * 1024  # far up in the file system, where the few files of a fresh board do not lie
SECTORS = 16
PAGES = 4


class Later(clock.Clock):
    def __init__(self, ticks_us) -> None:  # noqa: ANN001 - a callable
        super().__init__(ticks_us)
        self._total_us = 1000000 * SECONDS
        self._ms = 1000 * SECONDS


apps = []


def make_app(config: dict, hal):  # noqa: ANN001, ANN201 - loaded by the firmware
    apps.append(made(config, hal))
    return apps[0]


async def write() -> None:
    flash = rp2.Flash(start=SPARE, len=SECTORS * 4096)
    page = bytearray(256)
    sector = 0
    while True:
        await turn(flash.ioctl, 6, sector)
        for part in range(PAGES):
            await turn(flash.writeblocks, sector, page, 256 * part)
        sector = (sector + 1) % SECTORS


async def turn(work, *args: object) -> None:  # noqa: ANN001 - a callable
    await asyncio.sleep_ms(EVERY_MS)
    app = apps[0]
    if not ASKS:
        work(*args)
        return
    room = Room(app._clock, app._sources.values(), app._measure)  # noqa: SLF001
    while room.make(ERASE_US) < ERASE_US:
        await asyncio.sleep_ms(20)
    work(*args)
    app._measure.drain(app._clock)  # noqa: SLF001


clock.Clock = Later
made = start._make_app  # noqa: SLF001
start._make_app = make_app  # noqa: SLF001
if EVERY_MS:
    asyncio.create_task(write())  # noqa: RUF006 - the loop keeps it
start.main()
