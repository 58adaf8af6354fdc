"""The board's configuration: what board.json must hold, and what it gets where it is silent.

Owns the check at start, so that a wrong file is refused with all its faults named and nothing
samples by half. The full check against the chip, from the TOML, is the tools' before flashing.
"""

from clampdevice import linear, names
from clampdevice.feature import PAIRED

_SOURCE_OF = {"current": "adc", "voltage": "adc", "vibration": "accelerometer", "input": "inputs"}
_NUMBERS = {
    "adc": ("rate_hz", "slots", "bits", "vref_v"),
    "accelerometer": ("rate_hz", "slots", "bits", "lsb_per_g"),
    "inputs": (),
}
_DEBOUNCE_MOST_MS = 1000
# Ten minutes of a record a second, of up to 40 bytes; 32 KB with what is kept of each item.
SPOOL = {"ram_bytes": 24576, "ram_items": 1024}


class BoardError(ValueError):
    """board.json cannot be used; the message names every problem, one a line."""


def check(board: dict) -> dict:
    """Returns `board` with its defaults filled in.

    Raises:
        BoardError: what is missing or wrong, by its path.
    """
    if not isinstance(board, dict):
        raise BoardError(f"board.json: an object is expected, not {board!r}")
    problems = [
        f"{key}: a text is expected, not {board.get(key)!r}"
        for key in ("board", "chip", "name")
        if not isinstance(board.get(key), str) or not board[key]
    ]
    spool = dict(SPOOL)
    spool.update(board.get("spool", {}))
    problems += _no_numbers("spool", spool, SPOOL)
    problems += _check_ring(spool)
    sources = dict(board.get("sources", {}))
    for name, part in sources.items():
        if name in _NUMBERS:
            problems += _no_numbers("sources." + name, part, _NUMBERS[name])
        else:
            problems.append(f"sources.{name}: no such source; one of {', '.join(_NUMBERS)}")
    if isinstance(sources.get("adc"), dict):
        sources["adc"] = _with_table(sources["adc"], board.get("chip"), problems)
    channels = board.get("channels", [])
    if not channels:
        problems.append("channels: none, so there is nothing to measure")
    keys: list = []
    for channel in channels:
        _check_channel(channel, sources, keys, problems)
    _check_names(channels, problems)
    _check_state(board.get("state"), keys, problems)
    if problems:
        raise BoardError("board.json:\n" + "\n".join("  " + problem for problem in problems))
    checked = dict(board)
    checked["spool"] = spool
    checked["sources"] = sources
    return checked


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _no_numbers(path: str, part: dict, keys: tuple | dict) -> list:
    """A problem for each of the keys that is no number above 0."""
    return [
        f"{path}.{key}: a number above 0 is expected, not {part.get(key)!r}"
        for key in keys
        if not _is_number(part.get(key)) or part[key] <= 0
    ]


def _check_ring(spool: dict) -> list:
    """The ring in flash: where it begins, and how large it is; neither for none."""
    if "flash_start" not in spool and "flash_bytes" not in spool:
        return []
    found = []
    for key, least in (("flash_start", 0), ("flash_bytes", 20480)):
        value = spool.get(key)
        if not isinstance(value, int) or value < least or value % 4096:
            found.append(
                f"spool.{key}: a multiple of 4096, {least} or more, is expected, not {value!r}"
            )
    return found


def _with_table(adc: dict, chip: str | None, problems: list) -> dict:
    """The adc's part with `linearise`: the curve of the chip's own ADC unless it says another."""
    name = adc.get("linearise", chip if chip in linear.CHIPS else linear.NONE)
    if name != linear.NONE and name not in linear.CHIPS:
        known = ", ".join(linear.CHIPS)
        problems.append(f"sources.adc.linearise: {name!r}; {linear.NONE}, or one of {known}")
    elif name != linear.NONE and adc.get("bits") != 12:
        problems.append(f"sources.adc.linearise: the curve is of 12 bits, not {adc.get('bits')!r}")
    filled = dict(adc)
    filled["linearise"] = name
    return filled


def _check_channel(channel: dict, sources: dict, keys: list, problems: list) -> None:
    key = channel.get("key")
    if not isinstance(key, str) or not key:
        problems.append(f"channels: a channel without a key: {channel!r}")
        return
    if key in keys:
        problems.append(f"{key}: two channels have this key")
    keys.append(key)
    quantity = channel.get("quantity")
    if quantity not in _SOURCE_OF:
        problems.append(f"{key}: quantity {quantity!r}; one of {', '.join(_SOURCE_OF)}")
        return
    source = _SOURCE_OF[quantity]
    if source not in sources:
        problems.append(f"{key}: a channel of {quantity} needs sources.{source}")
    elif source == "adc":
        slots = sources[source].get("slots")
        slot = channel.get("slot")
        if not isinstance(slot, int) or (isinstance(slots, int) and not 0 <= slot < slots):
            problems.append(f"{key}: slot {slot!r}, of {slots!r} slots of the adc")
    if quantity == "current":
        _check_scale(key, channel, problems)
        _check_features(channel, names.CURRENT, problems)
        _check_power(channel, problems)
    elif quantity == "voltage":
        problems += _no_numbers(key, channel, ("v_per_v",))
        _check_features(channel, names.VOLTAGE, problems)
    elif quantity == "vibration":
        _check_vibration(channel, problems)
    elif quantity == "input":
        if not _is_number(channel.get("index")):
            problems.append(f"{key}: index {channel.get('index')!r}; the number of the input")
        _check_features(channel, names.INPUT, problems)
        debounce_ms = channel.get("debounce_ms", 0)
        if not _is_number(debounce_ms) or not 0 <= debounce_ms <= _DEBOUNCE_MOST_MS:
            problems.append(f"{key}.debounce_ms: {debounce_ms!r}; 0 to {_DEBOUNCE_MOST_MS} ms")
        role = channel.get("role")
        if role is not None and role not in names.ROLES:
            problems.append(f"{key}.role: {role!r}; one of {', '.join(names.ROLES)}")


def _check_scale(key: str, channel: dict, problems: list) -> None:
    """Either the output voltage of the transformer, or ratio and burden; never both."""
    voltage = _is_number(channel.get("a_per_v"))
    ratio = [_is_number(channel.get(name)) for name in ("ct_ratio", "burden_ohm")]
    if voltage and any(ratio):
        problems.append(
            f"{key}: a_per_v is for a transformer with its own burden, ct_ratio and burden_ohm "
            "for one without; keep one of them"
        )
    elif not voltage and not all(ratio):
        problems.append(f"{key}: needs a_per_v, or ct_ratio and burden_ohm")


def _check_features(channel: dict, known: tuple, problems: list) -> None:
    key = channel["key"]
    problems += [
        f"{key}.features: no {feature!r}; there are {', '.join(known)}"
        for feature in channel.get("features", ())
        if feature not in known
    ]
    if "ct_class" in channel:
        from clampdevice.ctclass import ct_limits

        try:
            ct_limits(channel["ct_class"])
        except ValueError as error:
            problems.append(f"{key}.ct_class: {error}")


def _check_vibration(channel: dict, problems: list) -> None:
    from clampdevice import vibrationnames

    key = channel["key"]
    _check_features(channel, vibrationnames.vibration(channel.get("axes", "xyz")), problems)
    bands = channel.get("bands")
    if bands is not None and not (
        isinstance(bands, list)
        and 1 <= len(bands) <= len(vibrationnames.BANDS)
        and all(
            isinstance(band, list) and len(band) == 2 and all(map(_is_number, band))
            and 0 <= band[0] < band[1]
            for band in bands
        )
    ):  # fmt: skip
        problems.append(f"{key}.bands: 1 to 8 pairs [low, high] in Hz, not {bands!r}")
    points = channel.get("spectrum_points")
    if points not in (None, 256, 512, 1024, 2048):
        problems.append(f"{key}.spectrum_points: {points!r}; 256, 512, 1024 or 2048")
    if "severity" in channel:
        from clampdevice import severity

        problems += [
            f"{key}.severity.{problem}" for problem in severity.problems_of(channel["severity"])
        ]
    elif "zone" in channel.get("features", ()):
        problems.append(
            f"{key}.features: zone needs severity: power_kw, group, mounting and limits_mm_s"
        )


def _check_power(channel: dict, problems: list) -> None:
    """What multiplies needs a voltage, measured or nominal."""
    key = channel["key"]
    for feature in channel.get("features", ()):
        if feature in PAIRED and "voltage" not in channel:
            problems.append(f"{key}.features: {feature!r} needs a voltage channel: voltage")
        elif feature in names.APPARENT:
            if "voltage" not in channel and not _is_number(channel.get("voltage_v")):
                problems.append(f"{key}.features: {feature!r} needs voltage, or voltage_v")


def _check_names(channels: list, problems: list) -> None:
    """That the channels which a current names are there."""
    quantities = {channel.get("key"): channel.get("quantity") for channel in channels}
    for channel in channels:
        name = channel.get("voltage")
        if name is not None and quantities.get(name) != "voltage":
            problems.append(f"{channel.get('key')}.voltage: no voltage channel {name!r}")
        problems += [
            f"{channel.get('key')}.runs_with: no channel {name!r}"
            for name in channel.get("runs_with", ())
            if name not in quantities
        ]


def _check_state(state: dict | None, keys: list, problems: list) -> None:
    if state is None:
        return
    learn = state.get("learn")
    if learn is not None:
        if not isinstance(learn, dict):
            problems.append(f"state.learn: an object is expected, not {learn!r}")
        elif learn.get("single", "unknown") not in ("working", "idle", "unknown"):
            problems.append(f"state.learn.single: {learn['single']!r}; working, idle or unknown")
        if "on" not in state:
            return
    working = state.get("working")
    if not isinstance(working, list):
        problems.append(f"state.working: a list is expected, not {working!r}")
        working = []
    parts = [("state.on", state.get("on"))]
    parts += [(f"state.working[{number}]", part) for number, part in enumerate(working)]
    for path, part in parts:
        if not isinstance(part, dict) or not _is_number(part.get("above")):
            problems.append(f"{path}: channels and above are expected, not {part!r}")
        elif not part.get("channels"):
            problems.append(f"{path}: names no channel")
        else:
            problems += [
                f"{path}: no channel {key}" for key in part["channels"] if key not in keys
            ]
