"""The subscribers of docs/platform against the real bridge and broker: what they ask for.

How they fare when they are killed is tests/e2e/test_subscriber.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiomqtt
import pytest

from clampgateway.model import Item
from support import readings
from support.bridging import BASE, bridged, left, running
from support.gateway_parts import GatewayParts, until
from support.mosquitto import Mosquitto
from support.readings import CURRENT

SCRIPTS = Path(__file__).parents[2] / "docs/platform"
# How long they wait between two looks, and what is soon enough for a test.
PAUSES = {
    "keep.py": ("PAUSE_S, END = 10, ", "PAUSE_S, END = 0.3, "),
    "subscriber.py": ("LOOK_S, AT_ONCE, TO_THE_END = 5, ", "LOOK_S, AT_ONCE, TO_THE_END = 0.3, "),
}
END = 4294967295
LATHE = "lathe"
STRANGE = (
    b'{"ok":true}',
    b'{"id":"","ok":true}',
    b'{"id":"keep","ok":true}',
    b'{"id":"keep 1 17 0","ok":false}',
    b'{"id":7,"ok":true,"records":0}',
)
ABOUT = readings.description(LATHE, (CURRENT,))


class Platform:
    """The script, with a shorter pause, as a process; what it kept is read from its file."""

    def __init__(self, name: str, folder: Path, port: int) -> None:
        self.file = folder / "records.db"
        self._log = folder / "platform.log"
        self._script = folder / name
        pause, short = PAUSES[name]
        text = (SCRIPTS / name).read_text()
        assert pause in text
        self._script.write_text(text.replace(pause, short))
        self._line = [sys.executable, self._script, "127.0.0.1", str(port), BASE, self.file]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(self._line, stdin=subprocess.DEVNULL, stderr=log)
        try:
            yield
            assert process.poll() is None, self._log.read_text()
        finally:
            process.kill()
            process.wait()

    def rows(self, query: str) -> list[tuple[int, ...]]:
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            try:
                return db.execute(query).fetchall()
            except sqlite3.OperationalError:
                return []  # it has not begun

    def kept(self) -> list[tuple[int, ...]]:
        return self.rows("SELECT boot, seq FROM items ORDER BY boot, seq")

    def sure(self) -> dict[int, int]:
        return dict(self.rows("SELECT boot, sure FROM boots"))  # type: ignore[arg-type]


def records(boot: int, *seqs: int) -> list[Item]:
    numbers = {"current1": {"rms": 1.0, "peak": 1.5}}
    return [readings.record(ABOUT, seq, numbers, boot=boot) for seq in seqs]


@pytest.mark.parametrize("name", PAUSES)
def test_holes_ends_gaps_and_power_ups(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, name: str
) -> None:
    broker = mosquitto()
    platform = Platform(name, tmp_path, broker.port)

    async def sure(wanted: dict[int, int]) -> None:
        """Up to where the short one is sure of each power-up; the long one has no such place."""
        if name == "keep.py":
            await until(lambda: platform.sure() == wanted, f"{wanted}", 20)

    async def heard(times: int) -> None:
        text = "Sending SUBACK to platform"
        await until(lambda: broker.log.read_text().count(text) >= times, "its subscription", 20)

    async def scenario(parts: GatewayParts) -> None:
        parts.describe(ABOUT, readings.identity(LATHE))
        async with bridged(parts, broker.port) as bridge:

            async def unheard(*items: Item) -> None:
                """Delivered to a broker that forgets, while nobody hears it."""
                broker.kill()
                broker.start()
                await until(lambda: not bridge.stats()["connected"], "the loss")
                await until(lambda: bridge.stats()["connected"], "a connection", 20)
                await parts.commit(items)
                await until(lambda: not left(bridge), "the delivery")

            early = [*range(20), *range(30, 50)]
            await parts.commit(records(17, *early))
            await until(lambda: not left(bridge), "the delivery")
            with platform.running():
                await heard(1)
                since_ns, topic = time.time_ns(), f"{BASE}/{LATHE}/cmd/replay/result"
                await parts.commit(records(17, 50))
                wanted = [(17, seq) for seq in (*early, 50)]
                await until(lambda: platform.kept() == wanted, "what was before it", 20)
                # The hole may still come from the device.
                await sure({17: 20})
                async with aiomqtt.Client("127.0.0.1", broker.port) as other:
                    # Ten of 31 lost on their way; and all of them, but over another connection.
                    for since, sent in ((since_ns, 31), (1, 21)):
                        said = {"id": f"keep {since} 17 20", "ok": True, "records": sent}
                        said |= {"events": 0, "gaps": 0, "missing": []}
                        await other.publish(topic, json.dumps(said), qos=1)
                    for strange in STRANGE:
                        await other.publish(topic, strange, qos=1)
                    await other.publish(f"{BASE}/gone/ledger", b"", qos=1)
                await asyncio.sleep(1.0)
                await sure({17: 20})
            told = readings.gap(ABOUT, 51, "spool_full", 28, 29, 28_000)
            await unheard(*records(17, *range(20, 28)), told)
            with platform.running():
                await heard(2)
                wanted = sorted([*wanted, *((17, seq) for seq in range(20, 28))])
                if (
                    name == "subscriber.py"
                ):  # the end is known when something follows, or by the ledger
                    await parts.commit(records(17, 52))
                    wanted.append((17, 52))
                wanted = sorted([*wanted, (17, 51)])
                await until(lambda: platform.kept() == wanted, "the hole", 20)
                await sure({17: 52})
                await parts.commit(records(18, *range(5)))
                wanted += [(18, seq) for seq in range(5)]
                await until(lambda: platform.kept() == wanted, "the next power-up", 20)
                # The one before is over when its end was asked for.
                await sure({17: END + 1, 18: 5})
            await unheard(*records(18, 5, 6), *records(19, *range(7)))
            with platform.running():
                await heard(3)
                await parts.commit(records(20, 0))
                wanted += [(18, 5), (18, 6), *((19, seq) for seq in range(7)), (20, 0)]
                await until(lambda: platform.kept() == wanted, "a whole power-up", 20)
                await sure({17: END + 1, 18: END + 1, 19: END + 1, 20: 1})

    async def main() -> None:
        async with running(tmp_path) as parts:
            await scenario(parts)

    asyncio.run(main())
