"""What a channel can be asked for: names only, so that a check of them costs nothing.

Owns the lists that the check of board.json shares with the channels; what each feature means is
the channels'.
"""

ORDERS = 15
HARMONICS = tuple("h" + str(order) for order in range(1, ORDERS + 1))
VOLTAGE = (
    "rms", "peak", "mean", "crest", "min", "max", "clipped_pct", "frequency", "thd", "uncertainty",
) + HARMONICS  # fmt: skip
COUNTERS = ("charge", "energy", "apparent_energy", "run")  # in the order of counters.TOTALS
CURRENT = VOLTAGE + ("apparent", "real", "pf") + COUNTERS
# What needs the products of a current and a measured voltage; a nominal one will do for APPARENT.
PAIRED = ("real", "pf", "energy")
APPARENT = ("apparent", "apparent_energy")

# Of a vibration: the vector's, and those of each axis, as `a_x`. BANDS are both.
BANDS = tuple("band" + str(number) for number in range(1, 9))
VECTOR = ("a", "clipped", "temperature", "ratio", "zone") + BANDS
PER_AXIS = ("a", "mean", "peak", "crest", "kurtosis", "v", "pp", "frequency", "fa") + BANDS
_EXTRA = ("clipped", "temperature", "ratio", "zone", "pp", "frequency", "fa") + BANDS
INPUT = ("state", "count")
# Of an input: a light of the machine's stack, or a contact that is closed while it works.
ROLES = ("red", "green", "contact", "amber", "blue")


def is_extra(feature: str) -> bool:
    """Whether a feature of a vibration is one of `vibrationextra.py`."""
    return feature.split("_", 1)[0] in _EXTRA


def vibration(axes: str) -> tuple:
    """All that a vibration with these axes can be asked for."""
    return VECTOR + tuple(stem + "_" + axis for stem in PER_AXIS for axis in axes)
