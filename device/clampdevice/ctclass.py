"""What the accuracy class of a transformer promises; loaded where a board states one."""

# Ref: IEC 61869-2, limits of the ratio error of measuring classes, as tabulated by procitec.in
# ("Current Transformer Accuracy Class as per IEC 61869-2"): percent of the rated current, and of
# the reading. Straight lines join the points; below the first a class promises nothing.
CT_CLASSES = (
    ("0.1", ((5, 0.4), (20, 0.2), (100, 0.1))),
    ("0.2", ((5, 0.75), (20, 0.35), (100, 0.2))),
    ("0.2S", ((1, 0.75), (5, 0.35), (20, 0.2))),
    ("0.5", ((5, 1.5), (20, 0.75), (100, 0.5))),
    ("0.5S", ((1, 1.5), (5, 0.75), (20, 0.5))),
    ("1", ((5, 3.0), (20, 1.5), (100, 1.0))),
)


def ct_limits(name: str) -> tuple:
    """((percent of rated, percent of reading), ...) of a class.

    Raises:
        ValueError: no such class here.
    """
    for known, limits in CT_CLASSES:
        if known == name:
            return limits
    names = ", ".join(known for known, _limits in CT_CLASSES)
    raise ValueError(f"no CT class {name!r}: {names}; give ct_error_pct for another")
