"""machine.I2S of an ESP32 as a receiver: DMA buffers, a queue that drops the oldest, no MCK.

Ref: MicroPython at commit 1c3c201, ports/esp32/machine_i2s.c (256 frames of 8 bytes a DMA buffer,
at least two; reception always stereo in 32 bits; readinto waits until full unless the object was
polled) and extmod/machine_i2s.c (arguments, EINVAL, the three modes); ESP-IDF at commit 0cb4bdc,
components/esp_driver_i2s/i2s_common.c (queue one shorter than the ring, oldest dropped; the
interrupt names the last buffer that was finished, so others that were finished while it was held
up are never queued).
"""

import fake_esp32

DMA_FRAMES = 256
_EINVAL = 22


class I2S:
    """Sample n of the left slot is `left(n)`, of the right one `right(n)`, signed 16 bits."""

    RX, TX = 1, 2
    MONO, STEREO = 0, 1
    left = staticmethod(lambda n: n % 30000)
    right = staticmethod(lambda n: -(n % 30000))
    true_ppm = 0
    opened: list = []

    def __init__(self, number, *, sck, ws, sd, mode, bits, format, rate, ibuf) -> None:  # noqa: A002
        if not 0 <= number < 2:
            raise ValueError("invalid id")
        if mode not in (self.RX, self.TX):
            raise ValueError("invalid mode")
        if bits not in (16, 32):
            raise ValueError("invalid bits")
        if format not in (self.STEREO, self.MONO):
            raise ValueError("invalid format")
        for pin in (sck, ws):
            if pin.gpio in fake_esp32.INPUT_ONLY:
                raise OSError(-0x102, "ESP_ERR_INVALID_ARG")
        if mode != self.RX or bits != 16 or format != self.STEREO:
            raise NotImplementedError("the firmware receives 16 bits, stereo")
        self.buffers = max(2, ibuf // (DMA_FRAMES * 8))
        self._frame_us = 1000000 / rate / (1 + self.true_ppm / 1000000)
        self._start_us = fake_esp32.WORLD.us
        self._queue: list = []  # numbers of full buffers
        self._finished = 0
        self._at = 0  # frames read of the first in the queue
        self._polled = False
        self._closed = False
        self.held_until_us = 0  # the interrupt is held up until then
        self.dropped_buffers = 0
        I2S.opened.append(self)

    def deinit(self) -> None:
        self._closed = True

    def hold(self, us: int) -> None:
        """A flash operation of `us`: the DMA goes on, its interrupt does not."""
        self._catch_up()
        before = self._finished
        fake_esp32.WORLD.us += us
        finished = self._due()
        if finished > before:
            self.dropped_buffers += finished - before - 1
            self._finish(finished - 1)
            self._finished = finished

    def _due(self) -> int:
        spent_us = fake_esp32.WORLD.us - self._start_us
        return int(spent_us / self._frame_us) // DMA_FRAMES

    def _catch_up(self) -> None:
        while self._finished < self._due():
            self._finish(self._finished)
            self._finished += 1

    def _finish(self, number: int) -> None:
        if len(self._queue) >= self.buffers - 1:
            # A buffer that is being read is no longer in the queue of the IDF.
            del self._queue[1 if self._at else 0]
            self.dropped_buffers += 1
        self._queue.append(number)

    def ioctl(self, writable: bool) -> bool:
        """A poll: from now on `readinto` returns at once. Whether there is something to read."""
        self._polled = True
        self._catch_up()
        return bool(self._queue) and not writable

    def readinto(self, buf) -> int:
        size = 2 * len(buf)
        if size % 4:
            raise OSError(_EINVAL)
        self._catch_up()
        if not self._polled and len(self._queue) * DMA_FRAMES - self._at < size // 4:
            fake_esp32.WORLD.blocked.append(("i2s", size))
        done = 0
        while done < size // 4 and self._queue:
            n = self._queue[0] * DMA_FRAMES + self._at
            buf[2 * done] = self.left(n) & 0xFFFF
            buf[2 * done + 1] = self.right(n) & 0xFFFF
            done += 1
            self._at += 1
            if self._at == DMA_FRAMES:
                self._at = 0
                self._queue.pop(0)
        return 4 * done


class FakePoll:
    """select.poll of objects with `ioctl`."""

    def __init__(self) -> None:
        self._things: list = []

    def register(self, thing, flags) -> None:
        self._things.append((thing, flags))

    def unregister(self, thing) -> None:
        self._things = [pair for pair in self._things if pair[0] is not thing]

    def poll(self, timeout_ms=-1) -> list:
        if timeout_ms:
            fake_esp32.WORLD.blocked.append(("poll", timeout_ms))
        return [(thing, flags) for thing, flags in self._things if thing.ioctl(flags == 4)]


class FakeSelect:
    """The module `select`."""

    POLLIN, POLLOUT = 1, 4
    poll = FakePoll
