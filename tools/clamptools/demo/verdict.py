"""The demo's verdict: books, clock and ideal waveform, as one JSON object and a few lines.

Owns the keys of the result and when it is good. Everything it judges is evidence from outside the
firmware and the gateway: side files, what the subscriber and the Modbus client got, the store
after the gateway's end, and the waveform in float64 before any simulated converter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clamptools.demo.account import RECORD, Account, Key, Result, percentile
from clamptools.demo.devices import PowerUp, SimulatedDevice
from clamptools.demo.session import Evidence
from clamptools.truth import Truth

# Below this share of the range an error in percent of the reading says little.
RANGE_SHARE = 0.02
RMS_ERROR_MAX_PCT = 1.0
RMS_RECORDS_MAX = 5000
# The RMS of a quantity: its feature, and the truth's.
_RMS = {"current": ("rms", Truth.rms), "vibration": ("a", Truth.acceleration_rms)}


@dataclass(frozen=True)
class Accuracy:
    """Received RMS against the truth: how many values, the largest error, and where it was."""

    compared: int
    max_rms_error_pct: float
    worst: str


@dataclass(frozen=True)
class Verdict:
    """`result` is the JSON object, `problems` what keeps it from being good."""

    result: dict[str, Any]
    problems: list[str]

    @property
    def good(self) -> bool:
        return not self.problems


def judge(
    evidence: Evidence,
    devices: list[SimulatedDevice],
    truths: Mapping[str, Truth],
    committed: set[Key],
    interpreter: str,
) -> Verdict:
    """The verdict of a run.

    Args:
        evidence: What the session left.
        devices: Its devices, with their side files read.
        truths: The ideal waveforms, by device name.
        committed: Names of the records in the gateway's store after its end.
        interpreter: What runs the firmware; each device has to say the same.
    """
    account = evidence.account
    result = account.result()
    mismatches = evidence.modbus.judge(account.received)
    power_ups = {p.device: d.side_file.power_ups for d in devices for p in d.side_file.power_ups}
    by_id = {p.device: truths[d.name] for d in devices for p in d.side_file.power_ups}
    accuracy = compare_rms(account, power_ups, by_id)
    latency_ms, clock_error_ms = timing(account, power_ups)
    keys = {key for key in account.made if key in committed}
    found = {
        "devices": len(devices),
        "interpreter": interpreter,
        "records_made": result.records_made,
        "records_committed": sum(account.made[key].kind == RECORD for key in keys),
        "records_received": result.records_received,
        "gaps": [
            {
                "device": gap.device,
                "boot": gap.boot,
                "reason": gap.reason,
                "channel": gap.channel,
                "first": gap.first,
                "last": gap.last,
                "seconds": None if math.isnan(gap.seconds) else gap.seconds,
            }
            for gap in result.gaps
        ],
        "lost": len(result.lost),
        "redelivered": result.redelivered,
        "duplicates": len(result.duplicates),
        "modbus_reads": evidence.modbus.reads,
        "modbus_mismatches": len(mismatches),
        "max_rms_error_pct": _rounded(accuracy.max_rms_error_pct, 4),
        "latency_p95_ms": _rounded(percentile(latency_ms, 0.95), 1),
        "items_made": result.items_made,
        "items_received": result.items_received,
        "content_mismatches": len(result.wrong),
        "modbus_compared": evidence.modbus.compared,
        "rms_compared": accuracy.compared,
        "clock_error_p95_ms": _rounded(percentile([abs(e) for e in clock_error_ms], 0.95), 1),
    }
    problems = _problems(evidence, result, mismatches, found, power_ups)
    if accuracy.max_rms_error_pct > RMS_ERROR_MAX_PCT:
        problems.append(f"{accuracy.max_rms_error_pct:.3g} % off: {accuracy.worst}")
    found["ok"] = not problems
    return Verdict(found, problems)


def compare_rms(
    account: Account,
    power_ups: Mapping[str, list[PowerUp]],
    truths: Mapping[str, Truth],
) -> Accuracy:
    """The largest error of a received RMS, of current or acceleration, in percent of the reading.

    Only above 2 % of the channel's range, and only of records with all their samples; of a long
    run only every so many, since each takes a second of waveform to judge.
    """
    compared, largest, worst = 0, math.nan, ""
    readings = list(account.readings())
    for key, item, got in readings[:: 1 + len(readings) // RMS_RECORDS_MAX]:
        if "gap" in got.content.get("f", ()):
            continue
        start_us = power_ups[key.device][item.power_up].start_us
        truth = truths[key.device]
        for channel in account.layout_of(key, item).channels:
            if channel.quantity not in _RMS:
                continue
            feature, ideal_of = _RMS[channel.quantity]
            value = got.content["ch"].get(channel.key, {}).get(feature)
            span = truth.span(channel.key, item.end_ms, start_us, got.content["dur"] / 1000)
            ideal = ideal_of(truth, channel.key, span.start, span.stop - span.start)
            if value is None or ideal < RANGE_SHARE * channel.full_scale:
                continue
            compared += 1
            error_pct = abs(value / ideal - 1) * 100
            if not error_pct <= largest:
                largest = error_pct
                worst = f"{key} {channel.key} {feature}: {value}, ideally {ideal:.4f}"
    return Accuracy(compared, largest, worst)


def timing(
    account: Account, power_ups: Mapping[str, list[PowerUp]]
) -> tuple[list[float], list[float]]:
    """Latency from an interval's end to the subscriber, and the error of the told end, in ms.

    The true end comes from both clocks in the side file, not from the gateway's estimate.
    """
    latency_ms: list[float] = []
    error_ms: list[float] = []
    for key, item, got in account.readings():
        end_ms = power_ups[key.device][item.power_up].utc_ms(item.end_ms)
        latency_ms.append(got.at_ms - end_ms)
        told = got.content.get("t")
        if told is not None and "unsynced" not in got.content.get("f", ()):
            error_ms.append(told - end_ms)
    return latency_ms, error_ms


def _problems(
    evidence: Evidence,
    result: Result,
    mismatches: list[str],
    found: Mapping[str, Any],
    power_ups: Mapping[str, list[PowerUp]],
) -> list[str]:
    problems = [f"lost: {key}" for key in result.lost]
    problems += [f"doubled: {text}" for text in result.duplicates]
    problems += [f"wrong: {text}" for text in result.wrong]
    problems += [f"received, but never made: {key}" for key in evidence.phantoms]
    problems += [f"not as docs/topics.md says: {text}" for text in evidence.odd]
    problems += [f"Modbus: {text}" for text in mismatches]
    committed, received = found["records_committed"], found["records_received"]
    if committed < received:
        problems.append(f"{received} records were received, but only {committed} are in the store")
    if evidence.gateway_code != 0:
        problems.append(f"the gateway ended with code {evidence.gateway_code} at SIGTERM")
    heard = {key.device for key in evidence.account.received}
    if len(power_ups) < found["devices"] or set(power_ups) - heard:
        problems.append(f"records came from {len(heard)} of {found['devices']} devices")
    runtimes = {power_up.runtime for each in power_ups.values() for power_up in each}
    problems += [
        f"a device runs {runtime}, not {found['interpreter']}"
        for runtime in sorted(runtimes)
        if not found["interpreter"].startswith(runtime)
    ]
    if not found["modbus_compared"]:
        problems.append("no Modbus slot with a good record was read")
    return problems


def _rounded(number: float, digits: int) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if math.isnan(number) else round(number, digits)
