"""Who is there: function 43/14, Read Device Identification.

# Ref: MODBUS Application Protocol Specification V1.1b3, section 6.21

Owns the categories of objects, what fits into one response, and the exceptions. What the objects
of a unit say is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping

ILLEGAL_FUNCTION = 0x01
ILLEGAL_ADDRESS = 0x02
ILLEGAL_VALUE = 0x03

FUNCTION = 0x2B
MEI_TYPE = 0x0E
VENDOR, PRODUCT_CODE, REVISION = 0x00, 0x01, 0x02
URL, PRODUCT_NAME, MODEL_NAME, APPLICATION_NAME = 0x03, 0x04, 0x05, 0x06
OWN_ID = 0x80  # the first of the private objects: the id of the device, or of the gateway

# Read Device ID code to the highest object of its category; 4 asks for a single one.
_CATEGORIES = {1: 0x02, 2: 0x7F, 3: 0xFF}
_SINGLE = 4
# All three categories, as a stream and one by one.
_CONFORMITY = 0x83
_PDU_MAX = 253
_HEAD = 7
OBJECT_MAX = 96


def respond(objects: Mapping[int, str], request: bytes) -> bytes:
    """The response to a request of function 43.

    Args:
        objects: Object id to its text. A text is sent as UTF-8, cut to OBJECT_MAX bytes.
        request: The PDU, function code first.
    """
    if len(request) < 2:
        return _exception(ILLEGAL_VALUE)
    if request[1] != MEI_TYPE:
        return _exception(ILLEGAL_FUNCTION)
    if len(request) != 4:
        return _exception(ILLEGAL_VALUE)
    code, wanted = request[2], request[3]
    if code == _SINGLE:
        if wanted not in objects:
            return _exception(ILLEGAL_ADDRESS)
        return _response(code, [(wanted, objects[wanted])], 0)
    if code not in _CATEGORIES:
        return _exception(ILLEGAL_VALUE)
    named = [(key, objects[key]) for key in sorted(objects) if key <= _CATEGORIES[code]]
    # "If the Object Id does not match any known object, the server responds as if object 0 were
    # pointed out": a client then begins anew.
    at = wanted if any(key == wanted for key, _text in named) else 0
    return _stream(code, [each for each in named if each[0] >= at])


def _stream(code: int, named: list[tuple[int, str]]) -> bytes:
    """As many objects as fit, and which one is next if some do not."""
    size = _HEAD
    for number, (key, text) in enumerate(named):
        size += 2 + len(_encoded(text))
        if size > _PDU_MAX:
            return _response(code, named[:number], key)
    return _response(code, named, 0)


def _response(code: int, named: list[tuple[int, str]], following: int) -> bytes:
    more = 0xFF if following else 0
    out = bytearray((FUNCTION, MEI_TYPE, code, _CONFORMITY, more, following, len(named)))
    for key, text in named:
        data = _encoded(text)
        out += bytes((key, len(data))) + data
    return bytes(out)


def _encoded(text: str) -> bytes:
    data = text.encode()[:OBJECT_MAX]
    # A character of several bytes is not cut in two.
    return data.decode("utf-8", "ignore").encode()


def _exception(code: int) -> bytes:
    return bytes((FUNCTION | 0x80, code))
