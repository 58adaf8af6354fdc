"""`clampwork device remove`, and the API under it: what is said of it, and who may do it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clampgateway.removals import StillConnectedError, UnknownDeviceError
from clampgateway.store import StoreError
from clamptools import cli
from support.apiserver import Served, serve

PATH = "/api/v1/devices/lathe%201"
UNKNOWN = UnknownDeviceError("there is no device 'lathe 1'")
CONNECTED = StillConnectedError("device lathe 1 is connected at /dev/x: unplug it first")


def remove(folder: Path, error: Exception | None = None) -> tuple[int, Served]:
    """The command's exit code, and what it was asked of."""
    codes: list[int] = []

    async def scenario(served: Served) -> None:
        line = ["device", "remove", "lathe 1", "--state-dir", str(folder)]
        codes.append(await asyncio.to_thread(cli.main, line))

    served = serve(folder, scenario, remove_error=error)
    return codes[0], served


def test_the_command_removes_and_says_what_becomes_of_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, served = remove(tmp_path)
    assert (code, served.removed) == (0, ["lathe 1"])
    out = capsys.readouterr().out
    assert out.startswith("lathe 1 is removed. What it sent and is not delivered yet goes out")


@pytest.mark.parametrize("error", [UNKNOWN, CONNECTED, StoreError("store x: disk is full")])
def test_what_the_gateway_refuses_is_said_in_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    code, served = remove(tmp_path, error)
    assert (code, served.removed) == (2, [])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"clampwork device: {error}")


def test_no_gateway_no_removal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["device", "remove", "x", "--state-dir", str(tmp_path)]) == 2
    assert "no gateway runs with the state folder" in capsys.readouterr().err


def test_the_api_asks_for_the_token_and_has_a_status_for_each_refusal(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            status, _, content = await served.ask(PATH, None, headers, "DELETE")
            assert (status, content["title"]) == (401, "Unauthorized")
        assert served.removed == []
        status, _, content = await served.ask(PATH, None, served.bearer(), "DELETE")
        assert (status, content, served.removed) == (200, {"device": "lathe 1"}, ["lathe 1"])
        refusals = ((404, UNKNOWN), (409, CONNECTED), (503, StoreError("store x: is full")))
        for expected, error in refusals:
            served.remove_error = error
            status, _, content = await served.ask(PATH, None, served.bearer(), "DELETE")
            assert (status, content["detail"].partition(": GET")[0]) == (expected, str(error))
        status, _, _ = await served.ask(PATH, None, served.bearer(), "POST")
        assert status == 405

    serve(tmp_path, scenario)
