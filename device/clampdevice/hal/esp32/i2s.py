"""An I2S ADC as a block source: two channels by DMA, without the CPU.

Owns the non-blocking read, the change to offset binary, and the account. Gapless while flash is
idle and somebody comes within the ring's length. A flash operation longer than one DMA buffer
(256 frames: 32 ms at 8 kHz) loses whole buffers; `dmacount` finds how many. Where in the ring they
are missing is known only after a pause shorter than the ring; after a longer one they are told
with its last block.

MicroPython's I2S on this port gives no master clock. A PCM1808 in slave mode needs one (256, 384
or 512 fs, in step with LRCK; without it its output is zero), so it needs an oscillator in step,
which no board has; a PCM1860 or PCM1861 makes its own from BCK, from 8 kHz on, and is the part to
take. Both want the 64 BCK a frame that this port gives.

Ref: MicroPython ports/esp32/machine_i2s.c (mclk = I2S_GPIO_UNUSED; reception always 32 bits,
stereo; 16 bits of these in the application's buffer), docs/library/machine.I2S.rst, extmod/
machine_i2s.c (a poll makes readinto return at once); TI E2E threads 1545454 (PCM1808: 64 BCK, and
zero data out of step) and 957471 (PCM1860: no system clock needed from 8 kHz on).
"""

import select
from array import array

from clampdevice.hal.esp32.dmacount import BUFFER_FRAMES, DmaCount
from clampdevice.hal.esp32.fast import offset_binary
from clampdevice.ticks import TICKS_MASK, ticks_diff

SLOTS = 2
BITS = 16
RING_MS = 450
LEAST_HZ = 8000
MOST_HZ = 24000
_DMA_FRAME_BYTES = 8
_FRAME_BYTES = 2 * SLOTS


def ring_bytes(rate_hz: int, ring_ms: int) -> int:
    """`ibuf` for machine.I2S: DMA memory that holds `ring_ms`, one buffer being filled besides.

    The queue of full buffers is one shorter than the ring.
    """
    buffers = -(-rate_hz * ring_ms // (1000 * BUFFER_FRAMES)) + 2
    return buffers * BUFFER_FRAMES * _DMA_FRAME_BYTES


def check_i2s(adc: dict) -> None:
    """Raises ValueError unless the source's part of board.json fits an I2S ADC."""
    if adc["slots"] != SLOTS or adc["bits"] != BITS:
        raise ValueError(
            f"sources.adc: slots {adc['slots']!r} and bits {adc['bits']!r}; an I2S ADC has "
            f"{SLOTS} slots of {BITS} bits"
        )
    rate_hz = adc["rate_hz"]
    if not LEAST_HZ <= rate_hz <= MOST_HZ or rate_hz != int(rate_hz):
        raise ValueError(
            f"sources.adc.rate_hz: {rate_hz!r}; a whole number of {LEAST_HZ} to {MOST_HZ} for I2S"
        )
    for key in ("sck_pin", "ws_pin", "sd_pin"):
        good = isinstance(adc.get(key), int)
        if not good:
            raise ValueError(f"sources.adc.{key}: {adc.get(key)!r}; the GPIO of the I2S signal")


class I2sSource:
    """See `clampdevice.hal` for the interface of a block source.

    Args:
        new_i2s: makes the `machine.I2S`, stereo, 16 bits; called at `start`.
        rate_hz: of a frame.
        ring_ms: what the DMA ring was made for.
        ticks_us: `time.ticks_us`.

    Attributes:
        rate_hz: nominal; both come from the same crystal. `measured_hz` by the clock.
        overruns, lost_frames: how often buffers were lost, and frames in them.
    """

    def __init__(self, new_i2s, rate_hz: int, ring_ms: int, ticks_us) -> None:
        self.rate_hz = float(rate_hz)
        self.slots = SLOTS
        self.ring_ms = ring_ms
        self.overruns = self.lost_frames = 0
        self._new_i2s = new_i2s
        self._i2s = None
        self._ticks_us = ticks_us
        self._poll = select.poll()
        # A block is a DMA buffer, so that what is lost lies between two blocks. The next one is
        # read ahead: was it the last, the account is settled before it is handed out.
        self._bufs = tuple(array("H", bytes(_FRAME_BYTES * BUFFER_FRAMES)) for _ in range(2))
        self._which = 0
        self._ahead = 0
        self._result = [self._bufs[0], 0, 0, 0, 0]
        self._count = DmaCount(self.rate_hz)
        self._zero = self._lost = 0

    @property
    def measured_hz(self) -> float:
        return self._count.measured_hz

    def start(self, now_us: int) -> None:
        """Opens the bus; its clocks run from here on."""
        self.stop()
        self._zero = ticks_diff(self._ticks_us(), now_us & TICKS_MASK)
        self._i2s = self._new_i2s()
        # Registered before the first read: the first poll makes it return without waiting.
        self._poll.register(self._i2s, select.POLLIN)
        self._poll.poll(0)
        self._lost = self._ahead = 0
        self._count.start(self._ticks_us())

    def stop(self) -> None:
        """Closes the bus and gives the DMA memory back."""
        if self._i2s is not None:
            self._poll.unregister(self._i2s)
            self._i2s.deinit()
            self._i2s = None

    close = stop

    def take(self, now_us: int) -> list | None:
        """The next block [buf, first, frames, end_us, lost_frames], valid until the next call."""
        if self._i2s is None:
            return None
        frames = self._ahead or self._read()
        if not frames:
            return None
        buf = self._bufs[self._which]
        self._which ^= 1
        self._count.received(frames)
        self._ahead = self._read()
        offset_binary(buf, 0, SLOTS * frames)
        now = (now_us + self._zero) & TICKS_MASK
        result = self._result
        result[0] = buf
        result[2] = frames
        result[3] = now_us + ticks_diff(self._count.end_ticks(), now)
        result[4] = self._lost
        if self._lost:
            self.overruns += 1
            self.lost_frames += self._lost
            self._lost = 0
        return result

    def _read(self) -> int:
        """Frames read into the buffer whose turn it is; settles the account if there are none."""
        before = self._ticks_us()
        frames = 0
        i2s = self._i2s
        if i2s is not None and self._poll.poll(0):
            frames = (i2s.readinto(self._bufs[self._which]) or 0) // _FRAME_BYTES
        if frames < BUFFER_FRAMES:
            self._lost += self._count.empty(before, self._ticks_us())
        return frames

    def missed_by_now(self) -> int:
        """Frames lost so far."""
        return self._count.lost

    def report(self) -> dict:
        """What this source was and was not able to do, for the status command."""
        return {
            "kind": "i2s, gapless while flash is idle",
            "rate_hz": self.rate_hz,
            "measured_hz": round(self.measured_hz, 2),
            "ring_ms": self.ring_ms,
            "overruns": self.overruns,
            "lost_frames": self.lost_frames,
        }
