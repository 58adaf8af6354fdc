"""The names of topics, from a device's key and back."""

from __future__ import annotations

from typing import NamedTuple

# A topic level may not hold these; "%" marks what replaces them.
_ESCAPED = frozenset("%/+#") | {chr(code) for code in (*range(32), *range(127, 160))}
_GATEWAY = "_gateway"
_COMMAND = "cmd"
RESULT = "result"


class DeviceTopics(NamedTuple):
    """The topics of one device."""

    birth: str
    availability: str
    state: str
    data: str
    history: str
    event: str
    ledger: str

    @property
    def retained(self) -> tuple[str, ...]:
        """Those that the broker keeps."""
        return self.birth, self.availability, self.state, self.ledger


class Topics:
    """Topics below `<root>/<site>`. Raises ValueError for a root or site that can be no topic."""

    def __init__(self, root: str, site: str) -> None:
        if not is_root(root):
            raise ValueError(f"MQTT root {root!r} is no topic: levels without + and #, none empty")
        self._base = f"{root}/{level(site)}"

    def device(self, key: str) -> DeviceTopics:
        """The topics of a device."""
        base = f"{self._base}/{level(key)}"
        return DeviceTopics(*(f"{base}/{name}" for name in DeviceTopics._fields))

    def gateway_availability(self, gateway_id: str) -> str:
        """The gateway's own availability, which its will sets to offline."""
        return f"{self._base}/{_GATEWAY}/{level(gateway_id)}/availability"

    def owns(self, topic: str) -> bool:
        """Whether a topic is one of this tree, in which only its gateways publish."""
        return topic == self._base or topic.startswith(f"{self._base}/")

    def commands(self, gateway_id: str) -> tuple[str, str]:
        """Filters of the commands to devices, and of those to this gateway itself."""
        return (
            f"{self._base}/+/{_COMMAND}/+",
            f"{self._base}/{_GATEWAY}/{level(gateway_id)}/{_COMMAND}/+",
        )

    def command_of(self, topic: str, gateway_id: str) -> tuple[str | None, str] | None:
        """(device, command) of a command's topic, the device None for this gateway.

        None if it is no such topic.
        """
        if not self.owns(topic):
            return None
        levels = topic[len(self._base) + 1 :].split("/")
        if len(levels) == 3 and levels[1] == _COMMAND and levels[0] != _GATEWAY:
            device = unlevel(levels[0])
            return None if device is None else (device, levels[2])
        if len(levels) == 4 and levels[:3] == [_GATEWAY, level(gateway_id), _COMMAND]:
            return None, levels[3]
        return None


def is_root(text: str) -> bool:
    """Whether `text` can begin a topic: one or more levels, none empty, no wildcard, no $."""
    levels = text.split("/")
    return not text.startswith("$") and all(
        each and not (set(each) & (_ESCAPED - {"%"})) for each in levels
    )


def level(text: str) -> str:
    """`text` as one topic level: what MQTT forbids, and a leading _ or $, as %XX; "" as %."""
    out = "".join(
        "".join(f"%{byte:02X}" for byte in char.encode())
        if char in _ESCAPED or (at == 0 and char in "_$")
        else char
        for at, char in enumerate(text)
    )
    return out or "%"


def unlevel(text: str) -> str | None:
    """What `level` made this of; None if it made nothing so."""
    if text == "%":
        return ""
    parts = text.split("%")
    raw = parts[0].encode()
    try:
        for part in parts[1:]:
            raw += bytes.fromhex(part[:2]) + part[2:].encode()
        out = raw.decode()
    except ValueError:
        return None
    return out if level(out) == text else None
