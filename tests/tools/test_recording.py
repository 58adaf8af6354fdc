"""Recordings of every kind, and what a user reads when a file is none."""

import json
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from clamptools.errors import UserError
from clamptools.recording import read_recording

META = {"fs": {"deep": 1000.0}, "units": "A", "columns": ["one", "two", "three"]}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "motor.npz"
    deep = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    np.savez(
        path,
        deep=deep,
        codes=np.arange(-3, 3, dtype=np.int16),
        codes_fs=np.float64(250),
        label=np.array(["a", "b"]),
        meta=json.dumps(META),
    )
    return path


def test_npz_column_with_index(archive: Path):
    recording = read_recording(archive, "deep[1,:,2]")
    assert recording.samples.tolist() == [14, 17, 20, 23]
    assert recording.samples.dtype == np.float64
    assert (recording.rate_hz, recording.unit, recording.full_code) == (1000.0, "A", None)
    assert read_recording(archive, "deep[-1, 1:3, 0]").samples.tolist() == [15, 18]


def test_npz_integers_are_codes(archive: Path):
    recording = read_recording(archive, "codes")
    assert recording.samples.tolist() == [-3, -2, -1, 0, 1, 2]
    assert (recording.rate_hz, recording.full_code) == (250.0, 32767.0)


def test_npz_without_choice_lists_arrays(archive: Path):
    with pytest.raises(UserError) as error:
        read_recording(archive, None)
    text = str(error.value)
    assert "several arrays" in text
    assert "deep" in text
    assert "(2, 4, 3)" in text
    assert "1000 Hz" in text
    assert "label" not in text
    assert "meta" not in text


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("deep", "one dimension is needed"),
        ("deep[0]", "one dimension is needed"),
        ("deep[0,:,9]", "does not fit"),
        ("deep[0,:,1,1]", "does not fit"),
        ("deep[0,a]", "no array"),
        ("deep[,]", "does not fit"),
        ("nothing", "no array 'nothing'"),
        ("__import__('os')[0]", "no array"),
    ],
)
def test_npz_wrong_column(archive: Path, column: str, words: str):
    with pytest.raises(UserError, match=r"shape|no array|fit") as error:
        read_recording(archive, column)
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["a.npz", "a.wav", "a.csv"])
@pytest.mark.parametrize("content", [b"", b"no recording\n\xff\xfe", b"PK\x03\x04 cut"])
def test_not_a_recording(tmp_path: Path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match="is no recording") as error:
        read_recording(path, None)
    assert "\n" not in str(error.value)


def test_pickle_is_refused(tmp_path: Path):
    path = tmp_path / "evil.npz"
    np.savez(path, evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="no recording"):
        read_recording(path, None)


def test_other_ending(tmp_path: Path):
    with pytest.raises(UserError, match=r"\.npz, \.csv, \.wav"):
        read_recording(tmp_path / "a.mp3", None)


def test_csv_with_header(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("time,Main [A]\n0,1.5\n1,-2\n\n2,3e-1\n")
    assert read_recording(path, "Main [A]").samples.tolist() == [1.5, -2, 0.3]
    with pytest.raises(UserError, match="several arrays"):
        read_recording(path, None)


def test_csv_one_column_and_decimal_comma(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("1\n2\n3\n")
    recording = read_recording(path, None)
    assert recording.samples.tolist() == [1, 2, 3]
    assert recording.rate_hz is None
    path.write_text("t;I\n0;1,25\n1;-0,5\n")
    assert read_recording(path, "I").samples.tolist() == [1.25, -0.5]


@pytest.mark.parametrize(
    ("text", "words"),
    [("a,b\n1,2\n3,x\n", "line 3 has 'x'"), ("a,b\n1,2\n3\n", "line 3 has '1 columns'")],
)
def test_csv_bad_line(tmp_path: Path, text: str, words: str):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_recording(path, "a")
    assert words in str(error.value)


def test_nan_is_named(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("I\n1\nnan\n")
    with pytest.raises(UserError, match="sample 1 is nan"):
        read_recording(path, None)


@pytest.mark.parametrize("width", [2, 3, 4])
def test_wav_of_each_width(tmp_path: Path, width: int):
    path = tmp_path / "a.wav"
    full = (1 << (8 * width - 1)) - 1
    frames = [(0, full), (-1, -full), (full // 3, 1)]
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(width)
        out.setframerate(48000)
        for frame in frames:
            out.writeframes(
                b"".join(value.to_bytes(width, "little", signed=True) for value in frame)
            )
    for channel in (0, 1):
        recording = read_recording(path, f"channel{channel + 1}")
        assert recording.samples.tolist() == [frame[channel] for frame in frames]
        assert (recording.rate_hz, recording.full_code) == (48000, full)


def test_wav_bytes_and_float(tmp_path: Path):
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(8000)
        out.writeframes(bytes([128, 255, 1]))
    assert read_recording(path, None).samples.tolist() == [0, 127, -127]
    body = struct.pack("<3f", 0.5, -1.0, 0.25)
    head = struct.pack("<HHIIHH", 3, 1, 8000, 32000, 4, 32)
    riff = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", 12) + body
    path.write_bytes(b"RIFF" + struct.pack("<I", len(riff)) + riff)
    recording = read_recording(path, None)
    assert recording.samples.tolist() == [0.5, -1.0, 0.25]
    assert recording.full_code == 1.0


def test_wav_of_unknown_format(tmp_path: Path):
    head = struct.pack("<HHIIHH", 0x55, 1, 8000, 0, 1, 0)  # MPEG layer 3
    riff = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", 2) + b"ab"
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(riff)) + riff)
    with pytest.raises(UserError, match="format 85"):
        read_recording(path, None)
