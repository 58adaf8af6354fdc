"""Collects the Describe messages of one device until a description is complete."""

from __future__ import annotations

import logging
from typing import Any

from clampgateway.descriptions import DescribeError, Descriptions
from clampgateway.model import Description

_log = logging.getLogger(__name__)


class Describing:
    """Parts of the description that is being told. `bad` counts complete but senseless ones."""

    def __init__(self, descriptions: Descriptions) -> None:
        self._descriptions = descriptions
        self._parts: dict[int, bytes] = {}
        self._crc: int | None = None
        self._new: list[tuple[str, int, tuple[bytes, ...]]] = []
        self.bad = 0

    def clear(self) -> None:
        """Another session begins: it tells everything again."""
        self._parts, self._crc = {}, None

    def take(self, device: str, payload: bytes, part: Any) -> Description | None:  # noqa: ANN401
        """Take one message; the description if this was the last that was missing."""
        if part.describe_crc != self._crc:
            self._parts, self._crc = {}, part.describe_crc
        self._parts[part.index] = payload
        if len(self._parts) < part.channels:
            return None
        parts = tuple(self._parts[index] for index in sorted(self._parts))
        self.clear()
        try:
            description, new = self._descriptions.add(device, parts)
        except DescribeError as error:
            self.bad += 1
            _log.error("%s", error)
            return None
        if new:
            self._new.append((device, description.crc, parts))
        return description

    def take_new(self) -> list[tuple[str, int, tuple[bytes, ...]]]:
        """(device, crc, payloads) of descriptions that the store does not have yet, once."""
        new, self._new = self._new, []
        return new
