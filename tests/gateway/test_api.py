"""The HTTP API over a real socket: answers, refusals, limits, and its two files."""

import asyncio
import contextlib
import gc
import json
import logging
import re
import signal
import socket
import stat
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clampgateway.api import (
    ApiServer,
    Refusals,
    create_app,
    hosts_of,
    own_token,
)
from clampgateway.api import server as server_module
from clampgateway.api.access import AccessError, find
from clampgateway.api.problem import host_name
from clampgateway.config import ApiSettings
from clampgateway.devices import Devices
from clampgateway.health import Health
from clampgateway.model import Channel, Description, Identity, Reading
from support.apiserver import PORT, Served, serve

RELEASE = "/api/v1/ports/release"


def test_health_is_200_unless_something_vital_fails(tmp_path: Path) -> None:
    broken = {"broker": "", "store": ""}
    health = Health()
    health.watch("broker", lambda: broken["broker"], vital=False)
    health.watch("store", lambda: broken["store"], vital=True)

    async def scenario(served: Served) -> None:
        status, headers, content = await served.ask("/healthz")
        assert (status, content) == (200, {"status": "ok", "reasons": []})
        assert headers["cache-control"] == "no-store"
        broken["broker"] = "refuses connections"
        status, _, content = await served.ask("/healthz")
        reason = {"part": "broker", "text": "refuses connections", "vital": False}
        assert (status, content) == (200, {"status": "degraded", "reasons": [reason]})
        broken["store"] = "disk full"
        status, _, content = await served.ask("/healthz")
        assert status == 503
        assert content["status"] == "failing"
        assert content["reasons"][1] == {"part": "store", "text": "disk full", "vital": True}

    serve(tmp_path, scenario, health=health)


def test_devices_show_all_that_is_known(tmp_path: Path) -> None:
    devices = Devices()
    devices.at("unknown1")
    device = devices.at("lathe1")
    device.identity = Identity(
        "lathe1", "<img onerror=x>", "sim", "0.1", "py", "1.0", 4, 7, "power_on"
    )
    nan = float("nan")
    channel = Channel(0, "current1", "current", "A", "ct", 6400.0, 30.0, nan, nan, "", ())
    device.description = Description("lathe1", 7, 1, (channel,))
    device.online = True
    reading = Reading("lathe1", 4, 9, 1000, 1000, "good", (), {"current1": {"rms": 4.5}}, {})
    devices.took_reading(reading, 99.25)

    async def scenario(served: Served) -> None:
        status, _, content = await served.ask("/api/v1/devices")
        assert status == 200
        lathe, unknown = content["devices"]
        assert (unknown["device"], unknown["identity"], unknown["reading"]) == (
            "unknown1",
            None,
            None,
        )
        assert unknown["state"] == {"state": "unknown", "since_ms": 0, "why": ""}
        assert lathe["identity"]["name"] == "<img onerror=x>"
        assert lathe["description"]["channels"][0]["noise_floor"] is None
        assert lathe["reading"]["ch"] == {"current1": {"rms": 4.5}}
        assert lathe["reading"]["age_s"] == 0.75
        assert (lathe["online"], lathe["records"]) == (True, 1)

    serve(tmp_path, scenario, devices=devices)


def test_release_needs_the_token(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        body = {"port": PORT, "seconds": 30}
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Basic {served.token}"},
            {"Authorization": "Bearer \xff\xfe"},
        ):
            status, answered, content = await served.ask(RELEASE, body, headers)
            assert status == 401
            assert answered["www-authenticate"] == "Bearer"
            assert answered["content-type"] == "application/problem+json"
            assert content["status"] == 401
            assert served.token not in content["detail"]
        assert served.released == []
        status, _, content = await served.ask(RELEASE, body, served.bearer())
        assert (status, content) == (200, {"port": PORT, "seconds": 30.0})
        await served.ask(RELEASE, {"port": PORT}, served.bearer())
        assert served.released == [(PORT, 30.0), (PORT, 60.0)]

    served = serve(tmp_path, scenario)
    assert served.refused.tokens == 4


@pytest.mark.parametrize(
    ("body", "expected", "detail"),
    [
        ({"port": "/dev/other"}, 404, "no source has /dev/other"),
        ({"port": PORT, "seconds": -1}, 422, "$.seconds"),
        ({"port": PORT, "seconds": 3601}, 422, "$.seconds"),
        ({"port": PORT, "second": 5}, 422, "second"),
        ({"port": 5}, 422, "$.port"),
        ({"seconds": 5}, 422, "port"),
        ([1], 422, "object"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 4096, 422, "object"),
        (b" " * 4097, 413, "4096 bytes"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(
    tmp_path: Path, body: object, expected: int, detail: str
) -> None:
    async def scenario(served: Served) -> None:
        status, headers, content = await served.ask(RELEASE, body, served.bearer())
        assert status == expected
        assert headers["content-type"] == "application/problem+json"
        assert detail in content["detail"]
        assert served.released == []

    serve(tmp_path, scenario)


def test_unknown_paths_and_methods_are_problems(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        status, _, content = await served.ask("/api/v2")
        assert (status, content["detail"]) == (404, "there is no /api/v2")
        status, headers, content = await served.ask("/healthz", {"a": 1})
        assert (status, content["title"]) == (405, "Method Not Allowed")
        assert "GET" in headers["allow"]
        status, _, _ = await served.ask(RELEASE)
        assert status == 405

    serve(tmp_path, scenario)


def test_every_path_is_documented(root_dir: Path) -> None:
    text = (root_dir / "docs/api.md").read_text()
    context: Any = SimpleNamespace(hosts=frozenset(), refused=Refusals())
    paths = {f"`{min(route.methods)} {route.path}`" for route in create_app(context).routes}  # type: ignore[attr-defined]
    assert paths == set(re.findall(r"^\| (`[A-Z]+ /.*?`)", text, re.MULTILINE))


def test_a_defect_is_a_problem_without_details(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def crash() -> dict:
        raise RuntimeError("secret detail")

    async def scenario(served: Served) -> None:
        status, _, content = await served.ask("/api/v1/stats")
        assert status == 500
        assert "secret" not in json.dumps(content)

    serve(tmp_path, scenario, stats=crash)
    assert "secret detail" in caplog.text


def test_other_host_names_are_refused(tmp_path: Path) -> None:
    settings = ApiSettings(port=0, hosts=("pi.local",))

    async def scenario(served: Served) -> None:
        for host in ("evil.example", "evil.example:80", "", "127.0.0.1.evil.example"):
            status, _, _ = await served.ask("/healthz", headers={"Host": host})
            assert status == 421, host
        for host in ("localhost", "LOCALHOST:1", "[::1]:80", "pi.local:8620", "127.0.0.1"):
            status, _, _ = await served.ask("/healthz", headers={"Host": host})
            assert status == 200, host

    served = serve(tmp_path, scenario, settings=settings)
    assert served.refused.hosts == 4


def test_host_names_are_read_without_their_port() -> None:
    assert host_name("[2001:DB8::1]:80") == "2001:db8::1"
    assert hosts_of("0.0.0.0", ["a"]) == {"a"}
    assert hosts_of("10.0.0.5", ["a"]) == {"10.0.0.5", "a"}


def test_slow_and_silent_connections_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpatched_s = server_module.REQUEST_TIMEOUT_S
    monkeypatch.setattr(server_module, "REQUEST_TIMEOUT_S", 0.5)

    async def scenario(served: Served) -> None:
        port = served.address["port"]
        silent, silent_out = await asyncio.open_connection("127.0.0.1", port)
        slow, slow_out = await asyncio.open_connection("127.0.0.1", port)
        body, body_out = await asyncio.open_connection("127.0.0.1", port)
        request = f"POST {RELEASE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
        authorization = f"Authorization: Bearer {served.token}\r\n\r\n1"
        body_out.write((request + authorization).encode())
        head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
        sent = 0
        while not slow.at_eof() and sent < len(head):
            slow_out.write(head[sent : sent + 1])
            sent += 1
            await asyncio.sleep(0.05)
        assert sent < len(head)
        # Less than the time-out that is not patched, and much more than the one that is.
        async with asyncio.timeout(0.8 * unpatched_s):
            for reader in (silent, slow, body):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
        assert (await served.ask("/healthz"))[0] == 200
        for writer in (silent_out, slow_out, body_out):
            writer.close()

    served = serve(tmp_path, scenario)
    assert served.refused.timeouts == 3


def test_requests_on_a_kept_connection_are_served(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.address["port"])
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for chunk in (request, request + request, request[:9], request[9:]):
            writer.write(chunk)
            await asyncio.sleep(0.1)
        writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        text = await reader.read()
        assert text.count(b"HTTP/1.1 200 OK") == 5
        writer.close()

    assert serve(tmp_path, scenario).refused.timeouts == 0


def test_one_connection_too_many_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 3)

    async def scenario(served: Served) -> None:
        address = ("127.0.0.1", served.address["port"])
        opened = [await asyncio.open_connection(*address) for _ in range(4)]
        async with asyncio.timeout(3):
            assert await opened[3][0].read() == b""
        opened[0][1].close()
        await asyncio.sleep(0.1)
        assert (await served.ask("/healthz"))[0] == 200
        for _, writer in opened:
            writer.close()

    assert serve(tmp_path, scenario).refused.connections == 1


def test_the_end_waits_for_no_unfinished_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[float] = []
    # Long enough to tell a wait for them from a machine that is busy.
    monkeypatch.setattr(server_module, "CLOSE_TIMEOUT_S", 20)

    async def scenario(served: Served) -> None:
        address = ("127.0.0.1", served.address["port"])
        head = f"POST {RELEASE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
        for text in (
            "",
            "GET /healthz HT",
            f"{head}Authorization: Bearer {served.token}\r\n\r\n1",
        ):
            _reader, writer = await asyncio.open_connection(*address)
            writer.write(text.encode())
            opened.append(writer)
        await asyncio.sleep(0.1)
        began.append(time.monotonic())

    opened: list[asyncio.StreamWriter] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        serve(tmp_path, scenario)
        assert time.monotonic() - began[0] < 10
        opened.clear()
        gc.collect()
    assert caplog.text == ""


def test_the_port_in_use_is_told_and_taken_back(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        access = find(tmp_path)
        assert access.port == served.address["port"] != 0
        assert access.token == served.token
        for name in ("api.json", "api.token"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600

    serve(tmp_path, scenario)
    with pytest.raises(AccessError, match="no gateway runs"):
        find(tmp_path)


def test_a_taken_port_is_an_error_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = ApiServer(ApiSettings(port=port), create_app, tmp_path, Refusals())  # type: ignore[arg-type]
        with pytest.raises(server_module.ApiError, match=f"port {port} .*set api.port"):
            asyncio.run(server.run())


def test_the_server_leaves_signals_and_logging_alone(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    handlers = list(logging.getLogger().handlers)

    async def scenario(served: Served) -> None:
        await served.ask("/healthz")
        assert signal.getsignal(signal.SIGTERM) is handler
        assert logging.getLogger().handlers == handlers
        assert logging.getLogger("uvicorn").handlers == []

    serve(tmp_path, scenario)


def test_a_token_that_others_could_read_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = own_token(tmp_path)
    assert len(first) >= 32
    assert own_token(tmp_path) == first
    (tmp_path / "api.token").chmod(0o644)
    second = own_token(tmp_path)
    assert second != first
    assert stat.S_IMODE((tmp_path / "api.token").stat().st_mode) == 0o600
    assert first not in caplog.text
    assert "token replaced" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", '{"host": "x"}', "\xff"])
def test_a_broken_address_file_is_a_sentence(tmp_path: Path, text: str) -> None:
    own_token(tmp_path)
    (tmp_path / "api.json").write_text(text)
    with pytest.raises(AccessError, match="cannot be used"):
        find(tmp_path)
