"""The subscriber of the benchmark: a process that takes what a broker delivers and counts it.

Run as `python -m clamptools.gatewaybench.listener PORT ROOT`. It speaks just enough MQTT 3.1.1 to
subscribe at QoS 0, so that it costs the machine little, and connects again at once. A line on its
standard input is answered with one line of JSON: the counts so far. The end of input ends it.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import sys
import time
from typing import Any

import msgspec

HOST = "127.0.0.1"
RETRY_S = 0.01
CHUNK = 1 << 18
# Of so many records one is told with its time of arrival.
SAMPLE_EVERY = 5


class Record(msgspec.Struct):
    """What is looked at of a record."""

    seq: int


class Lane:
    """What came under one topic."""

    def __init__(self) -> None:
        self.messages = self.records = self.bytes = 0
        self.first_s = self.last_s = 0.0

    def took(self, records: int, size: int, now_s: float) -> None:
        self.first_s = self.first_s or now_s
        self.last_s = now_s
        self.messages += 1
        self.records += records
        self.bytes += size


class Listener:
    """Counts by topic and by name; `samples` are (lane, device, seq, monotonic s)."""

    def __init__(self) -> None:
        self.lanes = {"data": Lane(), "history": Lane()}
        self.samples: list[tuple[str, str, int, float]] = []
        self.doubled = 0
        self.connections = 0
        self._seen: dict[str, set[int]] = {}
        self._one = msgspec.json.Decoder(Record)
        self._many = msgspec.json.Decoder(list[Record])
        self._rest = b""

    def feed(self, data: bytes, now_s: float) -> None:
        """Take bytes from the broker."""
        data = self._rest + data
        at, size = 0, len(data)
        while size - at >= 2:
            length = shift = 0
            begin = at + 1
            while begin < size:
                byte = data[begin]
                begin += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
            else:
                break
            if begin + length > size:
                break
            if data[at] & 0xF0 == 0x30:
                topic_end = begin + 2 + (data[begin] << 8 | data[begin + 1])
                self._took(
                    data[begin + 2 : topic_end].decode(), data[topic_end : begin + length], now_s
                )
            at = begin + length
        self._rest = data[at:]

    def _took(self, topic: str, payload: bytes, now_s: float) -> None:
        _site, device, name = topic.rsplit("/", 2)
        lane = self.lanes[name]
        records = [self._one.decode(payload)] if name == "data" else self._many.decode(payload)
        lane.took(len(records), len(payload), now_s)
        seen = self._seen.setdefault(device, set())
        for record in records:
            seq = record.seq
            if seq in seen:
                self.doubled += 1
                continue
            seen.add(seq)
            if seq % SAMPLE_EVERY == 0:
                self.samples.append((name, device, seq, now_s))

    def connected(self) -> None:
        self.connections += 1
        self._rest = b""

    def counts(self) -> dict[str, Any]:
        """The counts so far, and the samples since the last call."""
        samples, self.samples = self.samples, []
        return {
            "records": sum(len(seen) for seen in self._seen.values()),
            "doubled": self.doubled,
            "connections": self.connections,
            "lanes": {name: vars(lane) for name, lane in self.lanes.items()},
            "samples": samples,
        }


def subscribe(port: int, root: str) -> socket.socket:
    """A connection with the subscription sent. Raises OSError."""
    sock = socket.create_connection((HOST, port))
    body = b"\0\x04MQTT\x04\x02\0\0" + b"\0\x0abench-sub0"
    filters = b"".join(
        len(name).to_bytes(2, "big") + name + b"\0"
        for name in (f"{root}/+/+/{lane}".encode() for lane in ("data", "history"))
    )
    sock.sendall(b"\x10" + bytes([len(body)]) + body)
    sock.sendall(b"\x82" + bytes([2 + len(filters)]) + b"\0\1" + filters)
    return sock


def main(port: int, root: str) -> None:
    """Until standard input ends."""
    listener = Listener()
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    sock: socket.socket | None = None
    while True:
        if sock is None:
            with contextlib.suppress(OSError):
                sock = subscribe(port, root)
                selector.register(sock, selectors.EVENT_READ)
                listener.connected()
        for key, _events in selector.select(RETRY_S if sock is None else None):
            if key.fileobj is sys.stdin:
                if not sys.stdin.readline():
                    return
                print(json.dumps(listener.counts()), flush=True)
                continue
            assert sock is not None
            try:
                data = sock.recv(CHUNK)
            except OSError:
                data = b""
            if data:
                listener.feed(data, time.monotonic())
            else:
                selector.unregister(sock)
                sock.close()
                sock = None


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
