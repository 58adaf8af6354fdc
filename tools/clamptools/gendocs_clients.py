"""Configurations of Modbus clients, made from the register map for the gateway's defaults.

Owns what each client's file looks like; which register stands where is `clampgateway.registers`.
All read unit 1 with a current in slot 1, vibration in slot 2 and an input in slot 3, the way a
machine is usually fitted. For another unit change the unit id; another slot is 250 further on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from clampgateway.registers import schema

HOST, PORT = "127.0.0.1", 1502
FITTED = ((1, "current"), (2, "vibration"), (3, "input"))
GENERATED = "Generated from clampgateway/registers/schema.py by `make docs`; do not edit."
# Features that a panel is likely to show; the others are in docs/registers.md.
SHOWN = {
    "current": ("rms", "peak", "frequency", "apparent", "real", "pf"),
    "vibration": ("a", "v_x", "v_y", "v_z"),
    "input": ("state", "count"),
}


class Point(NamedTuple):
    """One number to read: its name, address, type as in the map, unit and what it is."""

    name: str
    address: int
    type: str
    unit: str
    about: str


def points() -> list[Point]:
    """What the configurations read: quality and age of the header, then the shown features."""
    found = [
        _point("", each, 0) for each in schema.HEADER if each.name in ("quality", "age", "state")
    ]
    for slot, name in FITTED:
        base = schema.slot_address(slot)
        quantity = schema.quantity_named(name)
        prefix = f"{name}{slot}_"
        found += [_point(prefix, each, base) for each in schema.SLOT if each.name == "quality"]
        for feature in quantity.features:
            if feature.key in SHOWN[name]:
                at = base + schema.FLOATS_AT + 2 * feature.place
                found.append(
                    Point(prefix + feature.key, at, "float32", feature.unit, feature.about)
                )
        found += [_point(prefix, each, base) for each in quantity.counters if each.name == "count"]
    return found


def _point(prefix: str, entry: schema.Register, base: int) -> Point:
    about = entry.about if not entry.range else f"{entry.about}: {entry.range}"
    return Point(prefix + entry.name, base + entry.offset, entry.type, entry.unit, about)


def telegraf() -> str:
    """A section [[inputs.modbus]] in the style `request`: all of a slot in one request."""
    lines = [
        f"# {GENERATED}",
        "# A float that is NaN has no value: quality says why.",
        "[[inputs.modbus]]",
        '  name = "clampwork"',
        f'  controller = "tcp://{HOST}:{PORT}"',
        '  configuration_type = "request"',
        '  timeout = "1s"',
        "",
    ]
    for first in (0, *(schema.slot_address(slot) for slot, _name in FITTED)):
        own = [each for each in points() if first <= each.address < first + schema.STRIDE]
        lines += [
            "  [[inputs.modbus.request]]",
            "    slave_id = 1",
            '    byte_order = "ABCD"',
            '    register = "input"',
            '    optimization = "aggressive"',
            "    fields = [",
        ]
        lines += [
            f'      {{ address = {each.address}, name = "{each.name}", '
            f'type = "{each.type.upper()}" }},'
            for each in own
        ]
        lines += ["    ]", ""]
    return "\n".join(lines)


# Home Assistant's device classes, where a unit has one.
_CLASSES = {
    "A": "current",
    "VA": "apparent_power",
    "W": "power",
    "Hz": "frequency",
    "mm/s": "speed",
}


def home_assistant() -> str:
    """The section `modbus:` of configuration.yaml."""
    lines = [
        f"# {GENERATED}",
        "modbus:",
        "  - name: clampwork",
        "    type: tcp",
        f"    host: {HOST}",
        f"    port: {PORT}",
        "    sensors:",
    ]
    for each in points():
        lines += [
            f"      - name: clampwork {each.name.replace('_', ' ')}",
            f"        unique_id: clampwork_1_{each.name}",
            "        slave: 1",
            f"        address: {each.address}",
            "        input_type: input",
            f"        data_type: {each.type}",
            "        scan_interval: 5",
        ]
        if each.type == "float32":
            # A float without a value.
            lines += ["        nan_value: 0x7FC00000", "        precision: 3"]
        if each.unit:
            lines.append(f'        unit_of_measurement: "{each.unit}"')
        if each.unit in _CLASSES:
            lines.append(f"        device_class: {_CLASSES[each.unit]}")
        if each.type == "float32":
            lines.append("        state_class: measurement")
    return "\n".join(lines) + "\n"


def node_red() -> str:
    """A flow for node-red-contrib-modbus: a read for each slot, and a function that names it."""
    tab, client = "clampwork-tab", "clampwork-client"
    nodes: list[dict[str, Any]] = [
        {"id": tab, "type": "tab", "label": "Clampwork", "info": GENERATED},
        {
            "id": client, "type": "modbus-client", "name": "Clampwork", "clienttype": "tcp",
            "tcpHost": HOST, "tcpPort": str(PORT), "tcpType": "DEFAULT", "unit_id": "1",
            "bufferCommands": True, "commandDelay": "1", "clientTimeout": "1000",
            "reconnectOnTimeout": True, "reconnectTimeout": "2000",
            "parallelUnitIdsAllowed": True,
        },
    ]  # fmt: skip
    for row, (slot, name) in enumerate(FITTED):
        base = schema.slot_address(slot)
        own = [each for each in points() if base <= each.address < base + schema.KEY_AT]
        read, decode, show = (f"clampwork-{what}-{slot}" for what in ("read", "decode", "show"))
        y = 80 + 80 * row
        nodes += [
            {
                "id": read, "type": "modbus-read", "z": tab, "name": f"slot {slot}",
                "topic": f"clampwork/1/{name}", "unitid": "1", "dataType": "InputRegister",
                "adr": str(base), "quantity": str(schema.KEY_AT), "rate": "1", "rateUnit": "s",
                "server": client, "showErrors": True, "emptyMsgOnFail": False,
                "x": 140, "y": y, "wires": [[decode], []],
            },
            {
                "id": decode, "type": "function", "z": tab, "name": f"{name} of slot {slot}",
                "func": _script(own, base), "outputs": 1, "x": 340, "y": y, "wires": [[show]],
            },
            {
                "id": show, "type": "debug", "z": tab, "name": f"{name}{slot}", "active": True,
                "tosidebar": True, "complete": "payload", "targetType": "msg", "x": 540, "y": y,
                "wires": [],
            },
        ]  # fmt: skip
    return json.dumps(nodes, indent=2, ensure_ascii=False) + "\n"


def _script(own: list[Point], base: int) -> str:
    """JavaScript: the words of a slot to named numbers; NaN, which JSON has not, becomes null."""
    lines = [
        "const words = Buffer.alloc(2 * msg.payload.length);",
        "msg.payload.forEach((word, at) => words.writeUInt16BE(word, 2 * at));",
        "const number = (value) => Number.isNaN(value) ? null : value;",
        "msg.payload = {",
    ]
    methods = {"float32": "readFloatBE", "uint32": "readUInt32BE", "uint16": "readUInt16BE"}
    for each in own:
        at = 2 * (each.address - base)
        lines.append(f"    {each.name}: number(words.{methods[each.type]}({at})),")
    lines += ["};", "return msg;"]
    return "\n".join(lines)


def mbpoll() -> str:
    """A sheet of commands for a terminal."""
    call = f"mbpoll -m tcp -p {PORT} -1 -q"
    kinds = {"float32": "3:float -B", "uint32": "3:int -B", "uint16": "3", "int16": "3"}
    lines = [
        "# Reading with mbpoll",
        "",
        GENERATED,
        "",
        "mbpoll counts registers from 1; `-B` puts the high word first; `-t 3` reads input",
        f"registers and `-t 4` holding registers, the same here. `{HOST}` is the gateway.",
        "",
        "| What | Command | Unit |",
        "| --- | --- | --- |",
        f"| Is the word order right? 1234.5 | `{call} -a 1 -t 3:float -B -r 3 {HOST}` |  |",
    ]
    for each in points():
        command = f"{call} -a 1 -t {kinds[each.type]} -r {each.address + 1} {HOST}"
        lines.append(f"| {each.name}: {each.about} | `{command}` | {each.unit} |")
    return "\n".join(lines) + "\n"


def mbmap() -> str:
    """The points with orders, address base and sentinels, named as in mbmap; not tried with it."""
    names = {"float32": "nan", "uint16": 0xFFFF, "int16": -0x8000, "uint32": 0xFFFFFFFF}
    document = {
        "note": GENERATED,
        "device": {"manufacturer": "Clampwork", "model": "device", "revision": schema.MAP_VERSION},
        "protocol": {"transport": "tcp", "port": PORT, "unit_id": 1, "function_code": 4},
        "address_base": 0,
        "byte_order": "big",
        "word_order": "big",
        "registers": [
            {
                "name": each.name,
                "address": each.address,
                "count": schema.SIZES[each.type],
                "type": each.type,
                "unit": each.unit,
                "description": each.about,
                "sentinel": names[each.type],
            }
            for each in points()
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


FILES: dict[str, Callable[[], str]] = {
    "docs/clients/telegraf.conf": telegraf,
    "docs/clients/home_assistant.yaml": home_assistant,
    "docs/clients/node_red.json": node_red,
    "docs/clients/mbpoll.md": mbpoll,
    "docs/clients/mbmap.json": mbmap,
}
