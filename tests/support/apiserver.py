"""The HTTP API on a real socket in the running loop, with parts that a test holds."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clampgateway.api import (
    ApiContext,
    ApiServer,
    PortNotFoundError,
    Refusals,
    create_app,
    hosts_of,
    own_token,
)
from clampgateway.config import ApiSettings
from clampgateway.devices import Devices
from clampgateway.health import Health
from clampgateway.ledger import Content
from clampgateway.link.commands import Answer, LinkError
from clampgateway.store import StoreError

PORT = "/dev/ttyACM0"


@dataclass
class Served:
    """A server in the running loop, and what it was built from."""

    folder: Path
    settings: ApiSettings = field(default_factory=lambda: ApiSettings(port=0))
    devices: Devices = field(default_factory=Devices)
    health: Health = field(default_factory=Health)
    refused: Refusals = field(default_factory=Refusals)
    released: list[tuple[str, float]] = field(default_factory=list)
    stats: Callable[[], dict] = dict
    commands: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)
    answer: Answer | None = None
    removed: list[str] = field(default_factory=list)
    remove_error: Exception | None = None
    contents: list[Content] = field(default_factory=list)
    ledger_error: str = ""
    asked: list[tuple[str | None, int | None, int | None]] = field(default_factory=list)

    async def release(self, port: str, seconds: float) -> None:
        if port != PORT:
            raise PortNotFoundError(f"no source has {port}")
        self.released.append((port, seconds))

    async def command(self, device: str, name: str, args: Mapping[str, object]) -> Answer:
        self.commands.append((device, name, dict(args)))
        if self.answer is None:
            raise LinkError(f"device {device} is not connected")
        return self.answer

    async def remove(self, device: str) -> None:
        if self.remove_error is not None:
            raise self.remove_error
        self.removed.append(device)

    async def ledger(
        self, device: str | None, first_day: int | None, last_day: int | None
    ) -> list[Content]:
        self.asked.append((device, first_day, last_day))
        if self.ledger_error:
            raise StoreError(self.ledger_error)
        return self.contents

    async def run(self, scenario: Callable[[Served], Awaitable[None]]) -> None:
        self.token = own_token(self.folder)
        context = ApiContext(
            devices=self.devices,
            health=self.health.report,
            stats=self.stats,
            release=self.release,
            command=self.command,
            remove=self.remove,
            ledger=self.ledger,
            mono=lambda: 100.0,
            token=self.token,
            hosts=frozenset(hosts_of(self.settings.bind, self.settings.hosts)),
            refused=self.refused,
        )
        self.server = ApiServer(self.settings, create_app(context), self.folder, self.refused)
        task = asyncio.create_task(self.server.run())
        while not (self.folder / "api.json").exists():
            assert not task.done()
            await asyncio.sleep(0.01)
        self.address = json.loads((self.folder / "api.json").read_text())
        try:
            await scenario(self)
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def ask(
        self,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        method: str = "",
    ) -> tuple[int, http.client.HTTPMessage, dict]:
        return await asyncio.to_thread(self._ask, path, body, headers or {}, method)

    def _ask(self, path: str, body: object, headers: dict[str, str], method: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.address["port"], timeout=10)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body) if body else None
            connection.request(method or ("POST" if body else "GET"), path, data, headers)
            response = connection.getresponse()
            return response.status, response.headers, json.loads(response.read())
        finally:
            connection.close()

    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def serve(folder: Path, scenario: Callable[[Served], Awaitable[None]], **parts) -> Served:  # noqa: ANN003
    served = Served(folder, **parts)
    asyncio.run(served.run(scenario))
    return served
