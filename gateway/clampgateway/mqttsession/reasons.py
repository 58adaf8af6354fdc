"""MQTT reason codes in words, and what to do about those that an operator can change.

Source: MQTT Version 5.0, table 2-6; MQTT Version 3.1.1, table 3.1.
"""

from __future__ import annotations

NORMAL = 0x00
MALFORMED = 0x81
PROTOCOL_ERROR = 0x82
WRONG_VERSION = 0x84
TAKEN_OVER = 0x8E
TOO_LARGE = 0x95
QUOTA = 0x97
QOS_UNSUPPORTED = 0x9B
OTHER_SERVER = 0x9C
SERVER_MOVED = 0x9D

# The broker says that it is too much for it: coming back at once would be more of it.
THROTTLING = {0x89, 0x93, 0x96, QUOTA, 0x9F}
# The return codes of a CONNACK of 3.1.1, as MQTT 5 has them.
CONNACK_311 = {1: WRONG_VERSION, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}

NAMES = {
    0x00: "success",
    0x04: "disconnected with the will",
    0x10: "no matching subscribers",
    0x80: "unspecified error",
    MALFORMED: "malformed packet",
    PROTOCOL_ERROR: "protocol error",
    0x83: "implementation specific error",
    WRONG_VERSION: "unsupported protocol version",
    0x85: "client identifier not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8C: "bad authentication method",
    0x8D: "keep alive timeout",
    TAKEN_OVER: "session taken over",
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x93: "receive maximum exceeded",
    0x94: "topic alias invalid",
    TOO_LARGE: "packet too large",
    0x96: "message rate too high",
    QUOTA: "quota exceeded",
    0x98: "administrative action",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    QOS_UNSUPPORTED: "QoS not supported",
    OTHER_SERVER: "use another server",
    SERVER_MOVED: "server moved",
    0x9E: "shared subscriptions not supported",
    0x9F: "connection rate exceeded",
    0xA0: "maximum connect time",
    0xA1: "subscription identifiers not supported",
    0xA2: "wildcard subscriptions not supported",
}
ADVICE = {
    WRONG_VERSION: 'a broker that speaks 3.1.1 only needs protocol = "3.1.1"',
    0x85: "another client_id may be what it accepts",
    0x86: "look at username and password_file",
    0x87: "look at username, password_file and the broker's access list",
    0x9A: "this gateway needs a broker that keeps retained messages",
    OTHER_SERVER: "name it in `fallbacks`, if it is to be followed",
    SERVER_MOVED: "name it in `fallbacks`, if it is to be followed",
}


def in_words(code: int, text: str = "", server: str = "") -> str:
    """A code with its name, what the broker says beside it, and advice.

    Args:
        code: The reason code.
        text: The broker's Reason String, "" without one.
        server: Its Server Reference, "" without one.
    """
    said = f"0x{code:02X} {NAMES.get(code, 'of unknown meaning')}"
    for more in (text, server):
        if more:
            # Of a stranger: it shall not fill a log, nor write lines of its own into it.
            said += f" ({more[:100]!r})"
    advice = ADVICE.get(code)
    return f"{said}; {advice}" if advice else said
