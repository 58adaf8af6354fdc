"""The demo's books: each way in which a record can be lost, doubled or wrong is found."""

import binascii
from typing import Any

import pytest

from clamptools.demo.account import EVENT, GAP, RECORD, Account, Key, percentile
from clamptools.demo.devices import Made, PowerUp
from clampwire.codec import Codec
from clampwire.values import CLIPPED, pack_flags, pack_values

CODEC = Codec()
STEPS = ((ord("H"), 1, -3), (ord("H"), 1, -2), (ord("B"), 1, 0))
LAYOUT = 7
START_UTC_MS = 1_763_750_000_000


def describe() -> tuple[bytes, ...]:
    current = (("rms", "A", *STEPS[0]), ("peak", "A", *STEPS[1]))
    head = (0x107, LAYOUT, 2)
    rest = ("sensor", 6400.0, 30.0, 0.01, 1.0, "")
    return (
        CODEC.encode(
            "Describe", *head, 1, "input1", "input", "", *rest, (("state", "", *STEPS[2]),)
        ),
        CODEC.encode("Describe", *head, 0, "current1", "current", "A", *rest, current),
    )


def made(kind: int, boot: int, seq: int, end_ms: int, payload: bytes) -> Made:
    return Made(0, boot, seq, kind, end_ms, binascii.crc32(payload), payload)


def record(seq: int, boot: int = 1, rms: float = 4.21, flags: tuple[int, int] = (0, 0)) -> Made:
    data = pack_values(STEPS, (rms, 6.3, 1))
    end_ms = 1000 * (seq + 1)
    payload = CODEC.encode("Record", boot, seq, end_ms, 5, LAYOUT, pack_flags(list(flags)), data)
    return made(RECORD, boot, seq, end_ms, payload)


def told(item: Made, rms: float = 4.21, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "t": START_UTC_MS + item.end_ms,
        "dur": 1000,
        "boot": item.boot,
        "seq": item.seq,
        "q": "good",
        "f": [],
        "ch": {"current1": {"rms": rms, "peak": 6.3}, "input1": {"state": 1}},
        **changes,
    }


@pytest.fixture
def account() -> Account:
    account = Account()
    account.add_power_up(PowerUp("d1", 0, START_UTC_MS, "MicroPython", describe()))
    return account


def test_nothing_wrong(account: Account) -> None:
    for seq in range(3):
        account.add_made("d1", record(seq))
        account.add_received("d1", "data", told(record(seq)), 0.0)
    result = account.result()
    assert (result.records_made, result.records_received) == (3, 3)
    assert (result.lost, result.duplicates, result.wrong, result.redelivered) == ([], [], [], 0)


def test_crest_is_the_quotient(account: Account) -> None:
    account.add_made("d1", record(0))
    good = {"current1": {"rms": 4.21, "peak": 6.3, "crest": 1.496}, "input1": {"state": 1}}
    account.add_received("d1", "data", told(record(0), ch=good), 0.0)
    assert account.result().wrong == []
    good["current1"]["crest"] = 1.49
    assert len(account.result().wrong) == 1


def test_lost_and_missing(account: Account) -> None:
    for seq in range(3):
        account.add_made("d1", record(seq))
    account.add_received("d1", "data", told(record(1)), 0.0)
    assert account.missing() == [Key("d1", 1, 0), Key("d1", 1, 2)]
    assert account.result().lost == [Key("d1", 1, 0), Key("d1", 1, 2)]


def test_a_gap_covers_its_range_only(account: Account) -> None:
    for seq in range(4):
        account.add_made("d1", record(seq))
    payload = CODEC.encode("Gap", 1, 9, 9000, 1, 255, 1, 2, 0, 2500, 0)
    account.add_made("d1", made(GAP, 1, 9, 9000, payload))
    gap = {
        "t": 1, "boot": 1, "seq": 9, "kind": "gap", "reason": "spool_full", "channel": "",
        "first": 1, "last": 2, "from": 1000, "to": 3500, "samples": 0,
    }  # fmt: skip
    account.add_received("d1", "event", gap, 0.0)
    result = account.result()
    assert result.covered == [Key("d1", 1, 1), Key("d1", 1, 2)]
    assert result.lost == [Key("d1", 1, 0), Key("d1", 1, 3)]
    assert (result.gaps[0].reason, result.gaps[0].seconds, result.wrong) == ("spool_full", 2.5, [])
    gap["last"] = 3
    assert "last is 3, made 2" in account.result().wrong[0]


def test_a_gap_to_the_end_covers_what_did_not_come_before_it(account: Account) -> None:
    for boot, seq in ((1, 3), (1, 4), (1, 5), (2, 0), (2, 2)):
        account.add_made("d1", record(seq, boot))
    payload = CODEC.encode("Gap", 2, 1, 0, 4, 255, 4, 0xFFFFFFFF, 0, 0, 0, 1)
    account.add_made("d1", made(GAP, 2, 1, 0, payload))
    gap = {
        "t": 1, "boot": 2, "seq": 1, "kind": "gap", "reason": "power_cut", "channel": "",
        "first": 4, "last": 0xFFFFFFFF, "from": None, "to": None, "samples": 0, "of_boot": 1,
    }  # fmt: skip
    account.add_received("d1", "event", gap, 0.0)
    result = account.result()
    assert result.covered == [Key("d1", 1, 4), Key("d1", 1, 5), Key("d1", 2, 0)]
    assert result.lost == [Key("d1", 1, 3), Key("d1", 2, 2)]


def test_same_content_twice_is_redelivered(account: Account) -> None:
    account.add_made("d1", record(0))
    for _ in range(3):
        account.add_received("d1", "data", told(record(0)), 0.0)
    result = account.result()
    assert (result.redelivered, result.duplicates, result.records_received) == (2, [], 1)


def test_other_content_is_a_duplicate(account: Account) -> None:
    account.add_made("d1", record(0))
    account.add_received("d1", "data", told(record(0)), 0.0)
    account.add_received("d1", "data", told(record(0), t=START_UTC_MS + 1001), 0.0)
    assert len(account.result().duplicates) == 1


def test_one_interval_under_two_keys(account: Account) -> None:
    account.add_made("d1", record(0))
    account.add_made("d1", record(0, boot=2))
    account.add_received("d1", "data", told(record(0)), 0.0)
    account.add_received("d1", "data", told(record(0, boot=2), t=START_UTC_MS + 1400), 0.0)
    assert "same interval" in account.result().duplicates[0]


def test_neighbours_may_touch(account: Account) -> None:
    for seq, t in ((0, 1000), (1, 1990)):
        account.add_made("d1", record(seq))
        account.add_received("d1", "data", told(record(seq), t=START_UTC_MS + t), 0.0)
    assert account.result().duplicates == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rms": 4.22}, "current1 rms is 4.22, made 4.21"),
        ({"dur": 200}, "dur is 200"),
        ({"f": ["clipped"]}, "flags"),
        ({"ch": {"current1": {"rms": 4.21, "peak": 6.3}}}, "channels are"),
        (
            {"ch": {"current1": {"rms": 4.21, "peak": 6.3, "x": 1}, "input1": {"state": 1}}},
            "x was never made",
        ),
    ],
)
def test_wrong_content(account: Account, changes: dict[str, Any], words: str) -> None:
    account.add_made("d1", record(0))
    account.add_received("d1", "data", told(record(0), **changes), 0.0)
    assert words in account.result().wrong[0]


def test_missing_value_and_flags(account: Account) -> None:
    item = record(0, rms=float("nan"), flags=(CLIPPED, 0))
    account.add_made("d1", item)
    account.add_received("d1", "data", told(item, rms=None, f=["clipped", "unsynced"]), 0.0)  # type: ignore[arg-type]
    assert account.result().wrong == []


def test_event_content(account: Account) -> None:
    payload = CODEC.encode("Event", 1, 0, 500, 255, 5, 1, "0.1.0")
    account.add_made("d1", made(EVENT, 1, 0, 500, payload))
    event = {"t": 1, "boot": 1, "seq": 0, "kind": "started", "channel": "", "value": 1}
    account.add_received("d1", "event", {**event, "text": "0.1.0"}, 0.0)
    assert account.result().wrong == []
    other = Account()
    other.add_made("d1", made(EVENT, 1, 0, 500, payload))
    other.add_received("d1", "data", {**event, "text": "0.2"}, 0.0)
    assert len(other.result().wrong) == 2


def test_made_twice(account: Account) -> None:
    account.add_made("d1", record(0))
    account.add_made("d1", record(0, rms=1.0))
    assert len(account.result().duplicates) == 1


def test_incomplete_description() -> None:
    with pytest.raises(ValueError, match="not a whole description"):
        Account().add_power_up(PowerUp("d1", 0, START_UTC_MS, "", describe()[:1]))


def test_percentile() -> None:
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert percentile([1.0], 0.95) == 1.0
    assert percentile([float(n) for n in range(100)], 0.95) == 94.0
    assert percentile([], 0.95) != percentile([], 0.95)
