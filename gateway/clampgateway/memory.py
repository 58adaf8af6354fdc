"""Memory kept back for the moment when there is none.

Owns the reserve: what is set free at a MemoryError, so that whatever was begun can be ended, and
taken back when there is memory again, a smaller one where there is not that much. While it is out,
`short` is true and sources do not read: devices keep what they have. It is address space that
nobody has touched, so it costs nothing.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable

_log = logging.getLogger(__name__)

RESERVE_BYTES = 16 << 20
RESERVE_LEAST_BYTES = 2 << 20
# How long it is out at least: what waits is committed meanwhile.
OUT_LEAST_S = 0.5
# Short for so long, only a new start may help.
LIMIT_S = 60.0


class Reserve:
    """The reserve. `errors` counts each MemoryError that was told of."""

    def __init__(self, mono: Callable[[], float], size: int = RESERVE_BYTES) -> None:
        self._mono = mono
        self._size = size
        self._kept: mmap.mmap | None = mmap.mmap(-1, size)
        self._since_s = self._last_s = 0.0
        self.errors = 0
        self.used = 0

    @property
    def short(self) -> bool:
        """Whether the reserve is out."""
        return self._kept is None

    def give(self) -> None:
        """There was a MemoryError: set the reserve free."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()
        self.errors += 1
        self._last_s = self._mono()
        if kept is not None:
            self._since_s = self._last_s
            self.used += 1
            _log.error("no memory: reading from devices pauses until there is some")

    @property
    def held_bytes(self) -> int:
        """How much is kept back now."""
        return len(self._kept) if self._kept is not None else 0

    def tick(self) -> None:
        """Take back as much of the reserve as there is memory for; called now and then."""
        held = self.held_bytes
        if held == self._size or self._mono() - self._last_s < OUT_LEAST_S:
            return
        size = self._size
        while size > held and size >= RESERVE_LEAST_BYTES:
            try:
                larger = mmap.mmap(-1, size)
            except OSError:
                size //= 2
                continue
            if self._kept is not None:
                self._kept.close()
            else:
                _log.info("there is memory again, reading from devices goes on")
            self._kept = larger
            return

    def problem(self) -> str:
        """Why somebody should look, or ""."""
        if not self.short:
            return ""
        return f"memory is short since {self._mono() - self._since_s:.0f} s: devices wait"

    @property
    def hopeless(self) -> bool:
        """Whether it has been short for so long that only a new start may help."""
        return self.short and self._mono() - self._since_s > LIMIT_S
