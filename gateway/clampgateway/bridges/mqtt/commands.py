"""Commands by MQTT: carried out, and answered where the request says.

Owns the answer's topic and the commands that run. What may come in at all is the gate's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from clampgateway import topics
from clampgateway.bridges.mqtt.gate import Again, Asked, Gate, Refusal
from clampgateway.bridges.mqtt.replays import Replay, Replays
from clampgateway.feed import BridgeContext
from clampgateway.model import GatewayError
from clampgateway.mqttsession import Connection, Message, SessionLost
from clampgateway.topics import Answer, ReplayAnswer, Topics

_log = logging.getLogger(__name__)

RUNNING_MAX = 8
RESPONSE_TOPIC_MAX = 256


class Commands:
    """The commands of one bridge. `wake` is called when a replay waits."""

    def __init__(
        self,
        context: BridgeContext,
        names: Topics,
        gate: Gate,
        replays: Callable[[], Replays],
        wake: Callable[[], None],
    ) -> None:
        self._context = context
        self._names = names
        self._gate = gate
        self._replays = replays
        self._wake = wake
        self._connection: Connection | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.done = self.unanswerable = self.filters_refused = 0

    async def serve(self, connection: Connection) -> None:
        """Subscribes on a new connection. Raises nothing when it is lost."""
        self._connection = connection
        filters = self._names.commands(self._context.gateway_id)
        try:
            codes = await connection.subscribe(filters, self.on_message)
        except SessionLost:
            return
        refused = [name for name, code in zip(filters, codes, strict=True) if code >= 0x80]
        self.filters_refused = len(refused)
        for name in refused:
            _log.warning("the broker lets us hear no commands topic=%s", name)

    def stop(self) -> None:
        """The bridge ends: what runs is given up."""
        self._connection = None
        for task in tuple(self._running):
            task.cancel()

    def stats(self) -> dict[str, Any]:
        """Counters."""
        gate = self._gate
        return {
            "received": gate.received,
            "done": self.done,
            "repeated": gate.repeated,
            "refused": dict(gate.refused),
            "unanswerable": self.unanswerable,
            "filters_refused": self.filters_refused,
            "running": len(self._running),
        }

    def on_message(self, message: Message) -> None:
        """A message came on a topic of commands."""
        found = self._gate.check(message, self._context.mono())
        if isinstance(found, Refusal):
            _log.warning(
                "a command is refused topic=%s reason=%s", message.topic[:200], found.reason
            )
            if found.payload is not None:
                self._respond(message, found.payload)
        elif isinstance(found, Again):
            if found.payload is not None:
                self._respond(message, found.payload)
        elif isinstance(found.request, topics.Replay):
            self._replay(found, found.request)
        else:
            self._ask(found)

    # --- replay ---------------------------------------------------------------------------------

    def _replay(self, asked: Asked, request: topics.Replay) -> None:
        device = asked.device if asked.device is not None else request.device
        if device is None or not self._is_known(device):
            said = "none" if device is None else device[:64]
            self._refuse(asked, "unknown_device", f"there is no device {said} here")
            return

        def on_end(answer: ReplayAnswer | str) -> None:
            if isinstance(answer, str):
                self._refuse(asked, "refused_by_broker", answer)
            else:
                self._answer(asked, answer)

        replay = Replay(device, request.boot, request.first, request.last, on_end)
        if not self._replays().add(replay):
            self._refuse(asked, "busy", "too many replays wait: ask again later")
        self._wake()

    def _is_known(self, device: str) -> bool:
        """Whether records of it may be here: of one that was removed, too."""
        context = self._context
        return context.devices.get(device) is not None or device in context.removals

    # --- what a device is asked -----------------------------------------------------------------

    def _ask(self, asked: Asked) -> None:
        device = asked.device
        if device is None:
            self._refuse(asked, "unknown_command", f"the gateway itself has no {asked.name}")
            return
        if len(self._running) >= RUNNING_MAX:
            self._refuse(asked, "busy", "too many commands wait for answers: ask again later")
            return
        assert not isinstance(asked.request, topics.Replay)
        waiting = self._context.command(device, asked.name, asked.request.args)
        task = asyncio.create_task(self._carry_out(asked, waiting), name=f"command {asked.name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _carry_out(self, asked: Asked, waiting: Awaitable[Any]) -> None:
        try:
            said = await waiting
        except GatewayError as error:
            self._answer(asked, Answer(ok=False, reason="unreachable", error=str(error)))
            return
        ok = said.status == "ok"
        answer = Answer(ok=ok, reason="" if ok else said.status, answer=said.body)
        self._answer(asked, answer)

    # --- answers --------------------------------------------------------------------------------

    def _refuse(self, asked: Asked, reason: str, text: str) -> None:
        self._gate.refused[reason] += 1
        answer = Answer(ok=False, reason=reason, error=text)
        if asked.ident is not None:
            answer.id = asked.ident
        self._gate.forget(asked)
        self._respond(asked.message, topics.answer_payload(answer))

    def _answer(self, asked: Asked, answer: Answer | ReplayAnswer) -> None:
        self.done += 1
        if asked.ident is not None:
            answer.id = asked.ident
        payload = topics.answer_payload(answer)
        self._gate.answered(asked, payload)
        self._respond(asked.message, payload)

    def _respond(self, message: Message, payload: bytes) -> None:
        """To the response topic if there is one and it is none of ours, else beside the command.

        Whoever may not publish as a device must not make the gateway do so.
        """
        connection = self._connection
        topic = message.response_topic
        correlation = message.correlation
        if topic is not None and not self._fit(topic, message.topic):
            self.unanswerable += 1
            return
        if topic is None:
            if self._names.command_of(message.topic, self._context.gateway_id) is None:
                self.unanswerable += 1
                return
            topic, correlation = f"{message.topic}/{topics.RESULT}", None
        if connection is None or connection.ended:
            self.unanswerable += 1
            return
        connection.respond(topic, payload, correlation)

    def _fit(self, topic: str, asked: str) -> bool:
        if topic == f"{asked}/{topics.RESULT}":
            return True
        if not topic or len(topic.encode()) > RESPONSE_TOPIC_MAX or topic.startswith("$"):
            return False
        if any(char in topic for char in "+#\0"):
            return False
        return not self._names.owns(topic)
