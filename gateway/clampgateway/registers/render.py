"""The register map as a document: Markdown for people, CSV for sheets, JSON for programs.

Everything is read out of `schema.py`. Owns how it is shown: address in hex as in the frame, and
the register number (address + 1) that many masters ask for.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable

import msgspec

from clampgateway.registers import order, schema
from clampgateway.registers.rows import READ_BOTH, Row, rows, span_of


def markdown() -> str:
    """The map as a Markdown document."""
    table = list(rows())
    parts = [_intro(), "## Header of a device's unit\n"]
    parts.append(_table(row for row in table if row.block == "header"))
    parts.append(_slot_text())
    parts.append(_table(row for row in table if row.block == "slot" and not row.quantity))
    for quantity in schema.QUANTITIES:
        parts.append(f"### Quantity {quantity.code}: {quantity.name}\n\n{quantity.about}.\n")
        if quantity is schema.OTHER:
            parts.append(_other_text())
            continue
        parts.append(_feature_table(quantity))
        if quantity.counters:
            names = {each.name for each in quantity.counters}
            own = (row for row in table if row.quantity == quantity.name and row.name in names)
            parts.append(_table(own))
    parts.append(_gateway_text())
    parts.append(_table(row for row in table if row.block == "gateway"))
    parts.append(_directory_text())
    parts.append(_table(row for row in table if row.block == "directory"))
    parts.append(_inputs_text())
    for block, title in _BITS:
        parts.append(f"### {title}\n")
        parts.append(_bit_table(row for row in table if row.block == block))
    parts.append(_writing_text())
    parts.append(_bit_table(row for row in table if row.block == "coils"))
    return "\n".join(parts)


_BITS = (
    ("header inputs", "Of the device"),
    ("slot inputs", f"Of slot 1; add {schema.INPUTS_STRIDE} for each further one"),
    ("directory inputs", f"Of unit 1, on unit {schema.GATEWAY_UNIT}; add 1 for each further one"),
)


def _bit_table(wanted: Iterable[Row]) -> str:
    lines = ["| Address | Number | Name | Description |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {_hex(row.address)} | {row.register} | {row.name} | {row.description} |"
        for row in wanted
    ]
    return "\n".join(lines) + "\n"


def _table(wanted: Iterable[Row]) -> str:
    lines = [
        "| Address | Register | Size | Type | Name | Unit | Range | Description |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {_hex(row.address)} | {row.register} | {row.size} | {row.type} | {row.name} "
        f"| {row.unit} | {row.range} | {row.description} |"
        for row in wanted
    ]
    return "\n".join(lines) + "\n"


def _feature_table(quantity: schema.Quantity) -> str:
    lines = [
        "| Name | Unit | float32 | Register | int16 | Register | Scale | Range | Description |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    base = schema.slot_address(1)
    for each in quantity.features:
        wide = base + schema.FLOATS_AT + 2 * each.place
        short = base + schema.INTS_AT + each.place
        lines.append(
            f"| {each.key} | {each.unit} | {_hex(wide)} | {wide + 1} | {_hex(short)} "
            f"| {short + 1} | {each.step:g} | {span_of(each)} | {each.about} |"
        )
    return "\n".join(lines) + "\n"


def _hex(address: int) -> str:
    return f"0x{address:04X}"


def _intro() -> str:
    missing = ", ".join(f"{mark} ({kind})" for kind, mark in schema.MISSING.items())
    return f"""# Modbus registers

Generated from `clampgateway/registers/schema.py` by `make docs`; do not edit. Map \
{_hex(schema.MAP_ID)}, version
{schema.MAP_VERSION}. `clampwork registers --format md|csv|json` prints the same.

Every device has a unit id of its own, {schema.FIRST_UNIT} to {schema.LAST_UNIT}, and each of its \
channels a slot, 1 to {schema.SLOTS}. Both
are given at first sight, stored, and never given to another. Unit {schema.GATEWAY_UNIT} is the \
gateway itself, with a table
of who is who; unit ids 0 and 255, which some masters use for a server on TCP, mean it too. The
unit of a device that was removed stays its own, and reads as one without a record.

- Function codes 03 (read holding registers) and 04 (read input registers) read the same map, at
  most 125 registers a request; with `mirror_to_holding = false` 03 reads the commands alone. 02
  reads discrete inputs, 01 coils, 43/14 identifies the unit, 08/0 gives back what it is sent.
- **Address** is what stands in the frame, counted from 0; **Register** is address + 1, which many
  masters ask for. Off by one is seen at once: the test registers at the start are then wrong.
- Two and four registers are one number, high word first (ABCD, big-endian), unless `word_order`
  in the configuration says {", ".join(order.ORDERS[1:-1])} or {order.ORDERS[-1]}; single \
registers and text are the same in all.
  `test_float` is {schema.TEST_FLOAT} and `test_uint32` 0x{schema.TEST_UINT32:08X} when the order \
is right.
- A request is answered from one frozen image, so what is read together belongs together. Header
  and slot repeat record number and time, so that one request for a slot has all of it.
- "No value" is {missing}.
- A value is withheld when its channel is bad or gone, and when the record is older than
  `stale_after` (5 s unless configured): `quality` then says so and `state` is unknown. `age` is
  counted at the moment of the request and goes on; without any record it is 0xFFFFFFFF.
- Exception 0x0B: no device has this unit id. 02: the register does not exist. 03: a count that is
  not 1 to 125. 01: another function code. Registers without an entry read 0. A client that holds
  a request open, is silent for long or speaks something else is closed.
- Text is ASCII, two characters a register, filled with zeros.
"""


def _slot_text() -> str:
    first, second, last = (schema.slot_address(n) for n in (1, 2, schema.SLOTS))
    return f"""## Channel slots

Slot N begins at address {schema.STRIDE} * N: slot 1 at {first}, slot 2 at {second}, slot \
{schema.SLOTS} at {last}. The tables show
slot 1; add {schema.STRIDE} for each further one. `quantity` says with which of the tables below \
a slot is read.

The first 125 registers of a slot, one request, hold all of it as float32. The scaled int16 are for
panels without floats: value = register * scale, held at ±32767 when larger. A feature that the
device does not send has no value.
"""


def _other_text() -> str:
    last, start = schema.FEATURES - 1, schema.FLOATS_AT
    return f"""float32 `value0` to `value{last}` from offset {start}, two registers each.
There is no int16 for them, since nobody can know their scale.
"""


def _gateway_text() -> str:
    return f"""## The gateway's own unit

Unit {schema.GATEWAY_UNIT} begins as a device's does; its record is its own renewal, once a second.
"""


def _directory_text() -> str:
    return f"""### Who is who

The entry of unit U begins at address {schema.DIRECTORY_AT} + {schema.ENTRY} * U of unit \
{schema.GATEWAY_UNIT}. The table shows unit 1.
"""


def _inputs_text() -> str:
    return """## Discrete inputs

Function code 02, at most 2000 a request. They are made from quality, flags and state of the
registers. A bit has no mark for "no value": believe the others only while `good` is on.
"""


def _writing_text() -> str:
    commands = ", ".join(bit.name for bit in schema.COILS)
    return f"""## Writing

Nothing can be written unless `writable` in the configuration lists it: {commands}. Then
functions 06 and 16 write the registers of that name in the header, and 05 and 15 the coils below.
1 does it and 0 does nothing. The answer says that it is accepted; what became of it is read in
the register. Exception 01: nothing is writable. 02: this is not. 03: the value is not 0 or 1.
06: it is under way. 0x0B: the device is not there. Unit {schema.GATEWAY_UNIT} has no `identify`.
"""


def csv_text() -> str:
    """The map as CSV, one line a register. `stride` is added for each further slot or unit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*Row._fields, "register", "function_codes"))
    for row in rows():
        shown = row._asdict() | {"address": _hex(row.address), "scale": f"{row.scale:g}"}
        writer.writerow((*shown.values(), row.register, row.functions))
    return out.getvalue()


def json_text() -> str:
    """The map as JSON: its constants, and the registers as in CSV with numbers as numbers."""
    document = {
        "map_id": schema.MAP_ID,
        "map_version": schema.MAP_VERSION,
        "word_order": order.ABCD,
        "word_orders": order.ORDERS,
        "function_codes": [int(code) for code in READ_BOTH.split()],
        "gateway_unit": schema.GATEWAY_UNIT,
        "first_unit": schema.FIRST_UNIT,
        "last_unit": schema.LAST_UNIT,
        "slots": schema.SLOTS,
        "slot_stride": schema.STRIDE,
        "missing": schema.MISSING,
        "quantities": {each.name: each.code for each in schema.QUANTITIES},
        "qualities": {word: code for code, word in schema.QUALITIES},
        "flags": {word: bit for bit, word in schema.FLAGS},
        "states": {word: code for code, word in schema.STATES},
        "registers": [
            {**row._asdict(), "register": row.register, "function_codes": row.functions}
            for row in rows()
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


RENDERERS: dict[str, Callable[[], str]] = {
    "md": markdown,
    "csv": csv_text,
    "json": json_text,
}


def render(fmt: str) -> str:
    """The map in a format of RENDERERS. Raises ValueError that names them for another."""
    renderer = RENDERERS.get(fmt)
    if renderer is None:
        raise ValueError(f"no format {fmt!r} for the register map: one of {', '.join(RENDERERS)}")
    return renderer()
