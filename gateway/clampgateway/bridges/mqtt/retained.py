"""The retained messages that the broker should hold, and which of them it has not got yet.

Pure. The newest payload of a topic wins; what is equal to what the broker has is not sent again.
On a new connection everything is sent, because a broker may have lost it.
"""

from __future__ import annotations

RETRY_S = 30.0


class Retained:
    """Wanted payloads by topic, and the topics still to publish, in order of change."""

    def __init__(self) -> None:
        self._wanted: dict[str, bytes] = {}
        self._unsent: dict[str, float] = {}  # topic to the time before which it is not tried

    def __contains__(self, topic: str) -> bool:
        return topic in self._wanted

    @property
    def unsent(self) -> int:
        """Topics still to publish."""
        return len(self._unsent)

    def set(self, topic: str, payload: bytes) -> bool:
        """What the topic should hold from now on. Returns whether that is new."""
        if self._wanted.get(topic) == payload:
            return False
        self._wanted[topic] = payload
        self._unsent.setdefault(topic, 0.0)
        return True

    def remove(self, topic: str) -> None:
        """The topic shall hold nothing any more; forgotten when the broker has taken that.

        Whether it holds something is not asked: it may be from before our start.
        """
        self.set(topic, b"")

    def taken(self, topic: str, payload: bytes) -> None:
        """The broker has this."""
        if not payload and self._wanted.get(topic) == b"":
            del self._wanted[topic]
            self._unsent.pop(topic, None)

    def restart(self) -> None:
        """A new connection: everything is to publish."""
        self._unsent = dict.fromkeys(self._wanted, 0.0)

    def next(self, now_s: float) -> tuple[str, bytes] | None:
        """A topic and payload to publish now, taken off the list; None if there is none."""
        for topic, due in self._unsent.items():
            if due <= now_s:
                del self._unsent[topic]
                return topic, self._wanted[topic]
        return None

    def refuse(self, topic: str, now_s: float) -> None:
        """The broker refused it: try again later."""
        if topic in self._wanted:
            self._unsent[topic] = now_s + RETRY_S

    def next_due_s(self) -> float:
        """When the next topic is to be published; infinity if none is."""
        return min(self._unsent.values(), default=float("inf"))
