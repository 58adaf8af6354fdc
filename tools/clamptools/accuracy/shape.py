"""Kurtosis, bands and the dominant line of a vibration.

Owns these sections. The truth of a kurtosis is float64 of the same samples before the sensor, by
the record's definition; that of bands and lines is the motion itself, by formula or, for bursts,
by the spectrum of the whole signal.
"""

from __future__ import annotations

import numpy as np

from clamptools.accuracy.report import Section, Verdict, Worst, fixed, percent
from clamptools.accuracy.shaken import COARSE, FINE, G_M_S2, Sensor, shake, sine

KURTOSIS_PCT = 1.0
BAND_PCT = 1.0
LINE_HZ = 0.15
LINE_PCT = 2.0
LEVELS_LSB = (2, 5, 20, 200, 2000)
FROM_LSB = 5
BANDS_HZ = ((10.0, 100.0), (100.0, 400.0), (400.0, 1600.0))
LINES_HZ = (20.0, 48.9, 49.97, 121.77, 502.2, 1000.3, 1402.9)
PEAKS_G = (0.05, 0.2, 1.0, 8.0)
_WINDOWS = 5  # a record
_RECORDS = 5
_NOISE_S = 30
_CHANNEL = "vibration1"


def _gaussian(seconds: int, seed: int) -> np.ndarray:
    """White noise of RMS 1."""
    return np.random.default_rng(seed).standard_normal(seconds * FINE.rate_hz)


def _bursts(seconds: int, _seed: int) -> np.ndarray:
    """Impulses that ring at 913 Hz and die away in 2 ms, 23.7 a second, RMS 1."""
    t_s = np.arange(seconds * FINE.rate_hz) / FINE.rate_hz
    since_s = t_s % (1 / 23.7)
    wave = np.exp(-since_s / 0.002) * np.sin(2 * np.pi * 913 * since_s)
    return wave / np.std(wave)


def _sine(seconds: int, seed: int) -> np.ndarray:
    return sine(FINE, 49.97, np.sqrt(2), seconds, seed)


def _single(seconds: int, _seed: int) -> np.ndarray:
    """Impulses of one sample, one in 160, RMS 1 around the mean."""
    wave = np.where(np.arange(seconds * FINE.rate_hz) % 160 == 7, 1.0, 0.0)
    return (wave - np.mean(wave)) / np.std(wave)


WAVES = (
    ("sine of 49.97 Hz", _sine),
    ("Gaussian noise", _gaussian),
    ("bursts that ring", _bursts),
    ("impulses of one sample", _single),
)


def kurtosis_of(samples: np.ndarray) -> np.ndarray:
    """Of each record: moments around the mean of each window, shape (records,)."""
    windows = samples.reshape(-1, _WINDOWS, FINE.rate_hz // _WINDOWS)
    centred = windows - windows.mean(axis=2, keepdims=True)
    return np.mean(centred**4, axis=(1, 2)) / np.mean(centred**2, axis=(1, 2)) ** 2


def kurtosis() -> Section:
    """Gaussian noise, sines and impulses from some LSB on."""
    section = Section("Kurtosis")
    section.say(
        f"""
        {_RECORDS} records at 3,200 Hz, 16 bits, by the RMS in LSB; worst of the records in %,
        against float64 of the same samples before the sensor. *True* is the mean of that: 1.5 for
        a sine and 3 for Gaussian noise but for what a second of it scatters. What is left below
        20 LSB is the rounding to whole counts, of which a sine of 2 LSB RMS has seven.
        """
    )
    worst, least = Worst(), Worst()
    rows = []
    for name, wave in WAVES:
        played = [wave(_RECORDS, i) * lsb / FINE.lsb_per_g for i, lsb in enumerate(LEVELS_LSB)]
        row = [name, fixed(float(np.mean([kurtosis_of(signal) for signal in played])), 2)]
        readings = shake(FINE, played, ["kurtosis_x"])
        for lsb, signal, reading in zip(LEVELS_LSB, played, readings, strict=True):
            told = reading.record_values("kurtosis_x", _CHANNEL)
            errors = percent(told, kurtosis_of(signal))
            kept = worst if lsb >= FROM_LSB else least
            row.append(fixed(kept.take(errors, f"{name}, {lsb} LSB"), 2))
        rows.append(row)
    section.table(("wave", "true", *(f"{lsb} LSB" for lsb in LEVELS_LSB)), rows)
    what = "kurtosis of sine, Gaussian noise and impulses, RMS"
    for kept, levels in ((worst, f"from {FROM_LSB} LSB"), (least, f"of {LEVELS_LSB[0]} LSB")):
        section.verdicts.append(
            Verdict(f"{what} {levels}", KURTOSIS_PCT, kept.value, "%", kept.where)
        )
    return section


def band_share(signal: np.ndarray) -> list[float]:
    """RMS in each of BANDS_HZ by the spectrum of all of a signal that repeats, in its unit."""
    power = 2 * np.abs(np.fft.rfft(signal) / signal.size) ** 2
    hz = np.fft.rfftfreq(signal.size, 1 / FINE.rate_hz)
    return [float(np.sqrt(np.sum(power[(hz >= a) & (hz < b)]))) for a, b in BANDS_HZ]


def bands() -> Section:
    """Lines, noise and bursts in three bands."""
    section = Section("Bands")
    section.say(
        f"""
        RMS of the acceleration in {", ".join(f"{a:g} to {b:g}" for a, b in BANDS_HZ)} Hz at
        3,200 Hz, 16 bits, blocks of 1,024 samples. *Lines*: 50 and 77.3, 250, and 901.3 Hz
        together, at so many g of peak each, worst record of {_RECORDS}. *Line near an edge*: one
        line, 1 g, so many bins of 3.1 Hz below 100 Hz; the error of the band that it is in, and,
        in the other, what leaks there, in % of the line. *White noise* and *bursts that ring* are
        {_NOISE_S} s as a whole: a single record is short for them, its scatter beside it. A band
        is whole bins from the first at its edge on: 10 to 100 Hz are 12.5 to 100 Hz, 1.4 % less.
        """
    )
    worst = Worst()
    rows = []
    parts = ((50.0, 77.3), (250.0,), (901.3,))
    true = np.sqrt([len(lines) / 2 for lines in parts])
    signals = [
        np.sum([sine(FINE, hz, g, _RECORDS + 1, i) for hz in (50.0, 77.3, 250.0, 901.3)], axis=0)
        for i, g in enumerate(PEAKS_G[:-1])
    ]
    for g, told in zip(PEAKS_G, _bands_told(signals), strict=False):
        errors = [percent(values, g * part) for values, part in zip(told, true, strict=True)]
        for (low, high), error in zip(BANDS_HZ, errors, strict=True):
            worst.take(error, f"{low:g} to {high:g} Hz, lines of {g:g} g")
        rows.append((f"lines, {g:g} g", *(fixed(float(np.max(np.abs(e))), 2) for e in errors)))
    bins = (0.5, 1.0, 2.0, 3.0)
    near = [sine(FINE, 100 - b * FINE.rate_hz / 1024, 1.0, _RECORDS + 1) for b in bins]
    for b, told in zip(bins, _bands_told(near), strict=True):
        low, leak = (float(np.mean(percent(values, np.sqrt(0.5)))) for values in told[:2])
        texts = (fixed(low, 2, sign=True), f"leak {fixed(100 + leak, 2)}", "")
        rows.append((f"line {b:g} bins below 100 Hz", *texts))
    noise, bursts = 0.1 * _gaussian(_NOISE_S, 3), 0.1 * _bursts(_NOISE_S, 0)
    expected = [0.1 * np.sqrt((high - low) * 2 / FINE.rate_hz) for low, high in BANDS_HZ]
    for name, signal, parts_g in (
        ("white noise, 0.1 g RMS", noise, expected),
        ("bursts that ring, 0.1 g RMS", bursts, band_share(bursts)),
    ):
        (told,) = _bands_told([signal])
        texts = []
        for values, part in zip(told, parts_g, strict=True):
            whole = percent(np.sqrt(np.mean(values**2)), part)
            scatter = np.std(values) / part * 100
            texts.append(f"{fixed(float(whole), 1, sign=True)} (± {fixed(float(scatter), 1)})")
        rows.append((name, *texts))
    section.table(("motion", *(f"{a:g} to {b:g} Hz" for a, b in BANDS_HZ)), rows)
    what = f"bands: lines of {PEAKS_G[0]:g} to {PEAKS_G[-2]:g} g, two bins and more from an edge"
    section.verdicts.append(Verdict(what, BAND_PCT, worst.value, "%", worst.where))
    return section


def _bands_told(signals: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Of each signal, each band's records in g but for the first, which has what was before."""
    features = [f"band{n + 1}" for n in range(len(BANDS_HZ))]
    readings = shake(FINE, signals, features, bands=[list(band) for band in BANDS_HZ])
    return [
        [reading.record_values(key, _CHANNEL)[1:] / G_M_S2 for key in features]
        for reading in readings
    ]


def lines() -> Section:
    """The dominant line between bins, beside a weaker one."""
    section = Section("Dominant frequency and amplitude")
    section.say(
        f"""
        A line of so many g beside one of a tenth of it, 97 Hz above, at 3,200 Hz; blocks of 1,024
        samples. Largest error of the frequency in Hz and of the amplitude in % over
        {_RECORDS} records and {", ".join(f"{hz:g}" for hz in LINES_HZ)} Hz. *{COARSE.name}* is
        256 LSB/g with {COARSE.noise_lsb:g} LSB of noise and a noise floor that knows of it. A
        record without a line counts as a miss.
        """
    )
    rows = []
    for sensor in (FINE, COARSE):
        off, size = Worst(), Worst()
        for g in PEAKS_G:
            signals = [_pair(sensor, hz, g, i) for i, hz in enumerate(LINES_HZ)]
            hz_off, size_off = Worst(), Worst()
            for hz, reading in zip(
                LINES_HZ, shake(sensor, signals, ["frequency_x", "fa_x"]), strict=True
            ):
                where = f"{hz:g} Hz, {g:g} g"
                told_hz = reading.record_values("frequency_x", _CHANNEL)[1:]
                told_g = reading.record_values("fa_x", _CHANNEL)[1:] / G_M_S2
                off.take(hz_off.take(told_hz - hz, where), where)
                size.take(size_off.take(percent(told_g, g), where), where)
            rows.append(
                (
                    sensor.name, f"{g:g}", fixed(hz_off.value), hz_off.where.split(",")[0],
                    fixed(size_off.value, 2), size_off.where.split(",")[0],
                )
            )  # fmt: skip
        what = f"dominant line of {PEAKS_G[0]:g} to {PEAKS_G[-1]:g} g, {sensor.name}"
        section.verdicts.append(Verdict(f"{what}: frequency", LINE_HZ, off.value, "Hz", off.where))
        section.verdicts.append(
            Verdict(f"{what}: amplitude", LINE_PCT, size.value, "%", size.where)
        )
    section.table(("sensor", "peak, g", "off by, Hz", "at", "amplitude, %", "at"), rows)
    return section


def _pair(sensor: Sensor, hz: float, g: float, case: int) -> np.ndarray:
    weak = sine(sensor, hz + 97, 0.1 * g, _RECORDS + 1, case + 3)
    return sine(sensor, hz, g, _RECORDS + 1, case) + weak
