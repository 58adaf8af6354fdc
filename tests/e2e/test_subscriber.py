"""Each subscriber of docs/platform, killed at random beside broker and gateway, ends complete.

Issue E, shows 5. Truth is what the devices wrote down beside the link; the judge is
`clampwork verify`, as a process.
"""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clamptools import verify
from clamptools.demo.account import Key
from clamptools.demo.devices import SIDE_FILE
from clamptools.demo.plans import plans
from clamptools.demo.stack import HOST, ROOT, SITE, Stack
from clamptools.interpreter import find_interpreter
from support.mosquitto import Mosquitto

SEED = 20261122
KILLS = 6
DRAIN_S = 90.0
COMMIT_S = 2.0
VERIFY = (sys.executable, "-m", "clamptools.cli", "verify")
SCRIPTS = Path(__file__).parents[2] / "docs/platform"


class Platform:
    """The subscriber as a process; killed, and started again."""

    def __init__(self, script: str, folder: Path, port: int) -> None:
        self._script = SCRIPTS / script
        self.file = folder / "records.db"
        self.log = folder / "subscriber.log"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, self._script, HOST, str(self._port), f"{ROOT}/{SITE}", self.file],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def check(self) -> None:
        """Fails if it ended by itself."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()


def heard(stack: Stack, folder: Path) -> Path:
    """Side files of the stopped devices, without what ended with a device before it was sent.

    That is its newest item at most, or two: an event beside the record it belongs to.
    """
    time.sleep(COMMIT_S)
    committed = stack.committed()
    for device in stack.devices:
        head, *lines = (device.folder / SIDE_FILE).read_text().splitlines()
        name = json.loads(head)["device"]
        names = [Key(name, item["boot"], item["seq"]) for item in map(json.loads, lines)]
        known = [key in committed for key in names]
        count = known.index(False) if False in known else len(known)
        assert not any(known[count:]), f"{device.name}: missed in the middle: {names}, {known}"
        assert count >= len(known) - 2, f"{device.name}: {len(known) - count} items never sent"
        (folder / device.name).mkdir(parents=True)
        (folder / device.name / SIDE_FILE).write_text("\n".join([head, *lines[:count], ""]))
    return folder


def verified(platform: Platform, made: Path) -> tuple[int, dict[str, int]]:
    done = subprocess.run(
        [*VERIFY, "--json", "--subscriber", str(platform.file), "--made", str(made)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["subscribers"][str(platform.file)]


def problems(platform: Platform, made: Path) -> str:
    files = verify.side_files([made])
    return "\n".join(verify.verify(verify.read(platform.file), files).lines())


@pytest.mark.timeout(200)
@pytest.mark.parametrize("script", ["keep.py", "subscriber.py"])
def test_killed_at_random_it_ends_complete(
    mosquitto: Callable[..., Mosquitto],
    tmp_path: Path,
    report_line: Callable[[str], None],
    script: str,
) -> None:
    moments = random.Random(SEED)
    broker = mosquitto(extra="max_queued_messages 0")
    folder = tmp_path / "stack"
    folder.mkdir()
    platform = Platform(script, tmp_path, broker.port)
    with Stack(folder, plans(2), find_interpreter(), mqtt_port=broker.port) as stack:
        try:
            platform.start()
            stack.start_gateway()
            stack.start_devices()
            for turn in range(KILLS):
                time.sleep(moments.uniform(0.5, 3.0))
                platform.kill()
                if turn == 2:
                    # Without persistence: all that it had acknowledged and not handed on is gone.
                    broker.kill()
                    time.sleep(moments.uniform(0.5, 1.5))
                    broker.start()
                if turn == 4:
                    stack.kill_gateway()
                    stack.start_gateway()
                time.sleep(moments.uniform(0.0, 1.5))
                platform.start()
            time.sleep(1.0)
            platform.check()
            stack.stop_devices()
            made = heard(stack, tmp_path / "made")
            begun_s = time.monotonic()
            code, found = verified(platform, made)
            while code and time.monotonic() - begun_s < DRAIN_S:
                time.sleep(2.0)
                platform.check()
                code, found = verified(platform, made)
            drained_s = time.monotonic() - begun_s
        finally:
            platform.kill()
        assert stack.stop_gateway() == 0, (folder / "gateway.log").read_text()[-2000:]
    said = platform.log.read_text() if platform.log.exists() else ""
    assert code == 0, f"{found}\n{problems(platform, made)}\n{said}"
    assert found["records_received"] == found["records_made"] > 2 * 10
    assert found["covered_by_gaps"] == found["condensed"] == 0
    report_line(
        f"{script} killed {KILLS} times, broker and gateway once: "
        f"{found['items_made']} items made, {found['lost']} lost, {found['doubled']} doubled, "
        f"complete {drained_s:.1f} s after the last"
    )
