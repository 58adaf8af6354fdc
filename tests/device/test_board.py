"""board.json: every mistake is named, and what is left out has a default."""

from clampdevice import board

BOARD = {
    "board": "test",
    "chip": "sim",
    "name": "bench",
    "sources": {
        "adc": {"rate_hz": 6400, "slots": 4, "bits": 12, "vref_v": 3.3, "temperature_slot": 3},
        "accelerometer": {"rate_hz": 3200, "slots": 3, "bits": 13, "lsb_per_g": 256},
        "inputs": {},
    },
    "channels": [
        {"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 30},
        {"key": "current2", "quantity": "current", "slot": 1, "ct_ratio": 2000, "burden_ohm": 22},
        {"key": "vibration1", "quantity": "vibration"},
        {"key": "input1", "quantity": "input", "index": 0},
    ],
    "state": {
        "on": {"channels": ["current1"], "above": 0.5},
        "working": [{"channels": ["current1"], "above": 20}],
    },
}


def test_a_wrong_board_is_refused_with_every_problem():
    wrong = {
        "board": "x",
        "chip": "sim",
        "sources": {"adc": {"rate_hz": 6400, "slots": 4, "bits": 12}, "modem": {}},
        "channels": [
            {"key": "a", "quantity": "current", "slot": 4, "a_per_v": 3, "burden_ohm": 1},
            {"key": "a", "quantity": "volume"},
            {"key": "b", "quantity": "input"},
            {"key": "c", "quantity": "current", "slot": 0, "ct_ratio": 2000},
            {"key": "d", "quantity": "input", "index": 0, "debounce_ms": 1001},
            {"key": "e", "quantity": "input", "index": 1, "debounce_ms": -1},
            {"key": "f", "quantity": "input", "index": 2, "debounce_ms": "20"},
        ],
        "state": {"on": {"channels": ["z"], "above": 1}},
    }
    try:
        board.check(wrong)
    except board.BoardError as error:
        text = str(error)
    else:
        raise AssertionError("no BoardError")
    for part in (
        "name: a text",
        "sources.modem",
        "sources.adc.vref_v",
        "a: slot 4",
        "a: a_per_v is for",
        "a: two channels",
        "a: quantity 'volume'",
        "b: a channel of input needs sources.inputs",
        "b: index None",
        "c: needs a_per_v",
        "d.debounce_ms: 1001; 0 to 1000 ms",
        "e.debounce_ms: -1; 0 to 1000 ms",
        "f.debounce_ms: '20'; 0 to 1000 ms",
        "state.on: no channel z",
        "state.working: a list",
    ):
        assert part in text, (part, text)


def test_defaults_of_a_board():
    assert board.check(BOARD)["spool"] == {"ram_bytes": 24576, "ram_items": 1024}
    assert "spool" not in BOARD
