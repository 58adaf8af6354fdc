"""Discrete inputs: the qualities, flags and states of a unit's registers, a bit each.

Owns how they are found in an image; where each stands is `schema.py`. A bit has no mark for "no
value": `good` beside it says whether the others may be believed.
"""

from __future__ import annotations

import struct

from clampgateway.registers import schema

_MOMENT = struct.Struct(">4H")
_MOMENT_AT = 2 * 12
_ENTRY = struct.Struct(">4H")
_KIND_AT = 2 * 7
_GATEWAY = next(code for code, word in schema.UNIT_KINDS if word == "gateway")
_INPUT = next(each.code for each in schema.QUANTITIES if each.name == "input")
_PLACES = {each.name: each.offset for each in (*schema.INPUTS, *schema.SLOT_INPUTS)}
# Bits by the code that a register has, and by the flag's bit.
_QUALITY = {code: 1 << _PLACES[word] for code, word in schema.QUALITIES if word in _PLACES}
_STATE = {code: 1 << _PLACES[word] for code, word in schema.STATES if word in _PLACES}
# The flag `bad` is not the quality `bad`: one channel's makes the record's flags, not its quality.
_FLAGS = [
    (bit, 1 << _PLACES[word])
    for bit, word in schema.FLAGS
    if word in _PLACES and word not in dict(schema.QUALITIES).values()
]
_WORKING = next(code for code, word in schema.STATES if word == "working")
_GOOD = next(code for code, word in schema.QUALITIES if word == "good")


def inputs_of(words: bytes) -> tuple[int, int]:
    """Discrete inputs of an image, input N in bit N, and how many there are."""
    found = _header(words)
    if int.from_bytes(words[_KIND_AT : _KIND_AT + 2], "big") == _GATEWAY:
        return found | _directory(words), schema.GATEWAY_INPUTS_SIZE
    for slot in range(1, schema.SLOTS + 1):
        found |= _slot(words, 2 * schema.STRIDE * slot) << schema.INPUTS_STRIDE * slot
    return found, schema.DEVICE_INPUTS_SIZE


def _header(words: bytes) -> int:
    quality, flags, online, state = _MOMENT.unpack_from(words, _MOMENT_AT)
    found = _QUALITY.get(quality, 0) | _of_flags(flags)
    return found | _STATE.get(state, 0) | (online & 1) << _PLACES["online"]


def _slot(words: bytes, at: int) -> int:
    quantity = int.from_bytes(words[at : at + 2], "big")
    if not quantity:
        return 0
    quality, flags, _online, _state = _MOMENT.unpack_from(words, at + _MOMENT_AT)
    found = 1 << _PLACES["used"] | _QUALITY.get(quality, 0) | _of_flags(flags)
    if quantity == _INPUT:
        start = at + 2 * schema.INTS_AT
        closed = int.from_bytes(words[start : start + 2], "big") == 1
        found |= closed << _PLACES["closed"]
    return found


def _directory(words: bytes) -> int:
    found = 0
    for unit in range(schema.FIRST_UNIT, schema.LAST_UNIT + 1):
        given, online, quality, state = _ENTRY.unpack_from(words, 2 * schema.entry_address(unit))
        if given:
            found |= (online & 1) << schema.ONLINE_AT + unit
            found |= (quality == _GOOD) << schema.GOOD_AT + unit
            found |= (state == _WORKING) << schema.WORKING_AT + unit
    return found


def _of_flags(flags: int) -> int:
    found = 0
    for bit, place in _FLAGS:
        if flags & bit:
            found |= place
    return found
