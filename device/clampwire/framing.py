"""Frames on a byte stream: flags, escapes, checksum, and what stands between the frames.

A frame is FLAG, escaped(payload, CRC-32 of the payload little-endian), FLAG (after HDLC-like
framing, RFC 1662). Every FLAG both ends a frame and may begin one, so a damaged flag or frame
costs at most the frame next to it. Towards a device 0x03 and 0x04 are escaped too: MicroPython
takes a raw 0x03 on its console as Ctrl-C, and turning that off would lock mpremote out.
What a device prints between frames comes out as text.
"""

import binascii
import struct

FLAG = 0x7E
ESCAPE = 0x7D
FLIP = 0x20
_FLAG_BYTES = b"\x7e"
# The CRC-32 of anything that is followed by its own CRC-32, little-endian.
_RESIDUE = 0x2144DF1C


def stuff(src: bytes, n: int, dst: bytearray, at: int, to_device: int) -> int:
    """Escape `src[0:n]` into `dst` from `at`; returns the end. The plain form of the kernel.

    `to_device` 1 escapes 0x03 and 0x04 as well. `dst` needs room for 2 * n bytes.
    """
    for i in range(n):
        byte = src[i]
        if byte == FLAG or byte == ESCAPE or (to_device and (byte == 3 or byte == 4)):
            dst[at] = ESCAPE
            dst[at + 1] = byte ^ FLIP
            at += 2
        else:
            dst[at] = byte
            at += 1
    return at


def frame_into(payload: bytes, out: bytearray, to_device: int = 0, stuffer=stuff) -> int:
    """Write one frame to the start of `out`, a bytearray of at least 2 * (len + 4) + 2 bytes.

    Returns the number of bytes. `stuffer` is `stuff` or a faster kernel of the same signature.
    """
    out[0] = FLAG
    at = stuffer(payload, len(payload), out, 1, to_device)
    at = stuffer(struct.pack("<I", binascii.crc32(payload)), 4, out, at, to_device)
    out[at] = FLAG
    return at + 1


def frame(payload: bytes, to_device: int = 0) -> bytes:
    """One frame as bytes, by replacing: the fast way on CPython."""
    body = bytes(payload) + struct.pack("<I", binascii.crc32(payload))
    body = body.replace(b"\x7d", b"\x7d\x5d").replace(_FLAG_BYTES, b"\x7d\x5e")
    if to_device:
        body = body.replace(b"\x03", b"\x7d\x23").replace(b"\x04", b"\x7d\x24")
    return _FLAG_BYTES + body + _FLAG_BYTES


def unstuff(chunk: bytes) -> bytes | None:
    """The bytes of an escaped chunk, or None if an escape is cut off or senseless."""
    if ESCAPE not in chunk:
        return bytes(chunk)
    parts = bytes(chunk).split(b"\x7d")
    out = bytearray(parts[0])
    for part in parts[1:]:
        if not part or part[0] not in (0x5D, 0x5E, 0x23, 0x24):
            return None
        out.append(part[0] ^ FLIP)
        out.extend(part[1:])
    return bytes(out)


def _is_text(chunk: bytes) -> bool:
    for byte in chunk:
        if not (32 <= byte < 127 or byte in (9, 10, 13, 27) or byte >= 128):
            return False
    try:
        bytes(chunk).decode()
    except ValueError:
        return False
    return True


class Deframer:
    """Takes a byte stream apart. Feed it bytes; it returns payloads and keeps counters.

    `frames` good ones, `errors` chunks that were neither frame nor text (noise, a damaged frame,
    one longer than `payload_max`), `on_text(text)` what was printed between frames.
    """

    def __init__(self, payload_max: int, on_text=None) -> None:
        self.frames = 0
        self.errors = 0
        self._limit = 2 * (payload_max + 4)
        self._on_text = on_text
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list:
        """Payloads completed by `data`, oldest first."""
        chunks = (self._rest + bytes(data)).split(_FLAG_BYTES)
        self._rest = chunks.pop()
        payloads = []
        for chunk in chunks:
            if self._skipping:
                self._skipping = False
            elif chunk:
                payload = self._open(chunk)
                if payload is None:
                    self._odd(chunk)
                else:
                    payloads.append(payload)
        if len(self._rest) > self._limit:
            if not self._skipping:
                self._odd(self._rest)
            # Text without an end is passed on piece by piece; anything else is one error.
            self._skipping = not _is_text(self._rest)
            self._rest = b""
        return payloads

    def _open(self, chunk: bytes) -> bytes | None:
        body = unstuff(chunk) if ESCAPE in chunk else chunk
        if body is None or len(body) < 5 or len(chunk) > self._limit:
            return None
        if binascii.crc32(body) != _RESIDUE:
            return None
        self.frames += 1
        return body[:-4]

    def _odd(self, chunk: bytes) -> None:
        if not _is_text(chunk):
            self.errors += 1
        elif self._on_text is not None:
            self._on_text(bytes(chunk).decode())
