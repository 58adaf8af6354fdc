"""Which pins of which ESP32 the ADC can be on, and what the ADC can be trusted with.

Owns the tables and the checks against them; touches no hardware. ADC2 shares its converter with
the radio, so its pins are refused, always: a board that works until Wi-Fi starts is no board.

Ref: pins, MicroPython ports/esp32/machine_adc.c (madc_obj); attenuation, its linear range and the
failure of ADC2 under Wi-Fi, MicroPython docs/esp32/quickref.rst "ADC (analog to digital
conversion)"; scheme of calibration, ports/esp32/adc.c (curve fitting where IDF has it, else line
fitting); line of the ESP32 at 1,100 mV, ESP-IDF components/esp_adc/esp32/adc_cali_line_fitting.c.
"""

# Of each chip: pins of ADC1, pins of ADC2, scheme of the calibration.
_CHIPS = (
    (
        "esp32",
        (36, 37, 38, 39, 32, 33, 34, 35),
        (4, 0, 2, 15, 13, 12, 14, 27, 25, 26),
        "line",
    ),
    ("esp32s2", tuple(range(1, 11)), tuple(range(11, 21)), "line"),
    ("esp32s3", tuple(range(1, 11)), tuple(range(11, 21)), "curve"),
    ("esp32c2", tuple(range(5)), (), "curve"),
    ("esp32c3", tuple(range(5)), (5,), "curve"),
    ("esp32c5", tuple(range(1, 7)), (), "curve"),
    ("esp32c6", tuple(range(7)), (), "curve"),
    ("esp32h2", tuple(range(1, 6)), (), "curve"),
    ("esp32p4", tuple(range(16, 24)), tuple(range(49, 55)), "curve"),
)
CHIPS = tuple(chip[0] for chip in _CHIPS)

# dB as in board.json, name of the constant in machine.ADC, linear range in mV
_ATTENUATIONS = (
    (0, "ATTN_0DB", 100, 950),
    (2.5, "ATTN_2_5DB", 100, 1250),
    (6, "ATTN_6DB", 150, 1750),
    (11, "ATTN_11DB", 150, 2450),
)
DEFAULT_ATTEN_DB = 11
BITS = 16
# The least distance of the bias from either end of the linear range, as a share of that range:
# less, and a half-wave is cut off at 70 % of the swing that the other one has.
_OFF_CENTRE = 0.35


class Chip:
    """One chip type. `scheme` is "line" or "curve"; `adc1` the pins that are taken."""

    def __init__(self, name: str, adc1: tuple, adc2: tuple, scheme: str) -> None:
        self.name = name
        self.adc1 = adc1
        self.scheme = scheme
        self._adc2 = adc2

    def check_pins(self, pins: list) -> None:
        """Raises ValueError, with what to do, unless all are different pins of ADC1."""
        if not pins:
            raise ValueError("sources.adc.pins: none; one GPIO of ADC1 for each slot")
        usable = ", ".join(str(pin) for pin in sorted(self.adc1))
        for index, pin in enumerate(pins):
            if pin in self._adc2:
                raise ValueError(
                    f"sources.adc.pins: GPIO {pin} is on ADC2, which fails while Wi-Fi is on; "
                    f"ADC1 of the {self.name} is on GPIO {usable}"
                )
            if pin not in self.adc1:
                raise ValueError(
                    f"sources.adc.pins: GPIO {pin} has no ADC on the {self.name}; ADC1 is on "
                    f"GPIO {usable}"
                )
            if pin in pins[:index]:
                raise ValueError(f"sources.adc.pins: GPIO {pin} twice")


def chip_of(machine: str) -> Chip:
    """The chip of a text like `sys.implementation._machine`, "Generic ESP32 module with ESP32".

    Raises:
        ValueError: no chip of the family that is known here.
    """
    text = machine.rsplit(" with ", 1)[-1].lower().replace("-", "").replace(" ", "")
    best = None
    for chip in _CHIPS:
        if text.startswith(chip[0]) and (best is None or len(chip[0]) > len(best[0])):
            best = chip
    if best is None:
        raise ValueError(f"no ADC table for {machine!r}; one of {', '.join(CHIPS)}")
    return Chip(*best)


def attenuation(db: float) -> tuple:
    """(name in machine.ADC, lowest mV, highest mV of the linear range).

    Raises:
        ValueError: no such attenuation.
    """
    for entry in _ATTENUATIONS:
        if entry[0] == db:
            return entry[1:]
    known = ", ".join(str(entry[0]) for entry in _ATTENUATIONS)
    raise ValueError(f"sources.adc.atten_db: {db!r}; one of {known}")


def check_scale(adc: dict) -> tuple:
    """(name in machine.ADC, low mV, high mV): what the codes of this source are a scale of.

    Codes run from 0 at the lower end of the linear range to 65535 at the upper, so that a sample
    outside of it counts as clipped. board.json has to say the same.

    Raises:
        ValueError: it does not.
    """
    name, low_mv, high_mv = attenuation(adc.get("atten_db", DEFAULT_ATTEN_DB))
    span_v = (high_mv - low_mv) / 1000
    if adc["bits"] != BITS or abs(adc["vref_v"] - span_v) > 0.0005:
        raise ValueError(
            f"sources.adc: bits {adc['bits']!r} and vref_v {adc['vref_v']!r}; codes of the "
            f"internal ADC have {BITS} bits over {low_mv} to {high_mv} mV: vref_v = {span_v}"
        )
    return name, low_mv, high_mv


def check_bias(pin: int, mv: float, low_mv: int, high_mv: int) -> None:
    """Raises ValueError unless a bias of `mv` leaves a swing to both sides."""
    least = low_mv + _OFF_CENTRE * (high_mv - low_mv)
    most = high_mv - _OFF_CENTRE * (high_mv - low_mv)
    if not least <= mv <= most:
        raise ValueError(
            f"GPIO {pin}: bias of {mv:.0f} mV; between {least:.0f} and {most:.0f} mV is needed, "
            f"best {(low_mv + high_mv) / 2:.0f} mV. Check the divider and the burden"
        )
