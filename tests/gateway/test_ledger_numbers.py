"""The ledger's numbers against the truth, counted number by number from what was made."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.ledgermodel import MASK, Play, World, as_truth
from support.ledgertruth import truth

SHARE = st.sampled_from([0.0, 0.1, 0.3, 0.7])
PLAYS = st.builds(
    Play,
    seed=st.integers(0, 1 << 32),
    power_ups=st.integers(1, 5),
    items=st.integers(1, 60),
    step_s=st.sampled_from([0.2, 1.0, 300.0, 3000.0, 40_000.0]),
    lose=SHARE,
    tell=SHARE,
    condense=SHARE,
    shuffle=st.sampled_from([1, 20, 400]),
    unsynced=SHARE,
    drop=SHARE,
    correct=SHARE,
    kill=SHARE,
    save=SHARE,
    wrap=st.booleans(),
)


def differences(play: Play) -> str:
    world = World(play)
    world.play_all()
    start = MASK - 15 if play.wrap else 0
    told = as_truth(world.days(), start)
    wanted = {n: d for n, d in truth(world.entries).items() if d["expected"] or d["absent_s"]}
    found = []
    for day in sorted({*told, *wanted}):
        ledger, true = told.get(day, {}), wanted.get(day, {})
        for name in sorted({*ledger, *true}):
            if ledger.get(name) != true.get(name):
                said = f"{ledger.get(name)!r}, in truth {true.get(name)!r}"
                found.append(f"day {day}: {name} is {said}")
    return "\n".join(found)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLAYS)
def test_the_ledger_is_the_truth(play: Play) -> None:
    assert differences(play) == ""
