"""Commands to devices over the API: the allow-list, the token, and what became of them."""

from pathlib import Path

import pytest

from clampgateway.link.commands import Answer
from support.apiserver import Served, serve

PATH = "/api/v1/devices/lathe-1/command"
WHY = {"name": "why"}


def _known(served: Served) -> None:
    served.devices.at("lathe-1")


def test_an_answer_of_the_device_is_passed_on(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        _known(served)
        served.answer = Answer(7, "ok", {"state": "working"})
        status, _, content = await served.ask(PATH, WHY, served.bearer())
        assert (status, content) == (
            200,
            {"device": "lathe-1", "command": "why", "answer": {"state": "working"}},
        )
        body = {"name": "identify", "args": {"seconds": 3}}
        assert (await served.ask(PATH, body, served.bearer()))[0] == 200

    served = serve(tmp_path, scenario)
    assert served.commands == [("lathe-1", "why", {}), ("lathe-1", "identify", {"seconds": 3})]


def test_no_command_without_the_token(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        _known(served)
        served.answer = Answer(7, "ok", {})
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert (await served.ask(PATH, WHY, headers))[0] == 401

    served = serve(tmp_path, scenario)
    assert served.commands == []
    assert served.refused.tokens == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (PATH, {"name": "format"}, 403, "no command 'format' here"),
        (PATH, {"name": "why", "args": [1]}, 422, "args"),
        (PATH, {"nam": "why"}, 422, "nam"),
        (PATH, b"{", 400, "not JSON"),
        ("/api/v1/devices/other/command", WHY, 404, "no device 'other'"),
        (PATH, WHY, 409, "not connected"),
    ],
)
def test_what_cannot_be_asked(
    tmp_path: Path, path: str, body: object, status: int, says: str
) -> None:
    async def scenario(served: Served) -> None:
        _known(served)
        got, _, content = await served.ask(path, body, served.bearer())
        assert got == status
        assert says in content["detail"]

    serve(tmp_path, scenario)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("bad_arguments", 422),
        ("unknown_command", 501),
        ("failed", 502),
        ("timeout", 504),
        ("disconnected", 504),
    ],
)
def test_what_the_device_did_not_do(tmp_path: Path, word: str, status: int) -> None:
    async def scenario(served: Served) -> None:
        _known(served)
        served.answer = Answer(7, word, {"error": "since it is so"})
        got, _, content = await served.ask(PATH, WHY, served.bearer())
        assert got == status
        assert content["detail"] == "device lathe-1: since it is so"

    serve(tmp_path, scenario)
