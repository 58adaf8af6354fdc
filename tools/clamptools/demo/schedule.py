"""When which fault is injected: a plan drawn from a seed, the same for the same arguments.

Pure. Owns the kinds of fault, how long each lasts, and that no two of them act on one thing at
once; every kind has its turn before one has its second. What they do is `chaos.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

BROKER, GATEWAY, DEVICE = "broker", "gateway", "device"
# Everything is up by then, and a first record has come through.
CALM_S = 4.0
# Between two begins, whatever they act on.
PAUSE_S = (0.3, 2.5)
# Between the end of one and the begin of the next on the same thing.
SETTLE_S = 1.0


class Kind(NamedTuple):
    """A fault: what it acts on, and its shortest and longest duration in s."""

    name: str
    target: str
    least_s: float
    most_s: float


STOP = Kind("broker.stop", BROKER, 0.5, 3.0)
# The subscriber is away meanwhile, and the kill is at the end.
KILL = Kind("broker.kill", BROKER, 1.2, 3.0)
FREEZE = Kind("broker.freeze", BROKER, 1.0, 5.0)
REFUSE = Kind("broker.refuse", BROKER, 1.0, 4.0)
DENY = Kind("broker.deny", BROKER, 1.0, 3.0)
GATEWAY_KILL = Kind("gateway.kill", GATEWAY, 0.0, 2.0)
GATEWAY_FREEZE = Kind("gateway.freeze", GATEWAY, 1.0, 4.0)
CUT = Kind("link.cut", DEVICE, 0.5, 4.0)
NOISE = Kind("link.noise", DEVICE, 2.5, 6.0)
SILENCE = Kind("link.silence", DEVICE, 1.0, 5.0)
POWER = Kind("device.power", DEVICE, 0.3, 2.0)
KINDS = (
    STOP, KILL, FREEZE, REFUSE, DENY, GATEWAY_KILL, GATEWAY_FREEZE, CUT, NOISE, SILENCE, POWER,
)  # fmt: skip
# What can be done to the embedded broker: it keeps nothing on disk and has no rights to take.
EMBEDDED_KINDS = tuple(kind for kind in KINDS if kind not in (FREEZE, DENY))


class Action(NamedTuple):
    """One fault to inject. `at_s` counts from the devices' start; `seed` is for what is random
    within it; `target` is a device's name, or `broker` or `gateway`.
    """

    number: int
    at_s: float
    kind: str
    target: str
    for_s: float
    seed: int

    @property
    def until_s(self) -> float:
        """When it is to end."""
        return self.at_s + self.for_s


def schedule(
    seed: int, devices: Sequence[str], kinds: Sequence[Kind] = KINDS, until_s: float | None = None
) -> Iterator[Action]:
    """Actions in the order of their begin; without `until_s` for ever, else all end before it.

    Raises:
        ValueError: There is no device or no kind.
    """
    if not devices or not kinds:
        raise ValueError(f"{len(devices)} devices and {len(kinds)} kinds of fault: need both")
    chance = random.Random(seed)
    free_s: dict[str, float] = {}
    at_s = CALM_S
    number = 0
    while True:
        for kind in chance.sample(kinds, len(kinds)):
            target = chance.choice(devices) if kind.target == DEVICE else kind.target
            for_s = round(chance.uniform(kind.least_s, kind.most_s), 3)
            own = chance.getrandbits(32)
            at_s = round(max(at_s + chance.uniform(*PAUSE_S), free_s.get(target, 0.0)), 3)
            free_s[target] = at_s + for_s + SETTLE_S
            action = Action(number, at_s, kind.name, target, for_s, own)
            if until_s is not None and at_s > until_s:
                return
            if until_s is None or action.until_s <= until_s:
                yield action
                number += 1
