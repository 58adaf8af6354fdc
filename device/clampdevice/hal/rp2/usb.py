"""The console over USB: MicroPython's own serial port, without its waits.

A write to `sys.stdout` waits up to 500 ms when the host has the port open and does not read, and
a read waits until everything asked for is there. Owns the looks beforehand that rule this out.
Nothing is configured here, so that mpremote finds the port as it knows it.

Ref: MicroPython v1.28.0, shared/tinyusb/mp_usbd_cdc.c (transmit FIFO of 256 bytes, packets of
64) and tusb_config.h (endpoint 0x82); RP2040 datasheet 4.1.2.7, buffer control: AVAILABLE is set
while a packet waits for the host.
"""

import select

from clampdevice.hal.rp2.chips import USB_DPRAM
from clampdevice.ticks import ticks_diff

PACKET = 64
CHUNK = 256
IN_CONTROL = USB_DPRAM + 0x80 + 8 * 2  # of endpoint 2, IN
AVAILABLE = 1 << 10 | 1 << 26  # of either half of a double buffer
# A host that reads fetches a packet within this time; one that does not costs it once.
PATIENCE_US = 300


class UsbConsole:
    """Raw bytes both ways. `hung_up` is True while the host does not read.

    Args:
        stdin, stdout: `sys.stdin`, `sys.stdout`, with their `buffer`.
        mem32: `machine.mem32`.
        ticks_us: `time.ticks_us`.
    """

    def __init__(self, stdin, stdout, mem32, ticks_us) -> None:
        self._in = stdin.buffer
        self._out = stdout.buffer
        self._mem32 = mem32
        self._ticks_us = ticks_us
        self._readable = select.poll()
        self._readable.register(stdin, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(stdout, select.POLLOUT)
        self._byte = bytearray(1)
        self._chunk = bytearray(CHUNK)
        self.hung_up = False

    def read(self) -> bytes:
        """What has arrived, b"" if nothing."""
        count = 0
        chunk, byte = self._chunk, self._byte
        # One by one: how many there are is not told, and asking for too many would wait.
        while count < CHUNK and _ready(self._readable):
            self._in.readinto(byte)
            chunk[count] = byte[0]
            count += 1
        return bytes(chunk[:count]) if count else b""

    def write(self, view: memoryview) -> int:
        """Writes what goes out now; the number of bytes taken, 0 if the host does not read."""
        sent = 0
        while sent < len(view) and self._idle():
            packet = view[sent : sent + PACKET]
            count = self._out.write(packet) or 0
            sent += count
            if count < len(packet):
                break
        return sent

    def _idle(self) -> bool:
        """Whether a packet can go out at once, so that the FIFO stays empty behind it."""
        began = self._ticks_us()
        while True:
            # The poll lets the USB stack do its work, which alone empties the FIFO.
            if _ready(self._writable) and not self._mem32[IN_CONTROL] & AVAILABLE:
                self.hung_up = False
                return True
            if self.hung_up or ticks_diff(self._ticks_us(), began) > PATIENCE_US:
                self.hung_up = True
                return False


def _ready(poll) -> bool:
    """Whether the one stream of a `select.poll` is; `ipoll` makes no list of it."""
    for _ in poll.ipoll(0):
        return True
    return False
