"""Injects the faults of a schedule into a running demo, and writes down when each was on.

Owns what a fault does and how it ends; when is `schedule.py`, what it may cost is
`chaosverdict.py`. Faults on different things overlap, those on one thing never do. At the end
everything is healed: the broker serves, the gateway runs, all devices are on and plugged in.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clamptools.demo import schedule
from clamptools.demo.brokers import Refuser
from clamptools.demo.processes import Child
from clamptools.demo.schedule import Action
from clamptools.demo.stack import ROOT, SITE, Stack

# A Modbus client has lost its connection, and the gateway took so long to come up again.
EXCUSED_S = 8.0
DENIED = f"{ROOT}/{SITE}/+/data"


@dataclass
class Injected:
    """A fault that was injected: when it began and ended, in s after the start."""

    action: Action
    began_s: float
    ended_s: float | None = None

    def entry(self) -> dict[str, Any]:
        """For the log: what was planned, and what came of it."""
        ended_s = None if self.ended_s is None else round(self.ended_s, 3)
        return {
            "at_s": self.action.at_s,
            "kind": self.action.kind,
            "target": self.action.target,
            "for_s": self.action.for_s,
            "began_s": round(self.began_s, 3),
            "ended_s": ended_s,
        }


class Chaos:
    """Faults for one stack with cables.

    Args:
        stack: Its processes; started by someone else.
        actions: What to inject, in the order of their begin.
        say: Takes a line for each.
    """

    def __init__(
        self, stack: Stack, actions: Iterator[Action], say: Callable[[str], None]
    ) -> None:
        self._stack = stack
        self._actions = actions
        self._say = say
        self._over = asyncio.Event()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._refuser = Refuser(stack.mqtt_port)
        self._start_s = time.monotonic()
        # Told to be away before the broker is killed, and to come back after it.
        self.on_subscriber: Callable[[bool], None] = lambda _present: None
        self.log: list[Injected] = []
        self._doing: dict[str, tuple[_Step, _Step]] = {
            schedule.STOP.name: (self._stop_broker, self._start_broker),
            schedule.KILL.name: (self._send_subscriber_away, self._kill_broker),
            schedule.FREEZE.name: (self._freeze_broker, self._thaw_broker),
            schedule.REFUSE.name: (self._refuse, self._accept),
            schedule.DENY.name: (self._deny, self._allow),
            schedule.GATEWAY_KILL.name: (self._kill_gateway, self._start_gateway),
            schedule.GATEWAY_FREEZE.name: (self._freeze_gateway, self._thaw_gateway),
            schedule.CUT.name: (self._cut, self._plug),
            schedule.NOISE.name: (self._disturb, self._calm),
            schedule.SILENCE.name: (self._silence, self._calm),
            schedule.POWER.name: (self._power_off, self._power_on),
        }

    async def run(self) -> None:
        """Inject until the schedule ends or `stop`, then heal.

        Raises:
            ChildError: A process did not come up again.
        """
        self._start_s = time.monotonic()
        tasks: list[asyncio.Task[None]] = []
        try:
            for action in self._actions:
                if await self._wait(action.at_s - self.now_s):
                    break
                tasks.append(asyncio.create_task(self._inject(action)))
            await asyncio.gather(*tasks)
        finally:
            self._over.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._refuser.stop()

    def stop(self) -> None:
        """No new fault; what is on ends now."""
        self._over.set()

    @property
    def now_s(self) -> float:
        """Since the start of `run`."""
        return time.monotonic() - self._start_s

    @property
    def gateway_excused(self) -> bool:
        """Whether the gateway was away or frozen lately."""
        return any(
            entry.action.target == schedule.GATEWAY
            and (entry.ended_s is None or self.now_s - entry.ended_s < EXCUSED_S)
            for entry in self.log
        )

    def summary(self) -> dict[str, Any]:
        """What was done, for the result."""
        cables = self._stack.cables.values()
        return {
            "injected": dict(sorted(Counter(e.action.kind for e in self.log).items())),
            "spoiled_chunks": sum(cable.injected for cable in cables),
            "swallowed_bytes": sum(cable.swallowed for cable in cables),
            "refused_connects": self._refuser.refused,
            "actions": [entry.entry() for entry in self.log],
        }

    async def _wait(self, seconds: float) -> bool:
        """Whether it is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._over.wait()
        return self._over.is_set()

    async def _inject(self, action: Action) -> None:
        begin, end = self._doing[action.kind]
        async with self._locks[action.target]:
            if self._over.is_set():
                return
            entry = Injected(action, self.now_s)
            self.log.append(entry)
            self._say(f"{entry.began_s:8.2f} s  {action.kind} {action.target} {action.for_s:g} s")
            await begin(action)
            await self._wait(entry.began_s + action.for_s - self.now_s)
            await end(action)
            entry.ended_s = self.now_s

    # --- broker ---------------------------------------------------------------------------------

    def _broker(self) -> Child:
        child = self._stack.broker
        assert child is not None
        return child

    async def _stop_broker(self, _action: Action) -> None:
        child = self._broker()
        self._stack.broker = None
        await asyncio.to_thread(child.stop)

    async def _send_subscriber_away(self, _action: Action) -> None:
        self.on_subscriber(False)

    async def _kill_broker(self, action: Action) -> None:
        """What it acknowledged and kept for the subscriber is lost with it."""
        child = self._broker()
        self._stack.broker = None
        await asyncio.to_thread(child.kill)
        await self._start_broker(action)
        self.on_subscriber(True)

    async def _start_broker(self, _action: Action) -> None:
        await asyncio.to_thread(self._stack.start_broker)

    async def _freeze_broker(self, _action: Action) -> None:
        self._broker().send(signal.SIGSTOP)

    async def _thaw_broker(self, _action: Action) -> None:
        self._broker().send(signal.SIGCONT)

    async def _refuse(self, action: Action) -> None:
        await self._stop_broker(action)
        await self._refuser.start()

    async def _accept(self, action: Action) -> None:
        self._refuser.stop()
        await self._start_broker(action)

    async def _deny(self, _action: Action) -> None:
        self._stack.broker_plan.deny(DENIED)
        self._broker().send(signal.SIGHUP)

    async def _allow(self, _action: Action) -> None:
        self._stack.broker_plan.allow()
        self._broker().send(signal.SIGHUP)

    # --- gateway --------------------------------------------------------------------------------

    async def _kill_gateway(self, _action: Action) -> None:
        await asyncio.to_thread(self._stack.kill_gateway)

    async def _start_gateway(self, _action: Action) -> None:
        await asyncio.to_thread(self._stack.start_gateway)

    async def _freeze_gateway(self, _action: Action) -> None:
        assert self._stack.gateway is not None
        self._stack.gateway.send(signal.SIGSTOP)

    async def _thaw_gateway(self, _action: Action) -> None:
        assert self._stack.gateway is not None
        self._stack.gateway.send(signal.SIGCONT)

    # --- devices --------------------------------------------------------------------------------

    async def _cut(self, action: Action) -> None:
        self._stack.cables[action.target].unplug()

    async def _plug(self, action: Action) -> None:
        self._stack.cables[action.target].plug()

    async def _disturb(self, action: Action) -> None:
        self._stack.cables[action.target].disturb(action.seed)

    async def _silence(self, action: Action) -> None:
        self._stack.cables[action.target].silent = True

    async def _calm(self, action: Action) -> None:
        self._stack.cables[action.target].calm()

    async def _power_off(self, action: Action) -> None:
        stack = self._stack
        stack.dark.add(action.target)
        stack.cables[action.target].unplug()
        await asyncio.to_thread(stack.device(action.target).kill)

    async def _power_on(self, action: Action) -> None:
        stack = self._stack
        device = stack.device(action.target)
        await asyncio.to_thread(device.start)
        await asyncio.to_thread(device.plug_in)
        stack.cables[action.target].plug()
        stack.dark.discard(action.target)


_Step = Callable[[Action], Awaitable[None]]
