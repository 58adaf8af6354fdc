"""What the API answers: health, devices and commands to them, counters, releasing a port.

Owns paths, schemas and status codes. It reads what the composition root hands over and changes
nothing itself; a route that changes something calls one function and asks for the token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clampgateway.api import commands, ledger, problem
from clampgateway.devices import Device, Devices
from clampgateway.health import Report
from clampgateway.link.commands import Answer, LinkError
from clampgateway.model import Description, GatewayError
from clampgateway.removals import StillConnectedError, UnknownDeviceError
from clampgateway.store import StoreError

RELEASE_S_MAX = 3600


class PortNotFoundError(GatewayError):
    """No source has the port that should be released."""


class Release(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /api/v1/ports/release: the port's path, and for how long (0 takes it back)."""

    port: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    seconds: Annotated[float, msgspec.Meta(ge=0, le=RELEASE_S_MAX)] = 60.0


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What the routes need.

    `release` raises PortNotFoundError; `command` (device, name, arguments) LinkError; `remove`
    UnknownDeviceError, StillConnectedError or StoreError; `ledger`
    (device, first and last day since 1970, None for all) StoreError; `mono` is in seconds.
    """

    devices: Devices
    health: Callable[[], Report]
    stats: Callable[[], Mapping[str, Any]]
    release: Callable[[str, float], Awaitable[None]]
    command: Callable[[str, str, Mapping[str, object]], Awaitable[Answer]]
    remove: Callable[[str], Awaitable[None]]
    ledger: ledger.ReadLedger
    mono: Callable[[], float]
    token: str
    hosts: frozenset[str]
    refused: problem.Refusals


def create_app(context: ApiContext) -> Starlette:
    """The ASGI application."""
    routes = _Routes(context)
    return Starlette(
        routes=[
            Route("/healthz", routes.healthz),
            Route("/api/v1/devices", routes.devices),
            Route("/api/v1/devices/{device}", routes.remove, methods=["DELETE"]),
            Route("/api/v1/devices/{device}/command", routes.command, methods=["POST"]),
            Route("/api/v1/ledger", routes.ledger),
            Route("/api/v1/stats", routes.stats),
            Route("/api/v1/ports/release", routes.release, methods=["POST"]),
        ],
        middleware=[Middleware(problem.HostCheck, hosts=context.hosts, refused=context.refused)],
        exception_handlers={HTTPException: problem.on_http_error, Exception: problem.on_crash},
    )


class _Routes:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def healthz(self, _request: Request) -> Response:
        """200 while the gateway does its work, 503 when it does not, with the reasons."""
        report = self._context.health()
        reasons = [reason._asdict() for reason in report.reasons]
        content = {"status": report.status, "reasons": reasons}
        return problem.json_response(content, 503 if report.status == "failing" else 200)

    async def devices(self, _request: Request) -> Response:
        """All devices seen since the start or known from the store."""
        now = self._context.mono()
        devices = [device_content(device, now) for device in self._context.devices]
        return problem.json_response({"devices": devices})

    async def command(self, request: Request) -> Response:
        """Gives a device one of the commands that are allowed, and waits for its answer."""
        problem.check_token(request, self._context.token, self._context.refused)
        wanted = commands.parse(await problem.read_body(request))
        device = request.path_params["device"]
        if not any(device == known.key for known in self._context.devices):
            raise HTTPException(404, f"no device {device!r}: GET /api/v1/devices lists them")
        try:
            answer = await self._context.command(device, wanted.name, wanted.args)
        except LinkError as error:
            raise HTTPException(409, str(error)) from error
        return problem.json_response(commands.content(device, wanted.name, answer))

    async def remove(self, request: Request) -> Response:
        """Removes a device that is unplugged."""
        problem.check_token(request, self._context.token, self._context.refused)
        device = request.path_params["device"]
        try:
            await self._context.remove(device)
        except UnknownDeviceError as error:
            raise HTTPException(404, f"{error}: GET /api/v1/devices lists them") from error
        except StillConnectedError as error:
            raise HTTPException(409, str(error)) from error
        except StoreError as error:
            raise HTTPException(503, str(error)) from error
        return problem.json_response({"device": device})

    async def ledger(self, request: Request) -> Response:
        """What was expected of each device and day, what came, and what lacks."""
        return await ledger.answer(request, self._context.ledger)

    async def stats(self, _request: Request) -> Response:
        """All counters, by part."""
        return problem.json_response(self._context.stats())

    async def release(self, request: Request) -> Response:
        """Closes a serial port for some time, so that another program can use it."""
        problem.check_token(request, self._context.token, self._context.refused)
        body = await problem.read_body(request)
        try:
            wanted = msgspec.json.decode(body, type=Release)
        except msgspec.ValidationError as error:
            raise HTTPException(422, f"{error}") from error
        except msgspec.DecodeError as error:
            example = '{"port": "/dev/ttyACM0", "seconds": 60}'
            raise HTTPException(400, f"the body is not JSON ({error}): send {example}") from error
        try:
            await self._context.release(wanted.port, wanted.seconds)
        except PortNotFoundError as error:
            raise HTTPException(404, str(error)) from error
        return problem.json_response({"port": wanted.port, "seconds": wanted.seconds})


def device_content(device: Device, now_s: float) -> dict[str, Any]:
    """One device as JSON has it. `reading.age_s` counts from its commit."""
    reading = None
    if device.reading is not None:
        last = device.reading
        reading = {
            "t": last.t_ms,
            "dur": last.dur_ms,
            "boot": last.boot,
            "seq": last.seq,
            "q": last.quality,
            "f": last.flags,
            "ch": last.channels,
            "channel_flags": last.channel_flags,
            "age_s": round(max(0.0, now_s - device.reading_mono), 3),
        }
    return {
        "device": device.key,
        "online": device.online,
        "refused": device.refused,
        "source": device.source,
        "identity": device.identity,
        "description": _description(device.description),
        "reading": reading,
        "state": device.state._asdict(),
        "status": device.status,
        "link": device.link,
        "records": device.records,
        "events": device.events,
        "gaps": device.gaps,
    }


def _description(about: Description | None) -> dict[str, Any] | None:
    """A description without what is made from it."""
    if about is None:
        return None
    return {
        "device": about.device,
        "crc": about.crc,
        "layout": about.layout,
        "channels": about.channels,
    }
