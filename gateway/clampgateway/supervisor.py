"""Keeps independent parts apart: each runs in a task of its own and is started again if it fails.

Owns tasks, back-off and counters of sources, bridges and the API. What a part does is its own;
parts that all others need (store, committer, feed) do not belong here: their failure ends the
gateway.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from clampgateway.model import GatewayError

log = logging.getLogger(__name__)

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
# A part that ran this long has recovered: its next failure starts at the first back-off again.
SETTLED_S = 60.0


@dataclass(slots=True)
class Part:
    """What is known of one part. `error` is why it waits for its next start, "" while it runs."""

    name: str
    run: Callable[[], Awaitable[None]]
    task: asyncio.Task[None] | None = None
    failures: int = 0
    starts: int = 0
    error: str = ""
    retry_mono: float = 0.0


class Supervisor:
    """Runs parts until they are stopped.

    A part is a coroutine function that serves until it is cancelled. One that raises, or that
    returns by itself, is called again after a back-off of 1 s, doubling up to 60 s. A reason that
    the part named itself (GatewayError, OSError) is logged in a line, anything else with its
    traceback. `on_memory` is called when one had no memory.
    """

    def __init__(
        self,
        mono: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_memory: Callable[[], None] = lambda: None,
    ) -> None:
        self._mono = mono
        self._sleep = sleep
        self._on_memory = on_memory
        self._parts: dict[str, Part] = {}

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Starts a part under a name of its own. Raises ValueError if the name is taken."""
        if name in self._parts:
            raise ValueError(f"a part named {name!r} runs already")
        part = self._parts[name] = Part(name, run)
        part.task = asyncio.create_task(self._keep(part), name=f"part {name}")

    async def stop(self, names: list[str], timeout_s: float) -> list[str]:
        """Cancels parts and waits for their end. Returns those that did not end in time."""
        tasks = {name: self._parts[name].task for name in names if name in self._parts}
        running = {name: task for name, task in tasks.items() if task is not None}
        for task in running.values():
            task.cancel()
        if running:
            await asyncio.wait(running.values(), timeout=timeout_s)
        late = [name for name, task in running.items() if not task.done()]
        for name in late:
            log.error("part does not stop part=%s timeout_s=%g", name, timeout_s)
        return late

    def problem(self, name: str) -> str:
        """Why a part does not run now; "" if it does."""
        return self._parts[name].error if name in self._parts else ""

    def stats(self) -> dict[str, dict[str, float | str]]:
        """For each part: starts, failures, the last reason, seconds until it is tried again."""
        now = self._mono()
        return {
            part.name: {
                "starts": part.starts,
                "failures": part.failures,
                "error": part.error,
                "retry_in_s": round(max(0.0, part.retry_mono - now), 1) if part.error else 0.0,
            }
            for part in self._parts.values()
        }

    async def _keep(self, part: Part) -> None:
        while True:
            try:
                await self._run(part)
            except MemoryError:
                # It did not even suffice to say why the part failed. The part is not given up.
                self._on_memory()
                part.error = "no memory"
                part.failures += 1
                await self._sleep(BACKOFF_FIRST_S)

    async def _run(self, part: Part) -> None:
        wait_s = BACKOFF_FIRST_S
        while True:
            started = self._mono()
            part.starts += 1
            part.error = ""
            crash = None
            try:
                await part.run()
                part.error = "ended by itself"
            except Exception as error:
                if _lacks_memory(error):
                    self._on_memory()
                causes = list(_causes(error))
                part.error = "; ".join(text for text, _known in causes)
                crash = None if all(known for _text, known in causes) else error
            if self._mono() - started >= SETTLED_S:
                wait_s = BACKOFF_FIRST_S
            part.failures += 1
            part.retry_mono = self._mono() + wait_s
            log.error(
                "part failed part=%s failures=%d retry_s=%g reason=%r",
                part.name,
                part.failures,
                wait_s,
                part.error,
                exc_info=crash,
            )
            await self._sleep(wait_s)
            wait_s = min(2 * wait_s, BACKOFF_MAX_S)


def _lacks_memory(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.subgroup(MemoryError) is not None
    return isinstance(error, MemoryError)


def _causes(error: BaseException) -> Iterator[tuple[str, bool]]:
    """What to say of an error, and whether that is all there is to say; groups one by one."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    elif isinstance(error, GatewayError | OSError) and str(error):
        yield str(error), True
    else:
        yield f"{type(error).__name__}: {error}", False
