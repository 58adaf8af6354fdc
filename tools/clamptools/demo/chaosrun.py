"""`clampwork demo --chaos`: a demo under faults from a seed, and its stricter verdict.

Owns which broker there is and what it can be made to suffer, the seed, and the keys that chaos
adds to the result.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from clamptools.demo import chaosverdict, ledgercheck
from clamptools.demo.account import Account, Key
from clamptools.demo.brokers import find_mosquitto
from clamptools.demo.chaos import Chaos
from clamptools.demo.devices import SimulatedDevice
from clamptools.demo.plans import plans, truths
from clamptools.demo.schedule import EMBEDDED_KINDS, KINDS, schedule
from clamptools.demo.session import Evidence, Session
from clamptools.demo.stack import Stack
from clamptools.demo.verdict import Verdict, judge
from clamptools.interpreter import Interpreter

# The last faults end so long before the books are closed.
CALM_END_S = 4.0


async def run_chaos(
    count: int,
    seconds: float | None,
    seed: int | None,
    folder: Path,
    interpreter: Interpreter,
    out: TextIO,
    say: Callable[[str], None],
) -> Verdict:
    """Runs `count` devices for `seconds` under faults drawn from `seed` (None: a new one).

    Raises:
        ChildError: A process did not come up.
    """
    mosquitto = find_mosquitto()
    kinds = KINDS if mosquitto else EMBEDDED_KINDS
    if seed is None:
        seed = secrets.randbelow(1_000_000)
    say(f"chaos with seed {seed}, {len(kinds)} kinds of fault")
    if not mosquitto:
        say("mosquitto is not installed: the embedded broker is spared what it cannot take")
    with Stack(folder, plans(count), interpreter, mosquitto=mosquitto, relayed=True) as stack:
        names = [device.name for device in stack.devices]
        until_s = None if seconds is None else max(0.0, seconds - CALM_END_S)
        chaos = Chaos(stack, schedule(seed, names, kinds, until_s), say)
        session = Session(stack, seconds, out, say, chaos)
        evidence = await session.run()
        committed = stack.committed()
        verdict = judge(
            evidence, stack.devices, truths(stack.devices), committed, interpreter.text
        )
        extra = {
            "seed": seed,
            "broker": stack.broker_plan.text,
            **chaos.summary(),
            "replays": session.recovery.summary(),
        }
        unlike = ledgercheck.differences(evidence.made, committed, stack.ledger())
        return judge_chaos(verdict, evidence, stack.devices, chaos, committed, extra, unlike)


def judge_chaos(
    verdict: Verdict,
    evidence: Evidence,
    devices: list[SimulatedDevice],
    chaos: Chaos,
    committed: set[Key],
    extra: dict[str, Any],
    unlike: list[str],
) -> Verdict:
    """The verdict of a demo with what faults may cost and may not.

    `unlike`: where the ledger does not agree with the side files.
    """
    account = evidence.account
    result = account.result()
    cut_off = [key for key in result.covered if key not in committed]
    boots = {device.name: _boots(device, account) for device in devices}
    cuts = chaosverdict.power_cuts(chaos.log, boots, cut_off, account)
    undelivered, problems = chaosverdict.problems_of(result, cuts, committed)
    found = {
        **verdict.result,
        "lost": verdict.result["lost"] + len(undelivered),
        "cut_off": len(cut_off),
        "restamped": result.restamped,
        "modbus_excused": evidence.modbus.excused,
        "ledger_mismatches": len(unlike),
        "power_cuts": chaosverdict.entries(cuts),
        "chaos": extra,
    }
    problems = verdict.problems + problems + unlike
    found["ok"] = not problems
    return replace(verdict, result=found, problems=problems)


def _boots(device: SimulatedDevice, account: Account) -> list[tuple[str, int]]:
    """(id, boot) of a device at each power-up; boot 0 where nothing was made in it."""
    power_ups = device.side_file.power_ups
    boots = dict.fromkeys(range(len(power_ups)), 0)
    for key, item in account.made.items():
        if key.device == power_ups[0].device:
            boots[item.power_up] = key.boot
    return [(power_up.device, boots[index]) for index, power_up in enumerate(power_ups)]
