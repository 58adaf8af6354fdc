"""What a channel can be asked for: names only, so that a check of them costs nothing.

Owns the lists that the check of board.json shares with the channels; what each feature means is
the channels'.
"""

from clampdevice.feature import COUNTERS

ORDERS = 15
HARMONICS = tuple("h" + str(order) for order in range(1, ORDERS + 1))
VOLTAGE = (
    "rms", "peak", "mean", "crest", "min", "max", "clipped_pct", "frequency", "thd", "uncertainty",
) + HARMONICS  # fmt: skip
CURRENT = VOLTAGE + ("apparent", "real", "pf") + COUNTERS
# A nominal voltage will do for these of a current; what feature.PAIRED names needs a measured one.
APPARENT = ("apparent", "apparent_energy")

INPUT = ("state", "count")
# Of an input: a light of the machine's stack, or a contact that is closed while it works.
ROLES = ("red", "green", "contact", "amber", "blue")
