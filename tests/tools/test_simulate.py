"""An outage in compressed time: the account of a good run, and that it finds what is wrong."""

import json
import struct
from pathlib import Path

import pytest

from clampgateway.model import RECORD
from clamptools import outage, simulate
from clamptools.cli import main
from clamptools.outage import Gateway, Report, run_outage


def test_an_outage_is_held_condensed_and_exact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--outage", "40m", "--flash-kb", "64", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["64 KB"]
    assert report["good"]
    assert report["announced"] == 0
    assert report["condensed"] > 1500
    assert report["fine"] + report["condensed"] == report["records"]
    assert report["energy_vah"] == report["energy_made_vah"]
    assert report["live_p95_s"] < 2


def test_a_full_ring_and_a_cut_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["simulate", "--outage", "100m", "--cut-after", "45m", "--flash-kb", "20"])
    assert code == 0
    out = capsys.readouterr().out
    announced = int(out.partition("announced")[2].split()[0].replace(",", ""))
    assert announced > 680
    assert "0 lost silently, 0 fine and condensed, 0 not as made" in out


def test_the_account_finds_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled: list[Report] = []
    account = outage.account

    def spoil(report: Report, gateway: Gateway, made: dict[tuple[int, int], bytes]) -> None:
        account(report, gateway, made)
        assert report.good
        condensed = next(
            item for item in gateway.items() if item.kind == RECORD and item.payload[14] == 50
        )
        seconds = [key for key in made if key[1] < condensed.seq and made[key][0] == RECORD]
        # An item that nobody delivered and nobody told.
        worse = Report(report.outage_s, report.flash_bytes, state=report.state)
        account(worse, gateway, {**made, (1, 999_999): made[seconds[0]]})
        assert worse.lost == 1
        # A second that came beside its condensed record.
        fine = condensed._replace(seq=condensed.seq - 1, payload=made[1, condensed.seq - 1])
        gateway.store.append([fine], {})
        worse = Report(report.outage_s, report.flash_bytes, state=report.state)
        account(worse, gateway, made)
        assert worse.overlaps == 1
        # A counter and a mean square that are not what was made.
        payload = bytearray(made[1, condensed.seq])
        struct.pack_into("<H", payload, len(payload) - 29, 60_000)
        worse = Report(report.outage_s, report.flash_bytes, state=report.state)
        account(worse, gateway, {**made, (1, condensed.seq): bytes(payload)})
        assert worse.rms_wrong + worse.energy_wrong > 0
        assert not worse.good
        spoiled.append(worse)

    monkeypatch.setattr(outage, "account", spoil)
    run_outage(simulate._python(), tmp_path, 1200, 65536, 32768)
    assert spoiled


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--outage", "1h", "--cut-after", "2h"], "shorter"),
        (["--outage", "1h", "--flash-kb", "4"], "20 KB"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *arguments]) == 2
    assert said in capsys.readouterr().err
