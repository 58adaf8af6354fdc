"""The check of the ledger against side files finds every number that differs."""

from clampgateway.ledger.content import Day
from clamptools.demo.account import Key
from clamptools.demo.ledgercheck import Totals, differences, told, truth


def keys(boot: int, *numbers: int, device: str = "d") -> set[Key]:
    return {Key(device, boot, seq) for seq in numbers}


MADE = keys(1, *range(10)) | keys(2, *range(5)) | keys(1, 0, 1, device="e")
# Of boot 1 a hole of two and an end of three were cut off, and all of device e.
COMMITTED = keys(1, 0, 1, 2, 5, 6) | keys(2, *range(5))


def test_truth_is_what_was_made_up_to_what_came() -> None:
    assert truth(MADE, COMMITTED) == {"d": Totals(expected=12, received=10, lost=2, pending=0)}
    assert truth(set(), COMMITTED) == {}


def test_days_of_a_device_are_added() -> None:
    days = [
        ("d", Day("2026-11-22", expected=7, received=5, lost=2)),
        ("d", Day("2026-11-23", expected=5, received=5)),
        ("e", Day("unsynced", expected=1, pending=1)),
    ]
    assert told(days) == {"d": Totals(12, 10, 2, 0), "e": Totals(1, 0, 0, 1)}


def test_every_difference_is_told() -> None:
    good = Day("2026-11-22", expected=12, received=10, lost=2)
    assert differences(MADE, COMMITTED, [("d", good)]) == []
    for wrong in (
        Day("2026-11-22", expected=13, received=10, lost=3),
        Day("2026-11-22", expected=12, received=11, lost=1),
        Day("2026-11-22", expected=12, received=10, lost=1, pending=1),
    ):
        (said,) = differences(MADE, COMMITTED, [("d", wrong)])
        assert said.startswith("the ledger says of d Totals(expected=1")
    assert len(differences(MADE, COMMITTED, [])) == 1
    assert len(differences(MADE, COMMITTED, [("d", good), ("x", good)])) == 1
