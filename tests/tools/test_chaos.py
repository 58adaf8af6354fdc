"""The chaos of the demo without its processes: plan, holes, and what faults may cost."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from clamptools import cli
from clamptools.demo import schedule
from clamptools.demo.account import RECORD, Account, Key
from clamptools.demo.brokers import BrokerPlan, Refuser, refusal
from clamptools.demo.chaos import Injected
from clamptools.demo.chaosverdict import IN_FLIGHT_S, PowerCut, allowed_s, power_cuts, problems_of
from clamptools.demo.devices import Made
from clamptools.demo.processes import free_ports
from clamptools.demo.recovery import AGAIN_S, AGE_S, Hole, Recovery, holes
from clamptools.demo.schedule import CALM_S, EMBEDDED_KINDS, KINDS, SETTLE_S, Action
from clampwire.codec import Codec
from clampwire.messages import TO_THE_END

NAMES = ("lathe", "laser", "printer")
CODEC = Codec()


def plan(seed: int, until_s: float | None = 120.0, **options: Any) -> list[Action]:  # noqa: ANN401
    return list(schedule.schedule(seed, NAMES, until_s=until_s, **options))


# --- schedule ---------------------------------------------------------------------------------


def test_a_seed_is_a_schedule() -> None:
    assert plan(7) == plan(7)
    assert len({tuple(plan(seed)) for seed in range(50)}) == 50
    assert plan(7)[0] == Action(0, 5.22, "gateway.kill", "gateway", 0.075, plan(7)[0].seed)


@pytest.mark.parametrize("seed", range(30))
def test_no_two_faults_on_one_thing_at_once(seed: int) -> None:
    actions = plan(seed)
    assert [action.number for action in actions] == list(range(len(actions)))
    assert actions == sorted(actions, key=lambda action: action.at_s)
    assert actions[0].at_s > CALM_S
    for target in (*NAMES, schedule.BROKER, schedule.GATEWAY):
        own = [action for action in actions if action.target == target]
        for one, other in itertools.pairwise(own):
            assert other.at_s >= one.until_s + SETTLE_S - 0.01
    by_name = {kind.name: kind for kind in KINDS}
    for action in actions:
        kind = by_name[action.kind]
        assert kind.least_s - 0.001 <= action.for_s <= kind.most_s + 0.001
        assert action.target in (NAMES if kind.target == schedule.DEVICE else (kind.target,))


@pytest.mark.parametrize("seed", range(10))
def test_every_kind_has_its_turn_before_one_has_its_second(seed: int) -> None:
    endless = schedule.schedule(seed, NAMES)
    rounds = [[next(endless).kind for _ in KINDS] for _ in range(3)]
    for each in rounds:
        assert sorted(each) == sorted(kind.name for kind in KINDS)


def test_all_is_over_in_time() -> None:
    for seed in range(20):
        actions = plan(seed, until_s=36.0)
        assert max(action.until_s for action in actions) <= 36.0
        assert len(actions) >= 10
    assert plan(1, until_s=2.0) == []


def test_embedded_broker_is_spared() -> None:
    kinds = {action.kind for action in plan(3, kinds=EMBEDDED_KINDS)}
    assert kinds == {kind.name for kind in KINDS} - {"broker.freeze", "broker.deny"}


def test_schedule_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 devices and 11 kinds"):
        next(schedule.schedule(1, ()))


def test_seed_without_chaos_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--seed", "3"]) == 2
    assert "--seed without --chaos" in capsys.readouterr().err


# --- broker -----------------------------------------------------------------------------------


def connect(level: int, padding: int = 0) -> bytes:
    body = b"\0\x04MQTT" + bytes([level, 2, 0, 30]) + bytes(padding)
    size = bytearray()
    left = len(body)
    while True:
        left, digit = divmod(left, 128)
        size.append(digit | 0x80 * bool(left))
        if not left:
            return b"\x10" + bytes(size) + body


def test_refusal_speaks_the_clients_version() -> None:
    assert refusal(connect(5)) == b"\x20\x03\0\x88\0"
    assert refusal(connect(5, 300)) == b"\x20\x03\0\x88\0"
    assert refusal(connect(4)) == b"\x20\x02\0\x03"
    for odd in (b"", b"\x10", b"\x10\x80", b"\x30" + connect(5)[1:], b"GET / HTTP/1.1\r\n"):
        assert refusal(odd) == b""


def test_refuser_takes_the_port_and_gives_it_back() -> None:
    async def run() -> int:
        (port,) = free_ports(1)
        refuser = Refuser(port)
        for _ in range(2):
            await refuser.start()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(connect(5))
            assert await reader.read() == b"\x20\x03\0\x88\0"
            writer.close()
            refuser.stop()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
        return refuser.refused

    assert asyncio.run(run()) == 2


def test_broker_plan_denies_and_allows(tmp_path: Path) -> None:
    broker = BrokerPlan(tmp_path, 1883, "/usr/sbin/mosquitto")
    acl = tmp_path / "broker.acl"
    assert acl.read_text() == "topic readwrite #\n"
    broker.deny("a/+/data")
    assert acl.read_text() == "topic deny a/+/data\ntopic readwrite #\n"
    broker.allow()
    assert acl.read_text() == "topic readwrite #\n"
    assert BrokerPlan(tmp_path, 1, None).text == "embedded, MQTT 3.1.1 only"


# --- holes ------------------------------------------------------------------------------------


def received(account: Account, boot: int, *numbers: int, device: str = "d") -> None:
    for seq in numbers:
        account.add_received(device, "data", {"boot": boot, "seq": seq}, 0.0)


def gap(account: Account, boot: int, seq: int, first: int, last: int, of_boot: int = 0) -> None:
    content = {
        "boot": boot, "seq": seq, "kind": "gap", "reason": "power_cut", "first": first,
        "last": last, **({"of_boot": of_boot} if of_boot else {}),
    }  # fmt: skip
    account.add_received("d", "event", content, 0.0)


def test_holes_are_found_by_number() -> None:
    account = Account()
    received(account, 1, 0, 1, 4, 5, 9)
    assert holes(account) == [Hole("d", 1, 2, 3), Hole("d", 1, 6, 8)]
    gap(account, 1, 10, 6, 8)
    assert holes(account) == [Hole("d", 1, 2, 3)]
    account.add_received("d", "history", {"boot": 1, "seq": 14, "before": 3}, 0.0)
    assert holes(account) == [Hole("d", 1, 2, 3)]
    received(account, 1, 2, 3)
    assert holes(account) == []


def test_the_end_of_a_boot_that_is_over_is_a_hole() -> None:
    account = Account()
    received(account, 1, 0, 1)
    gap(account, 2, 0, 0, TO_THE_END, of_boot=1)
    received(account, 2, 1)
    assert holes(account) == [Hole("d", 1, 2, TO_THE_END)]


class Asking:
    """A recovery whose requests are written down, and a clock to turn."""

    def __init__(self) -> None:
        self.account = Account()
        self.sent: list[tuple[str, str, bytes]] = []
        self.now_s = 0.0
        self.up = True
        self.recovery = Recovery(self.account, self._publish, lambda: self.now_s)

    async def _publish(self, device: str, name: str, payload: bytes) -> bool:
        if self.up:
            self.sent.append((device, name, payload))
        return self.up

    def look(self, after_s: float) -> int:
        self.now_s += after_s
        asyncio.run(self.recovery.look())
        return len(self.sent)


def test_recovery_asks_until_filled() -> None:
    asking = Asking()
    recovery = asking.recovery
    assert not recovery.idle
    received(asking.account, 1, 0, 3)
    assert asking.look(0) == 0  # it may be on its way
    assert not recovery.idle
    asking.up = False
    assert asking.look(AGE_S) == 0
    asking.up = True
    assert asking.look(AGE_S) == 1
    # Not the id of the try before, which may have come through unconfirmed.
    assert asking.sent == [("d", "replay", b'{"id": "r1", "boot": 1, "first": 1, "last": 2}')]
    recovery.took_answer({"id": "r1", "ok": True, "records": 2})
    recovery.took_answer({"id": "r1", "ok": True, "records": 2})
    recovery.took_answer({"id": "other", "ok": True})
    assert (recovery.answered, recovery.replayed, recovery.strange) == (1, 2, 2)
    assert not recovery.idle
    received(asking.account, 1, 1, 2)
    assert asking.look(AGE_S) == 1
    assert recovery.idle


def test_recovery_asks_rarely_for_what_the_gateway_has_not() -> None:
    asking = Asking()
    recovery = asking.recovery
    received(asking.account, 1, 0)
    received(asking.account, 2, 0)
    asking.look(0)
    assert asking.look(AGE_S) == 1
    recovery.took_answer({"id": "r0", "ok": False, "error": "too often"})
    assert recovery.refused == 1
    assert not recovery.idle
    assert asking.look(AGE_S) == 2
    recovery.took_answer({"id": "r1", "ok": True, "records": 0, "missing": [[1, TO_THE_END]]})
    assert recovery.idle
    assert asking.look(AGE_S) == 2
    assert asking.look(AGAIN_S) == 3
    assert recovery.summary()["open"] == [Hole("d", 1, 1, TO_THE_END)._asdict()]


# --- verdict ----------------------------------------------------------------------------------


def injected(kind: str, target: str, began_s: float, ended_s: float | None) -> Injected:
    for_s = (ended_s or began_s) - began_s
    return Injected(Action(0, began_s, kind, target, for_s, 0), began_s, ended_s)


def test_what_a_power_cut_may_cost() -> None:
    """Only what was made since the device was served last."""
    assert allowed_s([], "lathe", 100.0) == IN_FLIGHT_S
    assert allowed_s([], "lathe", 5.0) == 5.0 + IN_FLIGHT_S  # just powered up
    other = [injected("link.cut", "laser", 90, 99), injected("broker.kill", "broker", 80, 99)]
    assert allowed_s(other, "lathe", 100.0) == IN_FLIGHT_S
    away = [injected("gateway.kill", "gateway", 90, 96)]
    assert allowed_s(away, "lathe", 100.0) == 10.0 + IN_FLIGHT_S
    assert allowed_s(away, "lathe", 103.0) == IN_FLIGHT_S
    chain = [*away, injected("link.silence", "lathe", 85, 89)]
    assert allowed_s(chain, "lathe", 100.0) == 15.0 + IN_FLIGHT_S
    frozen = [injected("gateway.freeze", "gateway", 95, None)]
    assert allowed_s(frozen, "lathe", 100.0) == 5.0 + IN_FLIGHT_S


def made(account: Account, boot: int, seq: int) -> None:
    payload = CODEC.encode("Record", boot, seq, 1000 * seq, 5, 1, b"", b"")
    account.add_made("d", Made(boot - 1, boot, seq, RECORD, 1000 * seq, 0, payload))


def cut_run(lost: int) -> tuple[Account, list[Injected]]:
    """Boot 1 made records 0 to 19, of which the last `lost` did not come; then it was cut off."""
    account = Account()
    for seq in range(20):
        made(account, 1, seq)
    received(account, 1, *range(20 - lost))
    gap(account, 2, 0, 0, TO_THE_END, of_boot=1)
    return account, [injected("device.power", "lathe", 100.0, 101.0)]


def judged(account: Account, log: list[Injected], committed: set[Key]) -> list[str]:
    result = account.result()
    cut_off = [key for key in result.covered if key not in committed]
    cuts = power_cuts(log, {"lathe": [("d", 1), ("d", 2)]}, cut_off, account)
    return problems_of(result, cuts, committed)[1]


def test_a_power_cut_costs_what_it_may() -> None:
    account, log = cut_run(3)
    assert judged(account, log, set()) == []
    account, log = cut_run(4)
    assert judged(account, log, set()) == ["d lost 4 records by the power cut of boot 1, 3 may be"]


def test_what_the_gateway_has_is_no_victim_of_a_power_cut() -> None:
    account, log = cut_run(2)
    assert judged(account, log, {Key("d", 1, 18)}) == [
        f"lost: {Key('d', 1, 18)}, the gateway has it"
    ]


def test_a_gap_without_a_power_cut_is_a_problem() -> None:
    account, _log = cut_run(1)
    assert judged(account, [], set()) == [
        f"lost: {Key('d', 1, 19)} is covered by a gap, but its device was not cut off in that boot"
    ]
    account.add_received(
        "d", "event",
        {"boot": 2, "seq": 1, "kind": "gap", "reason": "overrun", "first": 3, "last": 2}, 0.0,
    )  # fmt: skip
    _lost, problems = problems_of(account.result(), [PowerCut("d", 1, 1, 3.0)], set())
    assert problems == ["d tells a gap of overrun (3 to 2 of boot 2)"]
