"""One run of the demo: everything up, watched and checked while it runs, judged at its end.

Owns the order of things. The processes are `stack.py`, the books `account.py`, the verdict
`verdict.py`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TextIO

from clamptools.demo.account import Account, Key
from clamptools.demo.chaos import Chaos
from clamptools.demo.modbus import ModbusLog, ModbusReader, poll_until
from clamptools.demo.recovery import Recovery
from clamptools.demo.stack import GATEWAY_ID, HOST, ROOT, SITE, Stack
from clamptools.demo.subscriber import Subscriber
from clamptools.livetable import LiveTable
from clamptools.liveview import Row, View

PERIOD_S = 0.5
MODBUS_PERIOD_S = 1.0
# A record that is not there by then is shown as lost; it may still come.
LATE_MS = 5000.0
DRAIN_TIMEOUT_S = 20.0
# A refused topic is tried again after seconds, a lost message is missed after seconds.
CHAOS_DRAIN_TIMEOUT_S = 60.0
SUBSCRIBE_TIMEOUT_S = 10.0


@dataclass
class Evidence:
    """What a run leaves to be judged. `phantoms` were received, but no device made them; `made` is
    all that devices wrote down, also after the books were closed.
    """

    account: Account
    modbus: ModbusLog
    odd: list[str]
    phantoms: list[Key]
    gateway_code: int | None
    interrupted: bool
    made: set[Key] = field(default_factory=set)


class Session:
    """Runs a stack for a while.

    Args:
        stack: Entered, with nothing started.
        seconds: How long devices make records; None until SIGINT or SIGTERM.
        out: Where the live table goes.
        say: Takes lines for the user.
        chaos: Faults to inject meanwhile; what the subscriber misses it then asks for again.
    """

    def __init__(
        self,
        stack: Stack,
        seconds: float | None,
        out: TextIO,
        say: Callable[[str], None],
        chaos: Chaos | None = None,
    ) -> None:
        self._stack = stack
        self._seconds = seconds
        self._out = out
        self._say = say
        self._account = Account()
        self._view = View(ROOT)
        self._chaos = chaos
        excused = (lambda: chaos.gateway_excused) if chaos is not None else (lambda: False)
        self._modbus = ModbusReader(HOST, stack.modbus_port, excused)
        self._subscriber = Subscriber(
            HOST,
            stack.mqtt_port,
            ROOT,
            "demo-subscriber",
            self._account,
            self._view,
            on_answer=self._on_answer,
        )
        if chaos is not None:
            chaos.on_subscriber = self._on_subscriber
        self.recovery = Recovery(
            self._account, partial(self._subscriber.command, SITE), time.monotonic
        )
        self._ids: dict[str, str] = {}
        self._stop = asyncio.Event()
        self._harming: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None

    async def run(self) -> Evidence:
        """Everything from the first process to the last check; the stack still has to be closed.

        Raises:
            ChildError: A process did not come up or ended.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupted, task)
        polled = asyncio.Event()
        polling: asyncio.Task[None] | None = None
        listening = asyncio.create_task(self._subscriber.run())
        try:
            await self._start()
            polling = asyncio.create_task(poll_until(self._modbus, polled, MODBUS_PERIOD_S))
            with LiveTable(self._out, self._title(), "Ctrl-C ends") as table:
                if self._chaos is not None:
                    self._harming = asyncio.create_task(self._chaos.run())
                    self._recovering = asyncio.create_task(self.recovery.run())
                interrupted = await self._watch(table)
                if self._chaos is not None and self._harming is not None:
                    if interrupted:
                        self._chaos.stop()
                    table.caption = "waiting for the end of what was injected"
                    await self._harming
                table.caption = "waiting for what is on its way"
                polled.set()
                await polling
                self._modbus.close()
                await self._drain(table)
            return await self._finish(interrupted)
        finally:
            self._modbus.close()
            tasks = (self._harming, self._recovering, listening, polling)
            helpers = [task for task in tasks if task is not None]
            for helper in helpers:
                helper.cancel()
            # Their connections end before the broker does.
            await asyncio.gather(*helpers, return_exceptions=True)
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _interrupted(self, task: asyncio.Task[Evidence]) -> None:
        """The first time: end in order. The second time: end."""
        if self._stop.is_set():
            task.cancel()
        self._stop.set()

    def _on_answer(self, content: dict[str, Any]) -> None:
        self.recovery.took_answer(content)

    def _on_subscriber(self, present: bool) -> None:
        if present:
            self._subscriber.come_back()
        else:
            self._subscriber.leave()

    async def _start(self) -> None:
        stack = self._stack
        if stack.brings_broker:
            stack.start_broker()
            self._say(f"MQTT broker ({stack.broker_plan.text})  {HOST}:{stack.mqtt_port}")
        async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
            await self._subscriber.subscribed.wait()
        stack.start_gateway()
        self._say(f"Modbus TCP  {HOST}:{stack.modbus_port}  unit 1 on, gateway is unit 247")
        self._say(f"HTTP API  http://{HOST}:{stack.api_port}/api/v1/devices")
        self._say(f"try: mosquitto_sub -h {HOST} -p {stack.mqtt_port} -v -t '{ROOT}/#'")
        stack.start_devices()

    async def _watch(self, table: LiveTable) -> bool:
        """Until time is up; whether a signal came first."""
        try:
            async with asyncio.timeout(self._seconds):
                while not self._stop.is_set():
                    self._look(table)
                    try:
                        async with asyncio.timeout(PERIOD_S):
                            await self._stop.wait()
                    except TimeoutError:
                        continue
            return True
        except TimeoutError:
            return False

    async def _drain(self, table: LiveTable) -> None:
        """Closes the books: what is made by now has to come, what is made later is not counted.

        What the Modbus client saw has to come too, so that it can be compared.
        """
        account, seen = self._account, self._modbus.log
        self._read_side_files(account)
        timeout_s = DRAIN_TIMEOUT_S if self._chaos is None else CHAOS_DRAIN_TIMEOUT_S
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self._awaited() and not seen.unknown(account.received):
                break
            self._check()
            table.show(self._rows())
            await asyncio.sleep(0.1)
        table.show(self._rows(), last=True)

    def _check(self) -> None:
        """Raises what a process or a task ended with."""
        self._stack.check()
        for task in (self._harming, self._recovering):
            if task is not None and task.done():
                task.result()

    def _awaited(self) -> bool:
        """Whether something that was made may still come."""
        missing = self._account.missing()
        if self._chaos is None or not missing:
            return bool(missing)
        gaps = list(self._account.gaps())
        covered = all(any(gap.covers(key) for gap in gaps) for key in missing)
        return not (covered and self.recovery.idle)

    async def _finish(self, interrupted: bool) -> Evidence:
        stack = self._stack
        stack.stop_devices()
        code = await asyncio.to_thread(stack.stop_gateway)
        later = Account()
        self._read_side_files(later)
        phantoms = [
            key
            for key in self._account.received
            if key not in self._account.made and key not in later.made
        ]
        return Evidence(
            self._account,
            self._modbus.log,
            self._subscriber.odd,
            phantoms,
            code,
            interrupted,
            {*self._account.made, *later.made},
        )

    def _look(self, table: LiveTable) -> None:
        self._check()
        self._read_side_files(self._account)
        table.show(self._rows())

    def _read_side_files(self, account: Account) -> None:
        for device in self._stack.devices:
            side = device.side_file
            items = side.read()
            for power_up in side.power_ups:
                self._ids[power_up.device] = device.name
                self._account.add_power_up(power_up)
            for item in items:
                account.add_made(side.power_ups[item.power_up].device, item)

    def _rows(self) -> Iterator[Row]:
        """Rows whose `lost` is the truth: made, old enough, and not there."""
        now_ms = time.time() * 1000
        power_ups = {
            power_up.device: device.side_file.power_ups
            for device in self._stack.devices
            for power_up in device.side_file.power_ups
        }
        lost: dict[str, int] = {}
        for key in self._account.missing():
            item = self._account.made[key]
            start = power_ups[key.device][item.power_up]
            if now_ms - start.utc_ms(item.end_ms) > LATE_MS:
                lost[key.device] = lost.get(key.device, 0) + 1
        for row in self._view.rows(now_ms):
            yield row._replace(missing=lost.get(row.device, 0))

    def _title(self) -> str:
        return f"Clampwork demo, gateway {GATEWAY_ID}"
