"""Addresses and numbers of the two chips, where they differ.

Owns no register access. Field positions that are equal on both chips stand where they are used.

Ref: RP2040 datasheet, 2.2 address map, 2.5.3.1 system DREQ table; RP2350 datasheet, 2.2 and
12.6.4.1. Checked against pico-sdk's hardware_regs (addressmap.h, dreq.h) of both chips.
"""


class RP2040:
    """Of the Pico and the Pico W."""

    name = "rp2040"
    adc_base = 0x4004C000
    timer_raw = 0x40054028  # TIMERAWL
    watchdog_base = 0x40058000
    pads_bank0 = 0x4001C000
    uart_bases = (0x40034000, 0x40038000)
    dreq_adc = 36
    dreq_uart_tx = (20, 22)
    dreq_uart_rx = (21, 23)


class RP2350:
    """Of the Pico 2 and the Pico 2 W (QFN-60, so that the ADC has four pins)."""

    name = "rp2350"
    adc_base = 0x400A0000
    timer_raw = 0x400B0028  # TIMER0's TIMERAWL
    watchdog_base = 0x400D8000
    pads_bank0 = 0x40038000
    uart_bases = (0x40070000, 0x40078000)
    dreq_adc = 48
    dreq_uart_tx = (28, 30)
    dreq_uart_rx = (29, 31)


# The USB controller's memory is at the same place on both: the buffer controls of an endpoint
# are two words at 0x80 + 8 * its number, IN before OUT.
USB_DPRAM = 0x50100000
ADC_CLOCK_HZ = 48000000


def chip_of(machine: str) -> type:
    """The chip of `sys.implementation._machine`.

    Raises:
        ValueError: neither of the two.
    """
    for chip in (RP2040, RP2350):
        if chip.name.upper() in machine:
            return chip
    raise ValueError("no RP2040 or RP2350 in the name of this machine: " + machine)
