"""GET /api/v1/ledger over a real socket: what is asked for, what comes, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from clampgateway.ledger import Content, Day, Missing
from support.apiserver import Served, serve

PATH = "/api/v1/ledger"
DAY = Day("2026-11-22", expected=10, received=7, lost=3)
DAY.lost_ranges = [Missing(4, 5, 7, 3, "spool_full")]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", (None, None, None)),
        ("?device=a%2Fb", ("a/b", None, None)),
        ("?from=1970-01-02&to=2026-11-22", (None, 1, 20779)),
        ("?device=lathe&from=unsynced&to=unsynced", ("lathe", 0, 0)),
    ],
)
def test_days_that_are_asked_for(
    tmp_path: Path, query: str, asked: tuple[str | None, int | None, int | None]
) -> None:
    async def scenario(served: Served) -> None:
        served.contents = [Content("lathe", [DAY])]
        status, headers, content = await served.ask(PATH + query)
        assert status == 200
        assert headers["cache-control"] == "no-store"
        assert served.asked == [asked]
        (device,) = content["devices"]
        (day,) = device["days"]
        assert (device["device"], day["day"], day["expected"]) == ("lathe", "2026-11-22", 10)
        assert day["lost_ranges"] == [
            {"boot": 4, "first": 5, "last": 7, "n": 3, "reason": "spool_full"}
        ]

    serve(tmp_path, scenario)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?day=2026-11-22", "no parameter 'day' here: device, from, to"),
        ("?from=yesterday", "from is 'yesterday': a UTC day"),
        ("?to=2026-13-01", "to is '2026-13-01'"),
        ("?from=2026-11-22&to=2026-11-21", "from 2026-11-22 is after to 2026-11-21"),
    ],
)
def test_a_wrong_question(tmp_path: Path, query: str, said: str) -> None:
    async def scenario(served: Served) -> None:
        status, _headers, content = await served.ask(PATH + query)
        assert status == 422
        assert said in content["detail"]
        assert served.asked == []

    serve(tmp_path, scenario)


def test_a_store_that_cannot_be_read_is_503(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        served.ledger_error = "disk gone"
        status, _headers, content = await served.ask(PATH)
        assert status == 503
        assert "disk gone" in content["detail"]

    serve(tmp_path, scenario)
