"""Zones of vibration severity as ISO 20816-3 has them, once somebody has declared the machine.

Owns the declaration and what it needs. The limits of the standard are not in here: who declares a
machine enters those of its group and mounting from the standard itself, or from its maker. The
standard covers machines above 15 kW; for a smaller one there is the ratio to the baseline.
"""

ZONES = "ABCD"
LEAST_KW = 15
GROUPS = (1, 2)
MOUNTINGS = ("rigid", "flexible")


def problems_of(severity: object) -> list:
    """What is wrong with a declaration; an empty list if it can be used.

    `power_kw`, `group` (1 or 2), `mounting` ("rigid", "flexible"), and `limits_mm_s`: the three
    velocities, RMS, between the zones A, B, C and D.
    """
    if not isinstance(severity, dict):
        return [f"power_kw, group, mounting and limits_mm_s are expected, not {severity!r}"]
    problems = []
    power_kw = severity.get("power_kw")
    if power_kw is None or not _is_number(power_kw):
        problems.append(f"power_kw: a number is expected, not {power_kw!r}")
    elif power_kw <= LEAST_KW:
        problems.append(
            f"power_kw: {power_kw} kW, but ISO 20816-3 covers machines above {LEAST_KW} kW: "
            "leave severity out and use the feature ratio"
        )
    if severity.get("group") not in GROUPS:
        problems.append(f"group: {severity.get('group')!r}; 1 or 2")
    if severity.get("mounting") not in MOUNTINGS:
        problems.append(f"mounting: {severity.get('mounting')!r}; {' or '.join(MOUNTINGS)}")
    limits = severity.get("limits_mm_s")
    if not isinstance(limits, (list, tuple)) or len(limits) != len(ZONES) - 1:
        problems.append(f"limits_mm_s: three velocities are expected, not {limits!r}")
    elif not all(_is_number(limit) for limit in limits) or not (
        0 < limits[0] < limits[1] < limits[2]
    ):
        problems.append(f"limits_mm_s: rising numbers above 0 are expected, not {limits!r}")
    return problems


def zone(v_mm_s: list, limits_mm_s: list) -> int | None:
    """1 for A to 4 for D, by the largest velocity RMS of the axes; None without any."""
    known = [v for v in v_mm_s if v is not None]
    if not known:
        return None
    most = max(known)
    return 1 + sum(most > limit for limit in limits_mm_s)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
