"""The console without its waits: standard input and output, or a UART of its own.

`select.poll` tells when bytes have come, but says "writable" always: on this port a write waits
until the UART's FIFO has taken everything, for ever if it must. Owns the meter that never hands
over more than what the line has carried away by then, and, on the chips' own USB, the pause after
a host was found not to read.

Ref: MicroPython ports/esp32/mphalport.c (mp_hal_stdio_poll, mp_hal_stdout_tx_strn), uart.c
(uart_stdout_tx_strn: no time-out), usb_serial_jtag.c (200 ms, packets of 64), machine_uart.c
(ioctl: always writable); a UART's FIFO is 128 bytes (SOC_UART_FIFO_LEN).
"""

import select

from clampdevice.ticks import ticks_diff

FIFO_BYTES = 120  # of 128, for a start bit that is not out yet
UART_TX_BYTES = 512
UART_RX_BYTES = 2048
CHUNK = 256
BITS_A_BYTE = 10
_REST_US = 2000000  # a host that does not read is asked again after that
_SLOW_US = 20000


class Meter:
    """How many bytes a line of `baud` has room for, if its FIFO holds `room` bytes."""

    def __init__(self, baud: int, room: int, ticks_us) -> None:
        self._us_a_byte = -(-1000000 * BITS_A_BYTE // baud)
        self._room = room
        self._ticks_us = ticks_us
        self._free = room
        self._last = ticks_us()

    def free(self) -> int:
        """Bytes that go out without a wait."""
        now = self._ticks_us()
        sent = ticks_diff(now, self._last) // self._us_a_byte
        if sent < 0 or self._free + sent >= self._room:
            self._free = self._room
            self._last = now
        elif sent:
            self._free += sent
            self._last += sent * self._us_a_byte
        return self._free

    def spend(self, count: int) -> None:
        """`count` bytes were handed over."""
        self._free -= count


class StdioConsole:
    """Raw bytes both ways over MicroPython's own console.

    Args:
        stdin, stdout: `sys.stdin`, `sys.stdout`, with their `buffer`.
        ticks_us: `time.ticks_us`.
        baud: of the UART behind it; None for the chip's own USB.

    Attributes:
        hung_up: the host was found not to read; only on USB.
        stalls: how often.
    """

    def __init__(self, stdin, stdout, ticks_us, baud: int | None) -> None:
        self._in = stdin.buffer
        self._out = stdout.buffer
        self._ticks_us = ticks_us
        self._meter = Meter(baud, FIFO_BYTES, ticks_us) if baud else None
        self._readable = select.poll()
        self._readable.register(stdin, select.POLLIN)
        self._byte = bytearray(1)
        self._chunk = bytearray(CHUNK)
        self._since = 0
        self.hung_up = False
        self.stalls = 0

    def read(self) -> bytes:
        """What has arrived, b"" if nothing."""
        count = 0
        chunk, byte = self._chunk, self._byte
        # One by one: how many there are is not told, and asking for too many would wait.
        while count < CHUNK and self._readable.poll(0):
            self._in.readinto(byte)
            chunk[count] = byte[0]
            count += 1
        return bytes(chunk[:count])

    def write(self, view: memoryview) -> int:
        """Writes what goes out now; the number of bytes taken."""
        if self._meter is not None:
            count = min(len(view), self._meter.free())
            if count:
                self._out.write(view[:count])
                self._meter.spend(count)
            return count
        began = self._ticks_us()
        if self.hung_up and ticks_diff(began, self._since) < _REST_US:
            return 0
        packet = view[:64]
        count = self._out.write(packet)
        now = self._ticks_us()
        # The port reports all bytes as written even when it gave up; its wait gives it away.
        self.hung_up = ticks_diff(now, began) > _SLOW_US
        if self.hung_up:
            self.stalls += 1
            self._since = now
            return 0
        return len(packet) if count is None else count


class UartConsole:
    """Raw bytes both ways over a UART that is nobody else's, with buffers of its own.

    Args:
        uart: `machine.UART`, opened with `txbuf` UART_TX_BYTES, `rxbuf` UART_RX_BYTES, timeout 0.
        baud, ticks_us: for the meter.
    """

    hung_up = False

    def __init__(self, uart, baud: int, ticks_us) -> None:
        self._uart = uart
        self._meter = Meter(baud, UART_TX_BYTES, ticks_us)

    def read(self) -> bytes:
        """What has arrived, b"" if nothing."""
        waiting = self._uart.any()
        return (self._uart.read(waiting) or b"") if waiting else b""

    def write(self, view: memoryview) -> int:
        """Writes what the transmit buffer has room for; the number of bytes taken."""
        count = min(len(view), self._meter.free())
        if not count:
            return 0
        count = self._uart.write(view[:count]) or 0
        self._meter.spend(count)
        return count
