"""Reads RIFF WAVE files: PCM of 8 to 32 bit and float, any number of channels.

The standard library's reader knows no float and, before Python 3.12, no extensible format.
"""

from __future__ import annotations

import struct

import numpy as np

# Ref: Multimedia Programming Interface and Data Specifications 1.0 (RIFF WAVE), IBM and Microsoft,
# August 1991; format numbers of WAVE_FORMAT_EXTENSIBLE stand in the first bytes of its GUID.
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_READ = frozenset({(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)})


class WavError(ValueError):
    """The bytes are no WAVE file that is read here; the message says why."""


def read_wav(data: bytes) -> tuple[np.ndarray, int, float]:
    """Samples as float64 of the shape (frames, channels), the rate in Hz, and the full code.

    PCM comes as codes around 0 with 2**(bits - 1) - 1 as the full code, float as it is with 1.0.
    A frame that is cut off at the end is left out.

    Raises:
        WavError: No WAVE file, or a format beyond PCM and float.
    """
    chunks = _chunks(data)
    head, body = chunks.get(b"fmt ", b""), chunks.get(b"data", b"")
    if len(head) < 16 or not body:
        raise WavError("it has no format or no data")
    kind, channels, rate_hz, _bytes, _block, bits = struct.unpack_from("<HHIIHH", head)
    if kind == _EXTENSIBLE and len(head) >= 26:
        kind = struct.unpack_from("<H", head, 24)[0]
    if channels == 0 or (kind, bits) not in _READ:
        raise WavError(f"WAV format {kind} with {bits} bit is not read: use PCM or float")
    width = bits // 8
    frames = len(body) // (width * channels)
    samples, full = _samples(body[: frames * width * channels], kind, bits)
    return samples.reshape(-1, channels), rate_hz, full


def _chunks(data: bytes) -> dict[bytes, bytes]:
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise WavError("not a RIFF WAVE file")
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        chunks.setdefault(name, data[at + 8 : at + 8 + size])
        at += 8 + size + (size & 1)
    return chunks


def _samples(body: bytes, kind: int, bits: int) -> tuple[np.ndarray, float]:
    if kind == _FLOAT:
        return np.frombuffer(body, f"<f{bits // 8}").astype(np.float64), 1.0
    if bits == 8:
        return np.frombuffer(body, np.uint8).astype(np.float64) - 128, 127.0
    # Low bytes first; set into the high end of an int32, so that the sign comes out right.
    width = bits // 8
    padded = np.zeros((len(body) // width, 4), np.uint8)
    padded[:, 4 - width :] = np.frombuffer(body, np.uint8).reshape(-1, width)
    codes = padded.view("<i4").ravel() >> (32 - bits)
    return codes.astype(np.float64), float((1 << (bits - 1)) - 1)
