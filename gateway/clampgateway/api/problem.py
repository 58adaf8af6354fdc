"""Errors of the API as problem+json, and what every request must pass first.

Owns the form of an error, the allow-list of Host (a web page that points its own name at
loopback must not reach us), the limit of a body and the token. Ref: RFC 9457.
"""

from __future__ import annotations

import http
import ipaddress
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

BODY_BYTES_MAX = 4096
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def json_response(
    content: object,
    status: int = 200,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """JSON that nobody keeps; NaN and infinity become null."""
    body = msgspec.json.encode(content)
    return Response(body, status, {**_HEADERS, **(headers or {})}, media_type)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error: status, its standard title, and what is wrong and what to do."""
    title = http.HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return json_response(content, status, "application/problem+json", headers)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Handler of HTTPException: unknown paths, methods, and what the routes raise."""
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == http.HTTPStatus.NOT_FOUND and detail == "Not Found":
        detail = f"there is no {request.url.path}"
    elif error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.url.path} does not know {request.method}"
    return problem(error.status_code, detail, error.headers)


async def on_crash(_request: Request, _error: Exception) -> Response:
    """Handler of everything else; the server logs the traceback."""
    return problem(500, "a defect of the gateway: its log has the details")


@dataclass(slots=True)
class Refusals:
    """What was turned away: by its Host, by its token, as one connection too many, as too slow."""

    hosts: int = 0
    tokens: int = 0
    connections: int = 0
    timeouts: int = 0


class HostCheck:
    """Answers 421 to a request for a name that is not ours."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], refused: Refusals) -> None:
        self._app = app
        self._hosts = LOOPBACK_HOSTS | {host.lower().strip("[]") for host in hosts}
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = host_name(Headers(scope=scope).get("host", ""))
            if host not in self._hosts:
                self._refused.hosts += 1
                detail = f"this gateway is not called {host!r}: add the name to api.hosts"
                await problem(421, detail)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def host_name(header: str) -> str:
    """The name in a Host header, without the port: "[::1]:80" is "::1"."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def hosts_of(bind: str, hosts: Iterable[str]) -> set[str]:
    """The names under which an API bound to `bind` is called."""
    own = set() if ipaddress.ip_address(bind).is_unspecified else {bind}
    return own | set(hosts)


async def read_body(request: Request) -> bytes:
    """The body of a request.

    Raises HTTPException 413 beyond 4096 bytes, before all is read, and 400 for a body cut short.
    """
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise HTTPException(413, f"a request may have {BODY_BYTES_MAX} bytes")
    except ClientDisconnect as error:
        raise HTTPException(400, "the connection ended before the request did") from error
    return body


def check_token(request: Request, token: str, refused: Refusals) -> None:
    """Raises HTTPException 401 without the token. Takes the same time for each wrong one."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    same = secrets.compare_digest(given.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not same:
        refused.tokens += 1
        detail = (
            "send `Authorization: Bearer TOKEN` with the text of api.token in the state folder"
        )
        raise HTTPException(401, detail, {"www-authenticate": "Bearer"})
