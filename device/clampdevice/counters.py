"""Counters of a current channel: charge, energy, apparent energy, run time; kept over power cuts.

Owns the exact accumulation in integers and the two slots in which it is kept. A counter takes up
what each record says, times the time that its samples cover: anybody can add up the records and
get the same. Time without samples counts nothing. Counters never fall within a power-up; after a
power cut they go on from what was kept, at most `SAVE_MS` old. See docs/decisions/0004.

A slot: version, sequence, number of entries; of each entry the CRC-32 of the channel's key and
four counts of 64 bits; CRC-32 of it all; little-endian. The newer of two good slots counts.
"""

import binascii
import struct

SLOTS = ("counters.0", "counters.1")
SAVE_MS = 60000
VERSION = 1
ENTRIES_MAX = 32

_HEAD = "<BIB"
_ENTRY = "<IQQQQ"
_PER_HOUR = 3600000  # ms

# Feature key, its unit, and how many counts one unit is.
TOTALS = (
    ("charge", "Ah", 1000000 * _PER_HOUR),  # counted in uA ms
    ("energy", "Wh", 1000 * _PER_HOUR),  # mW ms
    ("apparent_energy", "VAh", 1000 * _PER_HOUR),
    ("run", "s", 1000),  # ms
)


class Counter:
    """The totals of one channel. `counts` are exact integers, in the order of `TOTALS`."""

    def __init__(self, key: str) -> None:
        self.mark = binascii.crc32(key.encode())
        self.counts = [0] * len(TOTALS)
        self._rest = 0

    def add(
        self, frames: int, rate_mhz: int, a: float, w: float | None, va: float | None, on: bool
    ) -> None:
        """Takes up one record.

        It holds `frames` samples, `rate_mhz` / 1000 a second, and has the current `a`, the real
        power `w` and the apparent power `va`, None where not known. Power that flows back is not
        taken off: the counter is of what was drawn. `on`: this counts as running.
        """
        ms, self._rest = divmod(frames * 1000000 + self._rest, rate_mhz)
        counts = self.counts
        counts[0] += int(a * 1000000 + 0.5) * ms
        if w is not None and w > 0:
            counts[1] += int(w * 1000 + 0.5) * ms
        if va is not None:
            counts[2] += int(va * 1000 + 0.5) * ms
        if on:
            counts[3] += ms

    def steps(self, key: str, mult: int, exp: int) -> int:
        """A total in whole steps of mult * 10**exp (exp at most 0) of its unit, rounded down.

        In integers all the way: a single float has no room for years.
        """
        for (name, _unit, unit_counts), count in zip(TOTALS, self.counts):
            if name == key:
                return count * 10**-exp // (mult * unit_counts)
        raise ValueError("no counter " + key)

    def told(self) -> dict:
        """All totals as whole numbers, for a command."""
        steps = self.steps
        return {
            "charge_mah": steps("charge", 1, -3),
            "energy_mwh": steps("energy", 1, -3),
            "apparent_energy_mvah": steps("apparent_energy", 1, -3),
            "run_s": steps("run", 1, 0),
        }


def _open(data: bytes) -> tuple | None:
    """(sequence, {mark: counts}) of a slot; None for an empty, torn or unknown one."""
    head = struct.calcsize(_HEAD)
    if len(data) < head + 4:
        return None
    version, sequence, entries = struct.unpack_from(_HEAD, data, 0)
    size = head + entries * struct.calcsize(_ENTRY)
    if version != VERSION or len(data) != size + 4:
        return None
    if binascii.crc32(data[:size]) != struct.unpack_from("<I", data, size)[0]:
        return None
    found = {}
    for i in range(entries):
        entry = struct.unpack_from(_ENTRY, data, head + i * struct.calcsize(_ENTRY))
        found[entry[0]] = list(entry[1:])
    return sequence, found


class Counters:
    """All counters of a device.

    Args:
        files: has `read_file(name)` and `write_file(name, data)`; None keeps nothing.

    Attributes:
        saves, failed_saves: how often they were written, and could not be.
    """

    def __init__(self, files) -> None:
        self._files = files
        self._counters: list = []
        self._due_ms = 0
        self._sequence = 0
        self._kept: dict = {}  # what was read, of channels that this board may not have now
        self._saved: list = []
        self.saves = self.failed_saves = 0
        if files is None:
            return
        for name in SLOTS:
            slot = _open(files.read_file(name))
            if slot is not None and slot[0] >= self._sequence:
                self._sequence, self._kept = slot

    def counter(self, key: str) -> Counter:
        """The counter of a channel, going on from what was kept."""
        counter = Counter(key)
        kept = self._kept.pop(counter.mark, None)
        if kept:
            counter.counts = kept
        self._counters.append(counter)
        self._saved.append(list(counter.counts))
        return counter

    def keep(self, now_ms: int) -> bool:
        """Writes them if that is due and anything has changed. True if it was done.

        At most once in `SAVE_MS`, the first time `SAVE_MS` after the first call.
        """
        if not self._counters or self._files is None:
            return False
        if not self._due_ms:
            self._due_ms = now_ms + SAVE_MS
        if now_ms < self._due_ms:
            return False
        self._due_ms = now_ms + SAVE_MS
        if all(counter.counts == old for counter, old in zip(self._counters, self._saved)):
            return False
        return self._save()

    def _save(self) -> bool:
        entries = [(counter.mark, counter.counts) for counter in self._counters]
        entries += [(mark, self._kept[mark]) for mark in self._kept]
        entries = entries[:ENTRIES_MAX]
        sequence = self._sequence + 1
        data = struct.pack(_HEAD, VERSION, sequence, len(entries))
        for mark, counts in entries:
            data += struct.pack(_ENTRY, mark, *counts)
        data += struct.pack("<I", binascii.crc32(data))
        try:
            self._files.write_file(SLOTS[sequence & 1], data)
        except OSError:
            self.failed_saves += 1  # told by the command `counters`; tried again in a minute
            return False
        self._sequence = sequence
        self._saved = [list(counter.counts) for counter in self._counters]
        self.saves += 1
        return True
