"""What a device prints between frames, on its way to the gateway's log.

Limited per link, so that a device in a loop of tracebacks neither fills the journal nor slows the
others; what is left out is counted and said.
"""

from __future__ import annotations

import logging

_log = logging.getLogger("clampgateway.device")

BURST_LINES = 20
LINE_US = 1_000_000
LINE_CHARS_MAX = 400


class DeviceText:
    """Logs lines of one link: `BURST_LINES` at once, then one a second."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = float(BURST_LINES)
        self._at_us = 0
        self._left_out = 0
        self.lines = 0
        self.suppressed = 0

    def print(self, device: str, text: str, now_us: int) -> None:
        """Log what was printed. `device` may be empty while it is not known who speaks."""
        for line in text.splitlines():
            shown = "".join(char if char.isprintable() else " " for char in line).strip()
            if not shown:
                continue
            self.lines += 1
            refill = (now_us - self._at_us) / LINE_US
            self._tokens = min(float(BURST_LINES), self._tokens + max(0.0, refill))
            self._at_us = now_us
            if self._tokens < 1:
                self._left_out += 1
                self.suppressed += 1
                continue
            self._tokens -= 1
            if self._left_out:
                _log.info(
                    "device printed device=%s source=%s left_out=%d",
                    device,
                    self._source,
                    self._left_out,
                )
                self._left_out = 0
            _log.info(
                "device printed device=%s source=%s: %s",
                device,
                self._source,
                shown[:LINE_CHARS_MAX],
            )

    def stats(self) -> dict[str, float]:
        return {"text_lines": self.lines, "text_suppressed": self.suppressed}
