"""What rp2040py 0.3.6 does otherwise than an RP2040, put right from outside.

Owns the defects that the firmware or its tests would trip over, each with what the chip does.
Nothing here knows our firmware. The ADC is replaced as a whole by `analog.py`, the times of the
flash are `flashtimes.py`. Call `install` before the first device is made.
"""

from rp2040py.peripherals import uart, watchdog
from rp2040py.usb import cdc
from rp2040py.utils.fifo import FIFO

# Between two bulk-OUT packets of a host that has more to say.
_OUT_GAP_NS = 20_000
# Room for what a test sends at once; the stock 512 bytes drop the rest in silence.
_OUT_BYTES = 65536


class _Outbox(FIFO):
    """Bytes for the device; tells when the first one arrives."""

    def __init__(self, size: int, on_first) -> None:  # noqa: ANN001 - a plain callable
        super().__init__(size)
        self._on_first = on_first

    def push(self, value: int) -> None:
        was_empty = self.empty
        if self.full:
            raise OverflowError("more than 64 KB wait for the device: it does not read")
        super().push(value)
        if was_empty:
            self._on_first()


def _silent_out_endpoint() -> None:
    """A host sends OUT packets when it has data.

    Stock: every armed OUT endpoint is completed with an empty packet after 10 us, for ever, so
    that the guest does nothing but handle USB.
    """
    make = cdc.USBCDC.__init__

    def init(self, usb) -> None:  # noqa: ANN001
        make(self, usb)
        serve = usb.on_endpoint_read
        armed: list[int] = []

        def deliver() -> None:
            if armed and not self.tx_fifo.empty:
                serve(self._out_endpoint, armed.pop())

        alarm = usb.rp2040.clock.create_alarm(deliver)

        def on_read(endpoint: int, size: int) -> None:
            if endpoint == 0 or endpoint != self._out_endpoint:
                serve(endpoint, size)
                return
            armed[:] = [size]
            if not self.tx_fifo.empty:
                alarm.schedule(_OUT_GAP_NS)

        forget = usb.on_reset

        def on_reset() -> None:
            armed.clear()
            alarm.cancel()
            forget()

        usb.on_endpoint_read = on_read
        usb.on_reset = on_reset
        self.tx_fifo = _Outbox(_OUT_BYTES, lambda: alarm.schedule(_OUT_GAP_NS))

    cdc.USBCDC.__init__ = init


def _uart_lines() -> None:
    """The transmit interrupt is an edge after a write; received bytes raise the DMA's request.

    Stock: the transmit interrupt is asserted again at every look, so that machine.UART never
    returns; and DREQ_UART_RX is never raised.
    """
    stock = uart.RPUART
    feed, read, write = stock.feed_byte, stock.read_uint32, stock.write_uint32

    def check_interrupts(self) -> None:  # noqa: ANN001
        self.rp2040.set_interrupt(self.irq, bool(self._interrupt_status & self._interrupt_mask))

    def update_request(self) -> None:  # noqa: ANN001
        if self.rx_fifo.empty:
            self.rp2040.dma.clear_dreq(self.dreq.rx)
        else:
            self.rp2040.dma.set_dreq(self.dreq.rx)

    def feed_byte(self, value: int) -> None:  # noqa: ANN001
        if self.rx_fifo.full:
            self.overruns = getattr(self, "overruns", 0) + 1
        feed(self, value)
        update_request(self)

    def read_uint32(self, offset: int) -> int:  # noqa: ANN001
        value = read(self, offset)
        if offset == uart.UARTDR:
            update_request(self)
        return value

    def write_uint32(self, offset: int, value: int) -> None:  # noqa: ANN001
        if offset == 0x48:  # UARTDMACR, which stock does not know
            self.dma_control = value
            return
        write(self, offset, value)
        if offset == uart.UARTDR:
            self._interrupt_status |= uart.UARTTXINTR
            self.check_interrupts()

    stock.check_interrupts = check_interrupts
    stock.feed_byte = feed_byte
    stock.read_uint32 = read_uint32
    stock.write_uint32 = write_uint32


def _watchdog_fires_once() -> None:
    """A watchdog that fired is off after the reset.

    Stock: it stays enabled and fires again 2,147 emulated seconds later.
    """
    make = watchdog.RPWatchdog.__init__

    def init(self, *args: object) -> None:  # noqa: ANN001
        make(self, *args)
        fire = self.alarm.callback

        def fire_once() -> None:
            self._enable = False
            self.alarm.enable = False
            self.timer.enable = False
            fire()

        self.alarm.callback = fire_once

    watchdog.RPWatchdog.__init__ = init


_installed: list[bool] = []


def install() -> None:
    """Patches the package; a second call does nothing."""
    if not _installed:
        _installed.append(True)
        _silent_out_endpoint()
        _uart_lines()
        _watchdog_fires_once()
