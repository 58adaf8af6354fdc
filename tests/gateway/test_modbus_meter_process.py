"""A gateway that reads meters and is killed: what MQTT, Modbus and the ledger say of it."""

import asyncio
import contextlib
import math
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from pymodbus.client import ModbusTcpClient

from clampgateway.model import GAP
from clampgateway.store import Store
from support.gatewayprocess import GatewayProcess
from support.meterbench import live
from support.meters import SDM120, SimMeter, tcp_thread
from support.mosquitto import Mosquitto
from support.ports import free_port, wait_for
from support.subscriber import Subscriber, subscribed

STALE_S = 2.0


def counting() -> tuple[SimMeter, list[float]]:
    """A meter whose energy rises with each reading, and what it has said."""
    sim = live()
    said: list[float] = []

    def on_request(_function: int, first: int) -> None:
        if first == SDM120["hz"]:  # the request that energy is in
            said.append(1000.0 + 0.25 * len(said))
            sim.sdm120(import_kwh=said[-1])

    sim.on_request = on_request
    return sim, said


class Scene(NamedTuple):
    """`said`: what the meter gave as its energy; `modbus` the port; closing `meter` ends it."""

    gateway: GatewayProcess
    said: list[float]
    broker: Mosquitto
    modbus: int
    meter: contextlib.ExitStack


@pytest.fixture
def scene(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> Iterator[Scene]:
    """A gateway with one meter on TCP, a broker and a Modbus server; not yet started."""
    sim, said = counting()
    broker, modbus = mosquitto(), free_port()
    with contextlib.ExitStack() as meter:
        port = meter.enter_context(tcp_thread(sim))
        toml = (
            f"[mqtt]\nport = {broker.port}\n[modbus]\nport = {modbus}\nstale_after_s = {STALE_S}\n"
            f'[[modbus_meter]]\nhost = "127.0.0.1"\nport = {port}\ntimeout_s = 0.3\n'
            '[[modbus_meter.meter]]\nid = "press"\nprofile = "eastron-sdm120"\nperiod_s = 0.2\n'
        )
        gateway = GatewayProcess(tmp_path, toml)
        yield Scene(gateway, said, broker, modbus, meter)
        if gateway.process is not None:
            gateway.process.kill()
            gateway.process.wait()


def committed(gateway: GatewayProcess) -> int:
    return gateway.get("/api/v1/stats")["committer"]["committed"]


def kill_twice(gateway: GatewayProcess) -> None:
    """Runs, is killed, runs, is killed, runs, is ended."""
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        gateway.start()
        wait_for(lambda: committed(gateway) >= 12, 20, "records")
        gateway.end(number)


def test_a_killed_gateway_doubles_no_number_and_tells_what_may_lack(scene: Scene) -> None:
    gateway, said, broker, _modbus, _meter = scene

    async def work() -> Subscriber:
        async with subscribed(broker.port, session="platform") as seen:
            await asyncio.to_thread(kill_twice, gateway)
            # Once more, so that the bridge delivers what the last stop left.
            await asyncio.to_thread(gateway.start)
            await asyncio.to_thread(wait_for, lambda: committed(gateway) >= 12, 20, "records")
            ledger = await asyncio.to_thread(gateway.get, "/api/v1/ledger?device=press")
            await asyncio.to_thread(gateway.end)
            await seen.caught_up()
            check_ledger(ledger)
            return seen

    seen = asyncio.run(work())
    store = Store(gateway.state / "store.db")
    try:
        items = [stored.item for stored in store.read_after(0, 1_000_000)]
    finally:
        store.close()
    boots: dict[int, list[int]] = {}
    for item in items:
        boots.setdefault(item.boot, []).append(item.seq)
    assert sorted(boots) == [1, 2, 3, 4]
    for seqs in boots.values():
        assert sorted(seqs) == list(range(len(seqs))), "no number twice, none missing"
    firsts = [item.kind == GAP for item in items if item.seq == 0]
    assert firsts == [False, True, True, True]
    # The subscriber: each record that is in the store, and one content a number.
    contents: dict[tuple[int, int], set[str]] = {}
    for record in seen.records("clampwork/default/press/"):
        contents.setdefault((record["boot"], record["seq"]), set()).add(repr(record["ch"]))
    assert {len(each) for each in contents.values()} == {1}
    names = {(boot, seq) for _device, boot, seq in gateway.committed()}
    assert set(contents) == names
    told = [each.content for each in seen.on("/press/event") if each.content["kind"] == "gap"]
    cuts = {(gap["boot"], gap["of_boot"], gap["first"], gap["last"]) for gap in told}
    assert cuts == {(boot + 1, boot, 0, 0xFFFFFFFF) for boot in (1, 2, 3)}
    assert {gap["reason"] for gap in told} <= {"power_cut", "overrun"}
    # The energy is the meter's own, and rises from record to record over all power-ups.
    records = {(r["boot"], r["seq"]): r["ch"] for r in seen.records("clampwork/default/press/")}
    energies = [records[name]["energy1"]["import"] for name in sorted(records)]
    assert set(energies) <= set(said)
    assert energies == sorted(set(energies))


def check_ledger(content: dict) -> None:
    """Nothing is pending, and nothing is lost that the meter had numbered and the store has."""
    (device,) = content["devices"]
    assert device["device"] == "press"
    for day in device["days"]:
        assert (day["pending"], day["lost"]) == (0, 0)
        assert day["received"] == day["expected"] > 0


def slot(client: ModbusTcpClient, channel: int, at: int) -> float:
    """A float of a channel's slot, by the map's document."""
    answer = client.read_input_registers(250 * channel + 30 + 2 * at, count=2, device_id=1)
    assert not answer.isError(), answer
    return struct.unpack(">f", struct.pack(">2H", *answer.registers))[0]


def quality(client: ModbusTcpClient, channel: int) -> int:
    answer = client.read_input_registers(250 * channel + 12, count=1, device_id=1)
    return answer.registers[0]


def test_the_plc_reads_the_meter_and_sees_when_it_is_gone(scene: Scene) -> None:
    gateway, said, _broker, modbus, meter = scene
    gateway.start()
    client = ModbusTcpClient("127.0.0.1", port=modbus, timeout=3)
    try:
        wait_for(lambda: committed(gateway) >= 6, 20, "records")
        wait_for(client.connect, 10, "the Modbus server")
        wait_for(lambda: quality(client, 2) == 1, 10, "good")
        # Slot 1 is voltage1, 2 current1, 3 energy1, in the order of the profile.
        assert slot(client, 2, 0) == 4.25
        assert slot(client, 2, 9) == 801.5, "real power has its place in the map"
        energy = slot(client, 3, 0)
        assert energy in said
        wait_for(lambda: slot(client, 3, 0) > energy, 10, "the counter to rise")
        assert gateway.get("/healthz")["status"] == "ok"
        meter.close()  # the meter is gone
        wait_for(lambda: quality(client, 2) == 2, STALE_S + 5, "stale")
        for channel, at in ((1, 0), (2, 0), (2, 9), (3, 0)):
            assert math.isnan(slot(client, channel, at)), "never the last value, never zero"
        wait_for(lambda: not gateway.device("press")["online"], 20, "offline")
        health = gateway.get("/healthz")
        assert health["status"] == "degraded"
        assert "Connect call failed" in str(health["reasons"])
        assert gateway.end() == 0
    finally:
        client.close()
