"""The register map as one list: every register, discrete input and coil with its address.

Read out of `schema.py`; documents and client configurations are made from these rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from clampgateway.registers import schema

READ_BOTH, READ_INPUTS = "3 4", "2"
WRITABLE = "3 4 6 16"
COIL = "1 5 15"


class Row(NamedTuple):
    """One line of the table. `address` is the header's, slot 1's or unit 1's entry's."""

    block: str
    quantity: str
    name: str
    address: int
    size: int
    type: str
    unit: str
    scale: float
    range: str
    description: str
    stride: int

    @property
    def functions(self) -> str:
        """The function codes that serve it."""
        if self.type == "bit":
            return COIL if self.block == "coils" else READ_INPUTS
        writable = self.name in {bit.name for bit in schema.COILS} and not self.quantity
        return WRITABLE if writable else READ_BOTH

    @property
    def register(self) -> int:
        """The number of masters that count from 1."""
        return self.address + 1


def rows() -> Iterator[Row]:
    """The whole map, blocks in order: header, slot, each quantity, gateway, then the bits."""
    for entry in schema.HEADER:
        yield _row("header", "", entry, 0, 0)
    slot = schema.slot_address(1)
    for entry in schema.SLOT:
        yield _row("slot", "", entry, slot, schema.STRIDE)
    for quantity in schema.QUANTITIES:
        yield from _feature_rows(quantity, slot)
        for entry in quantity.counters:
            yield _row("slot", quantity.name, entry, slot, schema.STRIDE)
    for entry in schema.GATEWAY:
        yield _row("gateway", "", entry, 0, 0)
    for entry in schema.DIRECTORY:
        yield _row("directory", "", entry, schema.entry_address(1), schema.ENTRY)
    for bit in schema.INPUTS:
        yield _bit("header inputs", bit, 0, 0)
    for bit in schema.SLOT_INPUTS:
        yield _bit("slot inputs", bit, schema.INPUTS_STRIDE, schema.INPUTS_STRIDE)
    for bit in schema.GATEWAY_INPUTS:
        yield _bit("directory inputs", bit, schema.FIRST_UNIT, 1)
    for bit in schema.COILS:
        yield _bit("coils", bit, 0, 0)


def _row(block: str, quantity: str, entry: schema.Register, base: int, stride: int) -> Row:
    return Row(
        block,
        quantity,
        entry.name,
        base + entry.offset,
        entry.size,
        entry.type,
        entry.unit,
        entry.scale,
        entry.range,
        entry.about,
        stride,
    )


def _bit(block: str, bit: schema.Bit, base: int, stride: int) -> Row:
    return Row(block, "", bit.name, base + bit.offset, 1, "bit", "", 1, "", bit.about, stride)


def _feature_rows(quantity: schema.Quantity, base: int) -> Iterator[Row]:
    for each in quantity.features:
        at = base + schema.FLOATS_AT + 2 * each.place
        yield Row(
            "slot", quantity.name, each.key, at, 2, "float32", each.unit, 1, "", each.about,
            schema.STRIDE,
        )  # fmt: skip
    for each in quantity.features:
        if each.step:
            at = base + schema.INTS_AT + each.place
            yield Row(
                "slot", quantity.name, f"{each.key}_i", at, 1, "int16", each.unit, each.step,
                span_of(each), each.about, schema.STRIDE,
            )  # fmt: skip


def span_of(feature: schema.Feature) -> str:
    """The range of the scaled int16."""
    return f"±{feature.step * 0x7FFF:g}"
