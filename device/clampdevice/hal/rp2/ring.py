"""A ring of samples in SRAM that DMA fills for ever, with a time stamp at the end of each block.

Owns the DMA channels and what their registers say: how many blocks are complete, when each was,
and how far the DMA is in the present one. No CPU takes part: a data channel moves one block and
starts a stamp channel, which copies the timer's microseconds and starts the next data channel.
Knows nothing of what delivers the samples.

A DMA ring has at most 32 KB, so a larger one is made of segments that take turns, block by block:
A, stamp, B, stamp, A, ... With one segment a data channel is started again by its own stamp
channel. TRANS_COUNT reloads at each start and WRITE_ADDR goes on round its ring, so nothing ever
ends. Interrupts are not used: one pending flag would stand for any number of blocks.
"""

from clampdevice.hal.rp2.fast import ticks_at
from clampdevice.hal.rp2.memory import aligned_array

SEGMENT_SAMPLES = 16384
STAMPS = 64  # a segment; a power of two, at least twice its blocks
_ENABLE = 1
# Indices into `DMA.registers`
_WRITE_ADDR = 1
_TRANS_COUNT = 2
_AL1_CTRL = 4  # CTRL without a trigger


class StampedRing:
    """A ring of 16-bit samples.

    Args:
        new_dma: `rp2.DMA`; called twice a segment.
        memory: see `memory.aligned_array`.
        timer_raw: address of the timer's low word.
        samples: size of the ring, a power of two up to 16,384 or a multiple of that.
        block: samples a block, a power of two.

    Attributes:
        buf: array('H') that holds the ring.
        blocks: blocks in the ring.
        modulus: `completed` counts modulo this.

    Raises:
        ValueError: sizes that do not fit.
        OSError: no DMA channel is free.
        MemoryError: no room for the ring.
    """

    def __init__(self, new_dma, memory, timer_raw: int, samples: int, block: int) -> None:
        segment = min(samples, SEGMENT_SAMPLES)
        if samples % segment or segment & (segment - 1) or segment % block:
            raise ValueError(
                "a ring of " + str(samples) + " samples in blocks of " + str(block)
                + ": segments of a power of two are needed, up to " + str(SEGMENT_SAMPLES)
            )  # fmt: skip
        if segment // block > STAMPS // 2:
            raise ValueError(
                "blocks of " + str(block) + " samples are too small for stamps in a ring of "
                + str(samples)
            )  # fmt: skip
        self._segment = segment
        self._segments = samples // segment
        self._block = block
        self.blocks = samples // block
        self.modulus = STAMPS * self._segments
        self._timer_raw = timer_raw
        self.buf, self._first = aligned_array("H", samples, 2 * segment, memory)
        self._stamps, self._first_stamp = aligned_array(
            "I", STAMPS * self._segments, 4 * STAMPS, memory
        )
        self._buf_address = memory.addressof(self.buf) + 2 * self._first
        self._stamp_address = memory.addressof(self._stamps) + 4 * self._first_stamp
        self._data = [new_dma() for _ in range(self._segments)]
        self._stamp = [new_dma() for _ in range(self._segments)]
        self._data_regs = [dma.registers for dma in self._data]
        self._stamp_regs = [dma.registers for dma in self._stamp]
        self._last_regs = self._stamp_regs[-1]
        self._last_address = self._stamp_address + 4 * STAMPS * (self._segments - 1)

    def start(self, source: int, dreq: int) -> None:
        """Takes 16-bit samples from address `source` at the pace of `dreq`, from block 0 on."""
        for i in range(self._segments):
            data, stamp = self._data[i], self._stamp[i]
            following = self._data[(i + 1) % self._segments]
            data.config(
                read=source,
                write=self._buf_address + 2 * self._segment * i,
                count=self._block,
                ctrl=data.pack_ctrl(
                    size=1,
                    inc_read=False,
                    inc_write=True,
                    ring_sel=True,
                    ring_size=_log2(2 * self._segment),
                    treq_sel=dreq,
                    chain_to=stamp.channel,
                    high_pri=True,
                ),
                trigger=False,
            )
            stamp.config(
                read=self._timer_raw,
                write=self._stamp_address + 4 * STAMPS * i,
                count=1,
                ctrl=stamp.pack_ctrl(
                    size=2,
                    inc_read=False,
                    inc_write=True,
                    ring_sel=True,
                    ring_size=_log2(4 * STAMPS),
                    chain_to=following.channel,
                    high_pri=True,
                ),
                trigger=False,
            )
        self._data[0].active(1)

    def stop(self) -> None:
        """Ends all transfers where they are."""
        # Disabled before aborted, all of them: else an aborted channel's chain starts another
        # (RP2350 erratum E5; in RP2040 erratum E13 it completes late).
        for channel_registers in self._data_regs + self._stamp_regs:
            channel_registers[_AL1_CTRL] = channel_registers[_AL1_CTRL] & ~_ENABLE
        for dma in self._data + self._stamp:
            dma.active(0)

    def close(self) -> None:
        """Gives the channels back."""
        self.stop()
        for dma in self._data + self._stamp:
            dma.close()

    def completed(self) -> int:
        """Blocks completed since `start`, modulo `modulus`, from the stamp channels' position."""
        # The last segment is read first: the others can only be ahead of it by one block.
        stamped = (self._last_regs[_WRITE_ADDR] - self._last_address) >> 2
        if self._segments == 1:
            return stamped
        count = self._segments * stamped
        for i in range(self._segments - 1):
            at = self._stamp_regs[i][_WRITE_ADDR] - self._stamp_address
            if (at >> 2) - STAMPS * i != stamped:
                count += 1
        return count

    def filled(self, block: int) -> int:
        """Samples that are written of `block`, the one in progress."""
        left = self._data_regs[block % self._segments][_TRANS_COUNT]
        # A channel that is not yet started again shows 0 left of the block before.
        return self._block - left if left else 0

    def stamp(self, block: int) -> int:
        """Ticks at the end of `block`, one of the last `modulus`."""
        segments = self._segments
        if segments == 1:
            return ticks_at(self._stamps, self._first_stamp + block % STAMPS)
        index = STAMPS * (block % segments) + block // segments % STAMPS
        return ticks_at(self._stamps, self._first_stamp + index)

    def first(self, block: int) -> int:
        """Index into `buf` of the first sample of `block`."""
        segments = self._segments
        if segments == 1:
            return self._first + block % self.blocks * self._block
        within = block // segments * self._block % self._segment
        return self._first + block % segments * self._segment + within

    def contiguous(self, block: int) -> int:
        """How many blocks from `block` on lie behind one another in `buf`."""
        if self._segments > 1:
            return 1
        return self.blocks - block % self.blocks


def _log2(value: int) -> int:
    bits = 0
    while value >> bits > 1:
        bits += 1
    return bits
