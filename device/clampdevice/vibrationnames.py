"""What a vibration can be asked for: names only, as names.py for the other quantities."""

# The vector's, and those of each axis, as `a_x`. BANDS are both.
BANDS = tuple("band" + str(number) for number in range(1, 9))
VECTOR = ("a", "clipped", "temperature", "ratio", "zone") + BANDS
PER_AXIS = ("a", "mean", "peak", "crest", "kurtosis", "v", "pp", "frequency", "fa") + BANDS
_EXTRA = ("clipped", "temperature", "ratio", "zone", "pp", "frequency", "fa") + BANDS


def is_extra(feature: str) -> bool:
    """Whether a feature of a vibration is one of `vibrationextra.py`."""
    return feature.split("_", 1)[0] in _EXTRA


def vibration(axes: str) -> tuple:
    """All that a vibration with these axes can be asked for."""
    return VECTOR + tuple(stem + "_" + axis for stem in PER_AXIS for axis in axes)
