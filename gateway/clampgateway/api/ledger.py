"""Completeness over the API: which days of which devices, and what a wrong question gets.

Owns the query and its status codes; the numbers are the ledger's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from clampgateway.api import problem
from clampgateway.ledger import Content, day_number
from clampgateway.store import StoreError

KEYS = ("device", "from", "to")
ReadLedger = Callable[[str | None, int | None, int | None], Awaitable[list[Content]]]


class Query(NamedTuple):
    """Of one device or all, from and to these days since 1970, or all there are."""

    device: str | None
    first_day: int | None
    last_day: int | None


def parse(request: Request) -> Query:
    """The question. Raises HTTPException 422."""
    given = request.query_params
    odd = sorted(set(given) - set(KEYS))
    if odd:
        raise HTTPException(422, f"no parameter {odd[0]!r} here: {', '.join(KEYS)}")
    first, last = (_day(name, given.get(name)) for name in ("from", "to"))
    if first is not None and last is not None and last < first:
        raise HTTPException(422, f"from {given['from']} is after to {given['to']}")
    return Query(given.get("device"), first, last)


def _day(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return day_number(text)
    except ValueError as error:
        detail = f'{name} is {text!r}: a UTC day as "2026-11-22" is expected, or "unsynced"'
        raise HTTPException(422, detail) from error


async def answer(request: Request, read: ReadLedger) -> Response:
    """The days that are asked for, by device. Raises HTTPException 422, or 503 by the store."""
    query = parse(request)
    try:
        devices = await read(*query)
    except StoreError as error:
        raise HTTPException(503, f"the ledger cannot be read now: {error}") from error
    return problem.json_response({"devices": devices})
