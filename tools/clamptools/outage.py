"""A device without its gateway for hours, in compressed time, and what came of it.

The device is the firmware's spool, condensation, flash ring and link in a child process; the
gateway is its own session and store, in this one; the line between them is a pipe, and the clock
of both is a number. Owns the course of the run and the account of every item. Truth is the side
file in which the device noted each item before anybody heard of it.
"""

from __future__ import annotations

import json
import math
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clampgateway.clocksync import Clocks
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.link import Links
from clampgateway.model import GAP, RECORD, Description, Item
from clampgateway.store import Store
from clamptools.data import device_dir
from clamptools.errors import UserError
from clamptools.interpreter import Interpreter
from clampwire import values
from clampwire.codec import Codec
from clampwire.messages import TO_THE_END

HEAP = "6m"
STEP_MS = 50
COMMIT_MS = 250
UTC_MS = 1_760_000_000_000
# Before the outage, and behind the history that comes after it.
LINKED_S = 30
DRAIN_MAX_S = 7200
FINE_WINDOWS = 5
ENERGY = ("current1", "apparent_energy")
RMS = ("current1", "rms")
_CODEC = Codec()


class DeviceProcess:
    """The firmware's half; `ask` gives it one command and returns the answer."""

    def __init__(self, interpreter: Interpreter, folder: Path, job: dict[str, Any]) -> None:
        path = folder / "job.json"
        path.write_text(json.dumps(job))
        script = device_dir() / "clampdevice" / "outage.py"
        self._process = subprocess.Popen(
            interpreter.command(script, str(path), heap=HEAP),
            env=interpreter.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **command: object) -> dict[str, Any]:
        """Raises UserError if the device is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended; the line that is missing says so
        line = self._process.stdout.readline()
        if not line:
            raise UserError("the simulated device ended; what it said is above")
        return json.loads(line)

    def close(self) -> None:
        """End it, and wait."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()


class Gateway:
    """One session over a store, committed every 250 ms of simulated time."""

    def __init__(self, folder: Path) -> None:
        self.now_us = 1_000_000
        self.store = Store(folder / "store.db")
        self.redelivered = 0
        self.live_from = TO_THE_END
        self.latencies_s: list[float] = []
        clocks = Clocks(lambda: self.now_us, lambda: UTC_MS + self.now_us // 1000)
        self.descriptions = Descriptions(())
        self.links = Links(Devices(), self.descriptions, {}, "simulate", clocks)
        self._session = self.links.open("outage")
        self._waiting: list[Item] = []
        self._commit_us = 0

    def step(self, data: bytes) -> bytes:
        """Take bytes, commit if it is time, return bytes."""
        session = self._session
        self.now_us += 1000 * STEP_MS
        session.receive(data, self.now_us)
        for device, crc, parts in session.take_descriptions():
            self.store.save_description(device, crc, parts)
        self._waiting += session.take_items()
        if self.now_us >= self._commit_us:
            self.commit()
        return session.poll(self.now_us)

    def commit(self) -> None:
        """What was taken in is durable now."""
        self._commit_us = self.now_us + 1000 * COMMIT_MS
        if self._waiting:
            _new, redelivered = self.store.append(self._waiting, {})
            self.redelivered += redelivered
            self._session.committed(self._waiting)
            self.latencies_s += [
                (UTC_MS + self.now_us // 1000 - item.utc_ms) / 1000
                for item in self._waiting
                if item.kind == RECORD and item.synced and item.seq >= self.live_from
            ]
            self._waiting = []

    def unplug(self, seconds: float) -> None:
        """The line is gone for so long; what was not committed is gone with it."""
        self.links.close(self._session)
        self._waiting = []
        self.now_us += round(1e6 * seconds)
        self._session = self.links.open("outage")

    def items(self) -> Iterator[Item]:
        """All that is committed."""
        after = 0
        while stored := self.store.read_after(after, 5000):
            after = stored[-1].id
            for one in stored:
                yield one.item


@dataclass
class Report:
    """What a run found. Records are of one second each; `lost` and `overlaps` must be 0.

    Attributes:
        fine, condensed, announced: Records that came as they were, in a condensed record, or in
            the range of a Gap.
        lost: Items that are none of that.
        overlaps: Records that came both fine and condensed, or in two condensed ones.
        changed: Items that are not what the device made.
        energy_wrong: Condensed records whose counter is not that of their last second.
        rms_wrong: Those whose mean square is not that of their seconds, to half a step.
        energy_vah, energy_made_vah: What the counter rose by, as received and as made.
        flash_h: How much time the flash held at the end of the outage.
        drained_s: Simulated seconds until the history was delivered.
        live_p95_s: Of new records meanwhile, from the end of their second to their commit.
        state: The device's counters at the end of the outage.
    """

    outage_s: int
    flash_bytes: int
    records: int = 0
    items: int = 0
    fine: int = 0
    condensed: int = 0
    announced: int = 0
    lost: int = 0
    overlaps: int = 0
    changed: int = 0
    energy_wrong: int = 0
    rms_wrong: int = 0
    redelivered: int = 0
    energy_vah: str = ""
    energy_made_vah: str = ""
    flash_h: float = 0.0
    pages_per_h: float = 0.0
    drained_s: float = 0.0
    live_p95_s: float = 0.0
    state: dict[str, Any] | None = None

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        wrong = self.lost + self.overlaps + self.changed + self.energy_wrong + self.rms_wrong
        return not wrong and self.energy_vah == self.energy_made_vah


def run_outage(
    interpreter: Interpreter,
    folder: Path,
    outage_s: int,
    flash_bytes: int,
    ram_bytes: int,
    cut_at_s: int = 0,
) -> Report:
    """Run it and account for every item.

    Args:
        interpreter: runs the device's half.
        folder: for the store and the side file.
        outage_s: how long there is no gateway.
        flash_bytes: of the ring, a multiple of 4096.
        ram_bytes: of the spool in RAM.
        cut_at_s: the device loses its power so long after the outage began; 0 for never.
    """
    report = Report(outage_s, flash_bytes)
    truth = folder / "truth.bin"
    job = {
        "flash_bytes": flash_bytes,
        "ram_bytes": ram_bytes,
        "ram_items": 1024,
        "truth": str(truth),
    }
    device = DeviceProcess(interpreter, folder, job)
    gateway = Gateway(folder)
    try:
        _linked(device, gateway, LINKED_S)
        if cut_at_s:
            device.ask(run_s=cut_at_s)
            device.ask(cut=1)
        device.ask(run_s=outage_s - cut_at_s)
        report.state = device.ask(state=1)
        gateway.unplug(outage_s)
        gateway.live_from = report.state["next_seq"]
        report.drained_s = _linked(device, gateway, DRAIN_MAX_S, until_idle=True)
        device.ask(state=1)
        late = sorted(gateway.latencies_s)
        report.live_p95_s = late[int(0.95 * len(late))] if late else 0.0
        account(report, gateway, _made(truth))
    finally:
        device.close()
        gateway.store.close()
    return report


def _linked(
    device: DeviceProcess, gateway: Gateway, seconds: float, *, until_idle: bool = False
) -> float:
    """Let time pass with a line between the two; returns how long it was, in s.

    `until_idle`: until all that the device has made is delivered.
    """
    to_device = b""
    steps = round(1000 * seconds / STEP_MS)
    for step in range(steps):
        answer = device.ask(step_ms=STEP_MS, data=to_device.hex())
        to_device = gateway.step(bytes.fromhex(answer["data"]))
        if until_idle and answer["idle"]:
            gateway.commit()
            return step * STEP_MS / 1000
    return steps * STEP_MS / 1000


def _made(path: Path) -> dict[tuple[int, int], bytes]:
    data = path.read_bytes()
    made = {}
    at = 0
    while at + 2 <= len(data):
        size = struct.unpack_from("<H", data, at)[0]
        payload = data[at + 2 : at + 2 + size]
        made[struct.unpack_from("<II", payload, 1)] = payload
        at += 2 + size
    return made


def account(report: Report, gateway: Gateway, made: dict[tuple[int, int], bytes]) -> None:
    """Ask of every item that was made what became of it."""
    got = {(item.boot, item.seq): item for item in gateway.items()}
    crcs = {item.describe_crc for item in got.values() if item.kind == RECORD}
    descriptions = [gateway.descriptions.get("outage", crc) for crc in crcs]
    description = next(known for known in descriptions if known is not None)
    numbers = Numbers(description)
    covered: set[tuple[int, int]] = set()
    gaps = []
    energies: list[int] = []
    for key, item in sorted(got.items()):
        if item.kind == GAP:
            gap = _CODEC.decode(item.payload)[1]
            gaps.append((gap.of_boot or item.boot, gap.first_seq, gap.last_seq, key))
        if item.kind == RECORD:
            record = _CODEC.decode(item.payload)[1]
            energies.append(numbers.raw(record, ENERGY))
            if record.windows != FINE_WINDOWS:
                _look_into(report, numbers, record, made, got, covered)
                continue
            report.fine += 1
        # Gaps that tell of the flash are made by the link; the side file has the items alone.
        report.changed += key in made and made[key] != item.payload
    report.condensed = len(covered)
    report.redelivered = gateway.redelivered
    report.items = len(made)
    report.records = sum(payload[0] == RECORD for payload in made.values())
    for key in made:
        if key in got or key in covered:
            continue
        if any(_names(gap, key) for gap in gaps):
            report.announced += made[key][0] == RECORD
        else:
            report.lost += 1
    _energy(report, numbers, energies, made)
    state = report.state or {}
    held = state["condensed"] - 10 * state["flash_dropped"]
    report.flash_h = round(max(0, held) / 3600, 2)
    report.pages_per_h = round(state["programs"] / (state["condensed"] / 3600), 1)


def _names(gap: tuple[int, int, int, tuple[int, int]], key: tuple[int, int]) -> bool:
    boot, first, last, own = gap
    if last == TO_THE_END:
        return (boot, first) <= key < own
    return boot == key[0] and first <= key[1] <= last


class Numbers:
    """Raw steps of features in a record."""

    def __init__(self, description: Description) -> None:
        self._format = values.format_of(description.value_layout)
        keys = [(c.key, f.key) for c in description.channels for f in c.features]
        self._places = {key: place for place, key in enumerate(keys)}

    def raw(self, record: Any, key: tuple[str, str]) -> int:  # noqa: ANN401 - from the table
        """The raw value of (channel, feature)."""
        return struct.unpack(self._format, record.values)[self._places[key]]


def _look_into(
    report: Report,
    numbers: Numbers,
    record: Any,  # noqa: ANN401 - from the table
    made: dict[tuple[int, int], bytes],
    got: dict[tuple[int, int], Item],
    covered: set[tuple[int, int]],
) -> None:
    """A condensed record against the seconds it stands for."""
    span = range(record.seq - record.before, record.seq + 1)
    inside = [(record.boot, seq) for seq in span if made[record.boot, seq][0] == RECORD]
    seconds = [_CODEC.decode(made[key])[1] for key in inside]
    report.changed += record.windows != FINE_WINDOWS * len(inside)
    report.overlaps += sum(key in covered for key in inside)
    report.overlaps += sum(key in got for key in inside[:-1])
    covered.update(inside)
    last = numbers.raw(seconds[-1], ENERGY)
    report.energy_wrong += numbers.raw(record, ENERGY) != last
    total = sum(numbers.raw(second, RMS) ** 2 for second in seconds)
    report.rms_wrong += abs(numbers.raw(record, RMS) - math.sqrt(total / len(seconds))) > 0.5


def _energy(
    report: Report,
    numbers: Numbers,
    received: list[int],
    made: dict[tuple[int, int], bytes],
) -> None:
    """What the counter rose by from the first to the last record, in VAh to the last digit."""
    told = [
        numbers.raw(_CODEC.decode(payload)[1], ENERGY)
        for payload in made.values()
        if payload[0] == RECORD
    ]
    report.energy_vah = f"{(max(received) - min(received)) / 1000:.3f}"
    report.energy_made_vah = f"{(max(told) - min(told)) / 1000:.3f}"
