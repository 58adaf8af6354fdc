"""Topics that the broker refuses: which, why, and when the next one is tried.

Pure. A closed topic gets nothing but one message now and then, the oldest that waits for it.
"""

from __future__ import annotations

from typing import NamedTuple

RETRY_FIRST_S = 5.0
RETRY_MAX_S = 300.0
_NEVER = float("inf")


class Closure(NamedTuple):
    """A closed topic: the reason code, tries in vain, and when the next is due."""

    reason: int
    tries: int
    due_s: float


class ClosedTopics:
    """All closed topics of one connection after another."""

    def __init__(self) -> None:
        self._closed: dict[str, Closure] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self._closed

    def __len__(self) -> int:
        return len(self._closed)

    def __iter__(self):  # noqa: ANN204 - an iterator of names
        return iter(tuple(self._closed))

    def reason(self, topic: str) -> int:
        """Why it is closed."""
        return self._closed[topic].reason

    def refuse(self, topic: str, reason: int, now_s: float) -> bool:
        """The broker refused a message there. Returns whether the topic was open until now."""
        known = self._closed.get(topic)
        if known is not None and known.due_s != _NEVER:
            return False  # of those that were in flight when it was closed
        tries = known.tries if known is not None else 0
        wait_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(tries, 16))
        self._closed[topic] = Closure(reason, tries + 1, now_s + wait_s)
        return known is None

    def due(self, now_s: float) -> str | None:
        """A topic to be tried now; it is not due again before `refuse` or `restart`."""
        for topic, closure in self._closed.items():
            if closure.due_s <= now_s:
                self._closed[topic] = closure._replace(due_s=_NEVER)
                return topic
        return None

    def next_due_s(self) -> float:
        """When the next topic is to be tried; infinity if none is."""
        return min((each.due_s for each in self._closed.values()), default=_NEVER)

    def open(self, topic: str) -> bool:
        """The broker takes it again. Returns whether it was closed."""
        return self._closed.pop(topic, None) is not None

    def restart(self, now_s: float) -> None:
        """A new connection, perhaps to another broker: all are tried soon."""
        for topic, closure in self._closed.items():
            self._closed[topic] = closure._replace(due_s=now_s)

    def load(self, topic: str, reason: int) -> None:
        """A topic that was closed when the gateway stopped."""
        self._closed.setdefault(topic, Closure(reason, 1, 0.0))
