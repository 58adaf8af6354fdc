"""The accuracy document's waves, its way through the firmware, and its verdicts."""

import dataclasses
import io
import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from clampdevice import replay
from clamptools.accuracy import chip, ideal, mains, power
from clamptools.accuracy.chain import Reading, Setup, measure
from clamptools.accuracy.report import Section, Verdict, Worst, fixed, summary
from clamptools.accuracy.waves import (
    DRIVE,
    DRIVE_HZ,
    HALF_WAVE,
    PHASE_CUT,
    PULSES,
    RATE_HZ,
    SINE,
    Shape,
    codes,
    record_rms,
    window_rms,
)
from clamptools.errors import UserError
from clampwire.values import BELOW_FLOOR, CLIPPED
from support.skips import shared_path


@pytest.mark.parametrize("shape", [SINE, HALF_WAVE, *PHASE_CUT, PULSES], ids=lambda s: s.name)
def test_a_shapes_own_rms_and_mean_are_those_of_its_values(shape: Shape) -> None:
    # Over one turn, finely: by trapezia, not by the formula.
    turns = (np.arange(1_000_000) + 0.5) / 1_000_000
    values = shape.at(turns, 50.0)
    assert np.max(np.abs(values)) == pytest.approx(1, abs=1e-5)
    assert np.std(values) == pytest.approx(shape.rms(50.0), rel=1e-5)
    assert np.mean(values) == pytest.approx(shape.mean, abs=1e-6)


@pytest.mark.parametrize("hz", DRIVE_HZ)
def test_a_drive_stays_within_its_peak_and_band(hz: float) -> None:
    values = DRIVE.signal(hz, 1.0, 100, 0)
    assert np.max(np.abs(values)) <= 1
    assert np.std(values) == pytest.approx(DRIVE.rms(hz), rel=0.003)


def test_spectra_hold_what_they_say() -> None:
    for shape, parts in mains.SPECTRA:
        lines = np.abs(np.fft.rfft(shape.at(np.arange(128) / 128, 50.0)))
        true = {1: 100.0, **{h: part for h, part, _turns in parts}}
        for order in range(1, 16):
            assert lines[order] / lines[1] * 100 == pytest.approx(true.get(order, 0), abs=1e-9)


def test_truth_is_the_mean_square_of_windows() -> None:
    x = np.zeros(RATE_HZ)
    x[:1280:2] = 2.0  # one window of RMS 1, then silence on another level
    x[1280:] = 50.0
    assert window_rms(x).tolist() == [1, 0, 0, 0, 0]
    assert record_rms(x) == pytest.approx([math.sqrt(1 / 5)])


def test_the_firmware_is_float64_of_the_codes(report_line: Callable[[str], None]) -> None:
    signals = [SINE.signal(hz, peak, 1, 3) for hz in (49.97, 60.0) for peak in (40, 700, 2000)]
    worst = Worst()
    for signal, reading in zip(signals, measure([Setup()], signals)[0], strict=True):
        of_codes = window_rms(codes(signal, Setup().zero_lsb))
        worst.take((reading.window_values() / of_codes - 1) * 100, "")
        records = np.sqrt(np.mean(of_codes**2))
        assert reading.record_values() == pytest.approx([records], rel=1e-5)
        # As sent: within half a step of the record's integer.
        assert abs(reading.sent_values()[0] - records) < 0.0161
        assert not any(flags[0] & (CLIPPED | BELOW_FLOOR) for flags in reading.flags)
    report_line(f"RMS of the firmware against float64 of the codes: {worst.value:.5f} %")
    assert worst.value < 0.001


def test_every_setup_hears_the_same_signals() -> None:
    signals = [SINE.signal(49.97, 800, 2, 1), SINE.signal(49.97, 80, 1, 2)]
    quiet, chip_raw, chip_good = measure(
        [Setup(), Setup("rp2040", noise_lsb=0.5), Setup("rp2040", "rp2040", 0.5)], signals
    )
    for readings in (quiet, chip_raw, chip_good):
        assert [len(reading.records) for reading in readings] == [2, 1]
        assert [len(reading.windows["current1"]) for reading in readings] == [10, 5]
    true = record_rms(signals[0])
    assert quiet[0].record_values() == pytest.approx(true, rel=0.0005)
    assert chip_good[0].record_values() == pytest.approx(true, rel=0.001)
    assert abs(chip_raw[0].record_values() / true - 1).max() > 0.004


def test_clipping_and_silence_are_flagged() -> None:
    signals = [SINE.signal(50.0, 2200, 1, 0), SINE.signal(50.0, 0.0, 1, 0)]
    loud, silent = measure([Setup(noise_lsb=0.5)], signals)[0]
    assert loud.flags[0][0] & CLIPPED
    assert silent.flags[0][0] & BELOW_FLOOR
    assert silent.record_values().tolist() == [0]


def test_what_the_firmware_refuses_is_told_with_its_words() -> None:
    signals = [SINE.signal(50.0, 10, 1, 0)]
    with pytest.raises(UserError, match="no ADC model 'rp2041'"):
        measure([Setup("rp2041")], signals)
    with pytest.raises(UserError, match="linearise: 'rp2041'"):
        measure([Setup(linearise="rp2041")], signals)
    with pytest.raises(ValueError, match="whole seconds"):
        measure([Setup()], [np.zeros(100)])


def test_a_verdict_is_its_number() -> None:
    good = Verdict("a", 0.1, 0.1)
    assert good.met
    assert not dataclasses.replace(good, worst=0.1001).met
    assert not dataclasses.replace(good, worst=math.nan).met
    text = summary([good, Verdict("b", 0.1, 0.25, "%", "there")])
    assert "| a | 0.1 % | 0.100 % | met |  |" in text
    assert "| b | 0.1 % | 0.250 % | **missed** | there |" in text


def test_the_worst_of_a_value_that_is_missing_is_infinite() -> None:
    worst = Worst()
    worst.take(np.array([0.1, -0.3]), "here")
    assert (worst.value, worst.where) == (0.3, "here")
    worst.take(np.array([0.1, math.nan]), "lost")
    assert (worst.value, worst.where) == (math.inf, "lost")


def test_numbers_that_round_to_nothing_have_no_sign() -> None:
    assert fixed(-0.0004) == "0.000"
    assert fixed(0.0004, sign=True) == "0.000"
    assert fixed(-0.0006, sign=True) == "-0.001"
    assert fixed(math.nan) == "none"


def _missed(section: Section) -> list[str]:
    return [verdict.what for verdict in section.verdicts if not verdict.met]


def test_targets_on_an_ideal_converter_are_met() -> None:
    for section in (ideal.ideal_sine(), ideal.below()):
        assert section.verdicts
        assert not _missed(section), section.verdicts


def test_the_target_with_the_table_is_met_on_the_mean_curve_and_needs_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chip, "WAVES", ((SINE, (49.97, 60.0)), (HALF_WAVE, (53.7,))))
    assert not _missed(chip.waves())
    # The same, when the firmware is not told of the table: the verdict can fail.
    play = chip.measure

    def forgetful(setups: list[Setup], signals: list[np.ndarray]) -> list[list[Reading]]:
        return play([dataclasses.replace(setup, linearise="none") for setup in setups], signals)

    monkeypatch.setattr(chip, "measure", forgetful)
    assert _missed(chip.waves())


def test_frequency_is_met_in_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mains, "_HZ", (45.0, 50.5, 65.0))
    section = mains.frequency()
    assert not _missed(section)
    assert "0 records withheld" in section.verdicts[0].what


def test_power_comes_without_the_skew_of_the_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "_HZ", (49.97,))
    rows = [line.split("|")[1:-1] for line in power.power().text().splitlines() if "|" in line][2:]
    assert len(rows) == 20
    lagging = [row for row in rows if "60°" in row[0]]
    assert len(lagging) == 8
    assert all(float(row[2]) > 1.0 for row in lagging)  # % of the apparent power, by the skew
    for row in rows:
        ideal_w, ideal_pf, _raw_w, _raw_pf, table_w, table_pf = (float(cell) for cell in row[3:])
        assert max(ideal_w, table_w) < 0.05
        assert max(ideal_pf, table_pf) < 0.0005


@pytest.mark.parametrize(
    ("model", "limit_pct"), [(None, 0.05), ("rp2040", 0.1)], ids=["ideal", "rp2040"]
)
def test_recorded_motor_currents(
    model: str | None, limit_pct: float, report_line: Callable[[str], None]
) -> None:
    # 5 A full scale: the motor's 1.7 A RMS are 700 LSB. A window has 200 samples, so rounding
    # alone scatters by 1 / sqrt(12 * 200) LSB, 0.003 %; the table's quarters add less.
    data = np.load(shared_path() / "data/itsc_motor3ph_1khz.npz")
    reference = json.loads((shared_path() / "data/reference.json").read_text())
    channels = reference["files"]["itsc_motor3ph_1khz"]["channels"]
    worst = Worst()
    compared = 0
    for name, columns in channels.items():
        for phase, letter in enumerate("ABC"):
            windows = columns[f"rep1_phase{letter}"]["windows_12cycle_200ms"]
            rms_at = windows["columns"].index("rms_ac")
            job = {
                "kind": "board",
                "channels": [{"key": "i", "quantity": "current", "slot": 0, "a_per_v": 1}],
                "adc": {
                    "rate_hz": 1000, "slots": 1, "bits": 12, "vref_v": 10.0, "zero_lsb": 2070,
                    "linearise": "none" if model is None else model,
                },
                "model": model,
            }  # fmt: skip
            lsb = data[name][0, :, phase] * (4096 / 10.0)
            file = io.BytesIO(np.rint(lsb * 4096).astype("<i4").tobytes())
            lines: list[dict] = []
            replay.run(job, file, lines.append)
            told = [line["window"][2]["rms"] for line in lines if "window" in line]
            assert len(told) == len(windows["rows"])
            for rms, row in zip(told, windows["rows"], strict=True):
                worst.take((rms / row[rms_at] - 1) * 100, f"{name} {letter}")
                compared += 1
    report_line(
        f"itsc_motor3ph_1khz through {model or 'an ideal converter'}: {compared} windows, RMS "
        f"within {worst.value:.4f} % of the reference"
    )
    assert compared > 50
    assert worst.value < limit_pct
