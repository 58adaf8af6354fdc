"""The one table of the wire: every message that device and gateway exchange, and its numbers.

Codec, document, golden vectors and fuzz tests are made from it. It owns names, layouts and code
numbers; turning them into bytes is `codec.py`, frames on the line are `framing.py`, the scaled
values inside a Record are `values.py`.

Fields are written "name:type", or "name:type:minor" with the wire's minor version that brought
them. Types: a struct letter (B b H h I i Q q f, little-endian), "T" a 40-bit count of
milliseconds since the device's power-up, "s" text and "y" bytes with a one-byte length, "Y" bytes
with a two-byte length, or "(" for a group of the fields up to ")", repeated, with a one-byte
count. It is text because a device holds it in RAM; `fields_of` takes it apart.
"""

WIRE_MAJOR = 1
WIRE_MINOR = 1

MESSAGES = (
    (
        0x01,
        "Hello",
        (
            "wire_major:B wire_minor:B table_crc:I device:s boot:I nonce:I name:s board:s "
            "firmware:s runtime:s describe_crc:I oldest_seq:I next_seq:I reset_cause:B"
        ),
    ),
    (
        0x02,
        "Welcome",
        (
            "wire_major:B wire_minor:B table_crc:I nonce:I accepted:B highest_boot:I gateway:s "
            "reason:s"
        ),
    ),
    (
        0x03,
        "Describe",
        (
            "describe_crc:I layout:B channels:B index:B key:s quantity:s unit:s sensor:s "
            "rate_hz:f full_scale:f noise_floor:f uncertainty_pct:f calibration:s "
            "features:( key:s unit:s code:B mult:H exp:b )"
        ),
    ),
    (0x04, "Record", "boot:I seq:I end_ms:T windows:B layout:B flags:y values:y before:H:1"),
    (0x05, "Event", "boot:I seq:I at_ms:T channel:B kind:B value:i text:s"),
    (
        0x06,
        "Gap",
        (
            "boot:I seq:I at_ms:T reason:B channel:B first_seq:I last_seq:I from_ms:T to_ms:T "
            "samples:I of_boot:I:1"
        ),
    ),
    (
        0x07,
        "Status",
        (
            "uptime_s:I next_seq:I oldest_seq:I spooled:I dropped:I overruns:I lost_samples:I "
            "channel_faults:I rx_frames:I rx_errors:I tx_frames:I resent:I heap_free:I "
            "loop_lag_ms:H temperature_c:f"
        ),
    ),
    (0x08, "Ack", "ranges:( boot:I first:I last:I )"),
    (0x09, "Time", "id:H gateway_us:Q utc_ms:Q device_rx_us:Q device_tx_us:Q"),
    (0x0A, "Command", "id:I name:s args:Y"),
    (0x0B, "Answer", "id:I status:B body:Y"),
    (0x0C, "Transfer", "id:I offset:I total:I crc:I data:Y"),
)

# Their layout is kept for the life of wire major 1 and of every later major: with these alone a
# device of any version can be identified, told the time, commanded and updated.
FROZEN = ("Hello", "Welcome", "Describe", "Ack", "Time", "Command", "Answer", "Transfer")

# Messages that carry (boot, seq), are spooled by the device and acknowledged by the gateway.
SPOOLED = ("Record", "Event", "Gap")

ACK_RANGES_MAX = 4
CHANNELS_MAX = 16
NO_CHANNEL = 255
# As last_seq of a Gap: to the end of that power-up, and of all up to the Gap's own name.
TO_THE_END = 0xFFFFFFFF
WINDOW_MS = 200

# Payload bytes before framing. Towards a device a frame stays below the 512-byte ring of its USB
# stdin even when half of its bytes need an escape.
PAYLOAD_MAX = 1024
PAYLOAD_MAX_TO_DEVICE = 192

EVENT_KINDS = ((1, "state"), (2, "input"), (3, "fault"), (4, "fault_cleared"), (5, "started"))
GAP_REASONS = (
    (1, "spool_full"),
    (2, "overrun"),
    (3, "sensor_fault"),
    (4, "power_cut"),
    (5, "flash_error"),
)
MACHINE_STATES = ((0, "unknown"), (1, "off"), (2, "idle"), (3, "working"))
ANSWER_STATUS = ((0, "ok"), (1, "unknown_command"), (2, "bad_arguments"), (3, "failed"))
RESET_CAUSES = ((0, "unknown"), (1, "power_on"), (2, "hard_reset"), (3, "watchdog"), (4, "soft"))
WELCOME_ACCEPTED = ((0, "refused"), (1, "accepted"))


def fields_of(text: str) -> tuple:
    """The fields of a message in their order: (name, type), or (name, type, minor).

    The type of a group is the tuple of its own fields.
    """
    return _fields(iter(text.split()))


def _fields(words) -> tuple:
    """Fields up to the end of the words, or of the group."""
    fields = []
    for word in words:
        if word == ")":
            break
        parts = word.split(":")
        kind = _fields(words) if parts[1] == "(" else parts[1]
        fields.append((parts[0], kind) + tuple(int(minor) for minor in parts[2:]))
    return tuple(fields)


def name_of(table: tuple, code: int) -> str:
    """The word for a code number of one of the tables above; "code N" for one we do not know."""
    for number, word in table:
        if number == code:
            return word
    return "code " + str(code)


def code_of(table: tuple, name: str) -> int:
    """The code number for a word of one of the tables above. Raises ValueError without it."""
    for number, word in table:
        if word == name:
            return number
    raise ValueError("no code for " + name + " in " + str(table))
