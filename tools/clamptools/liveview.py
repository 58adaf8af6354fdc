"""What a subscriber of the MQTT tree knows of each device: the model behind the live tables.

Pure: topics and payloads in, rows out. Owns no connection; `watch.py` and the demo have one each.
A payload that is not what docs/topics.md says is counted and skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

UNKNOWN = "unknown"


class Completeness(NamedTuple):
    """A device's newest day in the gateway's ledger, or the sum of several; see docs/ledger.md."""

    day: str
    expected: int
    received: int
    condensed: int
    late: int
    lost: int
    pending: int


class Row(NamedTuple):
    """One device as a table shows it.

    `current_a` the RMS of each current channel in A, `velocity_mm_s` the largest velocity RMS of
    all axes, `missing` the records, events and gaps that were made between the first and the last
    one received but did not come (yet), `age_ms` since the end of the last record, `ledger` what
    the gateway says of its newest day, None before it said anything.
    """

    site: str
    device: str
    name: str
    board: str
    runtime: str
    online: bool
    state: str
    current_a: tuple[float | None, ...]
    velocity_mm_s: float | None
    records: int
    missing: int
    gaps: int
    age_ms: float | None
    ledger: Completeness | None = None


class DeviceView:
    """One device, from its messages."""

    def __init__(self, site: str, device: str) -> None:
        self.site = site
        self.device = device
        self.birth: dict[str, Any] = {}
        self.online = False
        self.state = UNKNOWN
        self.record: dict[str, Any] = {}
        self.records = 0
        self.gaps = 0
        self.ledger: Completeness | None = None
        self._seen: dict[int, set[int]] = {}

    def took(self, kind: str, content: Any) -> None:  # noqa: ANN401 - JSON
        """A message; `kind` ends its topic. Raises ValueError, TypeError or KeyError."""
        if kind == "birth":
            self.birth = _object(content)
        elif kind == "availability":
            self.online = content == "online"
        elif kind == "state":
            self.state = str(_object(content)["state"])
        elif kind == "data":
            self._took_record(_object(content))
        elif kind == "history":
            for record in content:
                self._took_record(_object(record))
        elif kind == "ledger":
            self._took_ledger(_object(content))
        elif kind == "event":
            event = _object(content)
            if self._first_time(event):
                self.gaps += event["kind"] == "gap"

    def _took_record(self, record: dict[str, Any]) -> None:
        if not self._first_time(record):
            return
        self.records += 1
        if record.get("before"):
            # A condensed one stands for the numbers before its own.
            boot, seq = _order(record)
            self._seen[boot].update(range(seq - int(record["before"]), seq))
        last = self.record
        if not last or _order(record) > _order(last):
            self.record = record

    def _took_ledger(self, content: dict[str, Any]) -> None:
        days = [day for day in content["days"] if day["day"] != "unsynced"]
        if days:
            numbers = (int(days[-1][name]) for name in Completeness._fields[1:])
            self.ledger = Completeness(str(days[-1]["day"]), *numbers)

    @property
    def missing(self) -> int:
        """Sequence numbers between the first and the last received that did not come."""
        return sum(max(seen) - min(seen) + 1 - len(seen) for seen in self._seen.values())

    def row(self, now_utc_ms: float) -> Row:
        """What a table shows; `now_utc_ms` is UTC in ms."""
        channels: dict[str, dict[str, float | None]] = self.record.get("ch", {})
        quantities = {c["key"]: c.get("quantity", "") for c in self.birth.get("channels", ())}
        current = tuple(
            features.get("rms")
            for key, features in sorted(channels.items())
            if quantities.get(key, key.rstrip("0123456789")) == "current"
        )
        velocities = [
            value
            for features in channels.values()
            for name, value in features.items()
            if name.startswith("v_") and value is not None
        ]
        ended_ms = self.record.get("t")
        return Row(
            self.site,
            self.device,
            self.birth.get("machine") or self.device,
            self.birth.get("board", ""),
            self.birth.get("runtime", ""),
            self.online,
            self.state if self.online else "offline",
            current,
            max(velocities, default=None),
            self.records,
            self.missing,
            self.gaps,
            now_utc_ms - ended_ms if ended_ms else None,
            self.ledger,
        )

    def _first_time(self, content: dict[str, Any]) -> bool:
        boot, seq = _order(content)
        seen = self._seen.setdefault(boot, set())
        if seq in seen:
            return False
        seen.add(seq)
        return True


class View:
    """All devices below one root."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.odd = 0
        self._devices: dict[tuple[str, str], DeviceView] = {}
        self.gateways: dict[tuple[str, str], bool] = {}

    def took(self, topic: str, payload: bytes) -> None:
        """A message as it came; an odd one is counted."""
        parts = topic.removeprefix(self.root + "/").split("/")
        try:
            if len(parts) == 4 and parts[1] == "_gateway" and parts[3] == "availability":
                self.gateways[parts[0], parts[2]] = payload == b"online"
            elif len(parts) == 3 and payload:
                site, device, kind = parts
                content = payload.decode() if kind == "availability" else json.loads(payload)
                view = self._devices.setdefault((site, device), DeviceView(site, device))
                view.took(kind, content)
            elif len(parts) == 3 and parts[2] == "birth":
                self._devices.pop((parts[0], parts[1]), None)  # it was removed
        except (ValueError, KeyError, TypeError):
            self.odd += 1

    def rows(self, now_utc_ms: float) -> Iterator[Row]:
        """One row a device, by site and name; all of a gateway that is gone are offline."""
        rows = [view.row(now_utc_ms) for view in self._devices.values()]
        for row in sorted(rows, key=lambda row: (row.site, row.name, row.device)):
            alive = [on for (where, _id), on in self.gateways.items() if where == row.site]
            gone = bool(alive) and not any(alive)
            yield row._replace(online=False, state="offline") if gone else row


def together(rows: Iterable[Row]) -> Completeness | None:
    """The sum over all devices of the newest day that any ledger has; None before one has."""
    ledgers = [row.ledger for row in rows if row.ledger is not None]
    if not ledgers:
        return None
    day = max(ledger.day for ledger in ledgers)
    sums = zip(*(ledger[1:] for ledger in ledgers if ledger.day == day), strict=True)
    return Completeness(day, *map(sum, sums))


def _object(content: Any) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(content, dict):
        raise TypeError(f"a JSON object is expected, not {content!r}")
    return content


def _order(content: dict[str, Any]) -> tuple[int, int]:
    return int(content["boot"]), int(content["seq"])
