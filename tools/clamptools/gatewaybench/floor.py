"""What nobody can do without: bytes on a disk in batches and MQTT publishes, as cheap as can be.

Run as `python -m clamptools.gatewaybench.floor WHAT ...`, each in a process of its own, which
prints its processor time. Both in Python, as the gateway is: what is over the floor is the
gateway's own doing.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

HOST = "127.0.0.1"
TOPIC = b"bench/hall/tcp-000/data"
CHUNK = 1 << 16
_CONNECT = b"\x10\x16\0\x04MQTT\x04\x02\0\0" + b"\0\x0abench-raw0"
_PUBACK_BYTES = 4


def append(folder: str, records: int, size: int, batch: int) -> float:
    """Append to a file, `fdatasync` after every `batch` records; seconds of processor time."""
    record = os.urandom(size)
    begun_s = time.process_time()
    file = os.open(Path(folder) / "floor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    left = records
    while left > 0:
        os.write(file, b"".join([record for _ in range(min(batch, left))]))
        os.fdatasync(file)
        left -= batch
    os.close(file)
    return time.process_time() - begun_s


def publish(port: int, messages: int, size: int, window: int) -> float:
    """Publish at QoS 1 over a bare socket, `window` unanswered; seconds of processor time.

    Raises:
        ConnectionError: The broker hung up.
    """
    sock = socket.create_connection((HOST, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(_CONNECT)
    if sock.recv(CHUNK)[:4] != b"\x20\x02\0\0":
        raise ConnectionError("the broker refuses us")
    head = len(TOPIC).to_bytes(2, "big") + TOPIC
    payload = b'{"seq":0,"pad":"' + b"x" * (size - 18) + b'"}'
    length = len(head) + 2 + size
    start = b"\x32" + bytes([length & 0x7F | 0x80, length >> 7] if length > 127 else [length])
    begun_s = time.process_time()
    sent = answered = 0
    while answered < messages:
        free = min(window - (sent - answered), messages - sent)
        if free > 0:
            sock.sendall(
                b"".join(
                    start + head + (1 + (sent + index) % 65535).to_bytes(2, "big") + payload
                    for index in range(free)
                )
            )
            sent += free
        data = sock.recv(CHUNK)
        if not data:
            raise ConnectionError("the broker hung up")
        answered += len(data) // _PUBACK_BYTES
        odd = len(data) % _PUBACK_BYTES
        if odd:
            sock.recv(_PUBACK_BYTES - odd, socket.MSG_WAITALL)
            answered += 1
    spent_s = time.process_time() - begun_s
    sock.close()
    return spent_s


def main(arguments: list[str]) -> None:
    """WHAT and its arguments, numbers but for the folder."""
    what, first, *numbers = arguments
    begun_s = time.monotonic()
    if what == "append":
        cpu_s = append(first, *map(int, numbers))
    else:
        cpu_s = publish(int(first), *map(int, numbers))
    print(json.dumps({"cpu_s": cpu_s, "seconds": time.monotonic() - begun_s}))


if __name__ == "__main__":
    main(sys.argv[1:])
