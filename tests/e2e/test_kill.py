"""Gateway killed again and again, broker restarted, three devices running: nothing is lost.

Issue A, shows 3. The broker is a real mosquitto with persistence, ended by SIGTERM as a package
update does; the subscriber has a persistent session. Truth is what the devices wrote down beside
the link.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clamptools.demo.account import Account
from clamptools.demo.plans import plans
from clamptools.demo.stack import HOST, ROOT, Stack
from clamptools.demo.subscriber import Subscriber
from clamptools.interpreter import find_interpreter
from clamptools.liveview import View
from support.mosquitto import Mosquitto

SEED = 20251121
KILLS = 6
BROKER_RESTARTS = 2
DRAIN_S = 30.0


@pytest.mark.timeout(100)
def test_gateway_killed_and_broker_restarted(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, report_line: Callable[[str], None]
) -> None:
    broker = mosquitto(persistence=True, extra="max_queued_messages 0")
    folder = tmp_path / "stack"
    folder.mkdir()
    report_line(asyncio.run(_run(broker, folder)))


async def _run(broker: Mosquitto, folder: Path) -> str:
    account = Account()
    subscriber = Subscriber(HOST, broker.port, ROOT, "keeper", account, View(ROOT))
    listening = asyncio.create_task(subscriber.run())
    with Stack(folder, plans(3), find_interpreter(), mqtt_port=broker.port) as stack:
        await asyncio.wait_for(subscriber.subscribed.wait(), 10)
        stack.start_gateway()
        stack.start_devices()
        await _trouble(stack, broker)
        for device in stack.devices:
            device.check()
            side = device.side_file
            items = side.read()
            account.add_power_up(side.power_ups[0])
            for item in items:
                account.add_made(side.power_ups[0].device, item)
        started = time.monotonic()
        while account.missing() and time.monotonic() - started < DRAIN_S:
            stack.check()
            await asyncio.sleep(0.1)
        drained_s = time.monotonic() - started
        stack.stop_devices()
        assert stack.stop_gateway() == 0, (folder / "gateway.log").read_text()[-2000:]
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
    result = account.result()
    assert subscriber.odd == []
    assert subscriber.connections > BROKER_RESTARTS
    assert result.records_made > 3 * 10
    assert result.lost == []
    assert result.duplicates == []
    assert result.wrong == []
    assert result.gaps == []
    assert result.records_received == result.records_made
    return (
        f"{KILLS} kills of the gateway, {BROKER_RESTARTS} broker restarts, 3 devices: "
        f"{result.records_made} records made, {len(result.lost)} lost, "
        f"{len(result.duplicates)} duplicates, {result.redelivered} redelivered, "
        f"drained in {drained_s:.1f} s"
    )


async def _trouble(stack: Stack, broker: Mosquitto) -> None:
    """Kills at moments that differ from each other but not from run to run."""
    moments = random.Random(SEED)
    restarts = 0
    for kill in range(KILLS):
        await asyncio.sleep(moments.uniform(1.0, 3.5))
        if kill % 2 and restarts < BROKER_RESTARTS:
            restarts += 1
            await asyncio.to_thread(broker.stop)
            await asyncio.sleep(moments.uniform(0.5, 1.5))
            stack.kill_gateway()
            await asyncio.to_thread(broker.start)
        else:
            stack.kill_gateway()
            await asyncio.sleep(moments.uniform(0.0, 1.0))
        # The last one comes up: a SIGTERM while Python still loads it would end it as a kill does.
        last = kill == KILLS - 1
        await asyncio.to_thread(stack.start_gateway, wait=last)
    assert restarts == BROKER_RESTARTS
