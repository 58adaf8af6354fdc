"""Stands for main.py: the firmware as it is, on a clock that is put forward, beside flash writes.

`SECONDS` is where device time begins: from 1,074 s on, a time in microseconds is no small integer
any more. `EVERY_MS` is how often a sector or a page of spare flash is written, one a call; 0 is
never. `ASKS`: each time the sampler is asked first for the time that the flash may take, as the
firmware's own ring does; without, it is written whenever that falls.
"""

import asyncio

import rp2

from clampdevice import clock, start

SECONDS = 0
EVERY_MS = 0
ASKS = False
HEADROOM_US = 400000  # what the ring in flash asks for before an erase
SPARE = 1024 * 1024  # far up in the file system, where the few files of a fresh board do not lie
SECTORS = 16
PAGES = 4


class Later(clock.Clock):
    def __init__(self, ticks_us) -> None:  # noqa: ANN001 - a callable
        super().__init__(ticks_us)
        self._total_us = 1000000 * SECONDS


samplers = []


def make_app(config: dict, hal):  # noqa: ANN001, ANN201 - loaded by the firmware
    app = made(config, hal)
    sources = app._sources.values()  # noqa: SLF001
    samplers.extend(source for source in sources if hasattr(source, "headroom_us"))
    return app


async def room() -> None:
    while ASKS and min(source.headroom_us() for source in samplers) < HEADROOM_US:
        await asyncio.sleep_ms(1)


async def write() -> None:
    flash = rp2.Flash(start=SPARE, len=SECTORS * 4096)
    page = bytearray(256)
    sector = 0
    while True:
        await asyncio.sleep_ms(EVERY_MS)
        await room()
        flash.ioctl(6, sector)
        for part in range(PAGES):
            await asyncio.sleep_ms(EVERY_MS)
            await room()
            flash.writeblocks(sector, page, 256 * part)
        sector = (sector + 1) % SECTORS


clock.Clock = Later
made = start._make_app  # noqa: SLF001
start._make_app = make_app  # noqa: SLF001
if EVERY_MS:
    asyncio.create_task(write())  # noqa: RUF006 - the loop keeps it
start.main()
