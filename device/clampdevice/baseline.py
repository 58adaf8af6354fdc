"""The vibration of a machine at work when it was clamped on, and the ratio of today's to it.

Owns what is taken for it and keeps it over a power cut: the first `WINDOWS` windows (300, a minute
of work) in which the machine works and shakes above the noise; of these the geometric mean, which
no single blow moves far. After that it stays, whatever happens, until it is learned anew: a
baseline that follows a bearing as it wears would say 1 for ever.
"""

import binascii
import math
import struct

WINDOWS = 300
VERSION = 1
_HEAD = "<BIHd"
SAVE_US = 60000000


class Baseline:
    """Of one channel.

    Args:
        key: the channel's.
        files: see `learner.LearnedJudge`; None keeps nothing.

    Attributes:
        windows: how many it rests on so far.
        failed_saves: how often it could not be written.
    """

    def __init__(self, key: str, files=None) -> None:
        self.key = key
        self._files = files
        self._mark = binascii.crc32(key.encode())
        self._name = "baseline." + key
        self.windows = 0
        self._sum = 0.0
        self._square = 0.0
        self._count = 0
        self._saved = 0
        self._due_us = 0
        self._failed = False  # the last attempt
        self.failed_saves = 0
        if files is not None:
            self._open(files.read_file(self._name))

    @property
    def level(self) -> float | None:
        """The baseline, in the channel's unit; None while it is being learned."""
        return math.exp(self._sum / self.windows) if self.windows >= WINDOWS else None

    def take(self, level: float | None) -> None:
        """A window in which the machine works."""
        if not level:
            return
        self._square += level * level
        self._count += 1
        if self.windows < WINDOWS:
            self.windows += 1
            self._sum += math.log(level)

    def take_record(self) -> float | None:
        """RMS over the working windows of the record that ends here, by the baseline.

        None without such a window, and until the baseline is learned.
        """
        square, count = self._square, self._count
        self._square = 0.0
        self._count = 0
        level = self.level
        if not count or level is None:
            return None
        return math.sqrt(square / count) / level

    def forget(self) -> None:
        """Learns it anew."""
        self.windows = 0
        self._sum = 0.0
        self._save()

    def keep(self, now_us: int) -> bool:
        """Writes it if that is due: each minute while it is being learned, once at its end.

        What could not be written waits a minute, since each attempt may stop the board for long.
        """
        if self._files is None or self.windows == self._saved:
            return False
        if not self._due_us:
            self._due_us = now_us + SAVE_US
        if now_us < self._due_us and (self.windows < WINDOWS or self._failed):
            return False
        self._due_us = now_us + SAVE_US
        return self._save()

    def _open(self, data: bytes) -> None:
        size = struct.calcsize(_HEAD)
        if len(data) != size + 4:
            return
        if binascii.crc32(data[:size]) != struct.unpack("<I", data[size:])[0]:
            return
        version, mark, windows, total = struct.unpack(_HEAD, data[:size])
        if version == VERSION and mark == self._mark:
            self.windows = self._saved = windows
            self._sum = total

    def _save(self) -> bool:
        if self._files is None:
            return False
        data = struct.pack(_HEAD, VERSION, self._mark, self.windows, self._sum)
        data += struct.pack("<I", binascii.crc32(data))
        try:
            self._files.write_file(self._name, data)
        except OSError:
            self.failed_saves += 1  # shown by the command `why`; tried again when next due
            self._failed = True
            return False
        self._failed = False
        self._saved = self.windows
        return True
