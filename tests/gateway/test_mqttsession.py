"""The MQTT session against a real mosquitto, and against a broker that misbehaves."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clampgateway.mqttsession import (
    Broker,
    Connection,
    MqttSession,
    SessionLost,
)
from support.gateway_parts import serving, until
from support.mosquitto import Mosquitto
from support.sessions import WILL, forever, nothing, on_one_connection, session_to
from support.subscriber import subscribed

ACL = "topic readwrite allowed/#\ntopic read #\n"
MakeBroker = Callable[..., Mosquitto]


@pytest.fixture
def guarded(mosquitto: MakeBroker, tmp_path: Path) -> Mosquitto:
    """A mosquitto that lets nobody publish outside of allowed/."""
    acl = tmp_path / "acl"
    acl.write_text(ACL)
    acl.chmod(0o600)
    return mosquitto(extra=f"acl_file {acl}")


def test_a_puback_tells_whether_the_broker_took_it(guarded: Mosquitto) -> None:
    codes: list[int] = []

    async def serve(connection: Connection) -> None:
        codes.append(await connection.publish("denied/data", b"x"))
        codes.append(await connection.publish("allowed/nobody", b"x"))
        async with subscribed(guarded.port, "allowed/data"):
            codes.append(await connection.publish("allowed/data", b"x"))

    async def scenario() -> None:
        session = await on_one_connection(guarded.port, serve)
        assert codes == [0x87, 0x10, 0x00]
        tally = session.tally
        assert (tally.sent, tally.refused, tally.acked, tally.no_subscribers) == (3, 1, 2, 1)

    asyncio.run(scenario())


def test_mqtt_311_acknowledges_what_was_denied(guarded: Mosquitto) -> None:
    """Its weakness, which docs/topics.md tells: without it, 5 would not be the default."""
    codes: list[int] = []

    async def serve(connection: Connection) -> None:
        codes.append(await connection.publish("denied/data", b"x"))

    asyncio.run(on_one_connection(guarded.port, serve, "3.1.1"))
    assert codes == [0]


def test_the_will_speaks_when_the_connection_dies_and_not_at_a_farewell(
    guarded: Mosquitto,
) -> None:
    async def farewell(connection: Connection) -> None:
        await connection.publish(WILL.topic, b"goodbye", retain=True)

    async def scenario() -> None:
        connections: list[Connection] = []

        async def serve(connection: Connection) -> None:
            connections.append(connection)
            await connection.publish(WILL.topic, b"online", retain=True)
            await forever(connection)

        session = session_to(guarded.port)
        async with subscribed(guarded.port, WILL.topic) as seen:
            task = asyncio.create_task(session.run(serve, farewell))
            await until(lambda: len(seen.messages) == 1)
            connections[0].line.abort()  # as if the cable were cut and the broker told
            await until(lambda: len(connections) == 2, "the second connection")
            await until(lambda: len(seen.messages) == 3)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await until(lambda: len(seen.messages) == 4)
            await seen.caught_up("allowed")
        payloads = [message.payload for message in seen.messages]
        assert payloads == [b"online", b"offline", b"online", b"goodbye"]
        assert (session.tally.connects, session.tally.losses) == (2, 1)
        async with subscribed(guarded.port, WILL.topic) as late:
            await until(lambda: late.messages)
        assert late.messages[0].payload == b"goodbye"
        assert late.messages[0].retained

    asyncio.run(scenario())


def test_a_broker_that_comes_back_is_found(mosquitto: MakeBroker) -> None:
    broker = mosquitto()

    async def serve(connection: Connection) -> None:
        await connection.publish("a", b"x")
        await forever(connection)

    async def scenario() -> None:
        session = session_to(broker.port)
        async with serving(lambda: session.run(serve, nothing)):
            for round_ in range(1, 4):
                await until(lambda: session.tally.acked == round_, "a connection")  # noqa: B023
                assert session.tally.connects == round_
                assert session.stats()["error"] == ""
                broker.kill()
                await until(lambda: not session.connected, "the loss is seen", 3)
                await until(lambda: session.tally.failures, "a try in vain")
                assert "refused" in session.stats()["error"]
                session.tally.failures = 0
                broker.start()
            await until(lambda: session.connected, "the last connection")
            assert session.tally.losses == 3

    asyncio.run(scenario())


def test_the_back_off_grows_to_its_end_and_is_never_the_same() -> None:
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)
        if len(delays) == 40:
            raise asyncio.CancelledError

    async def scenario() -> None:
        broker = Broker("127.0.0.1", 1, "x", backoff_max_s=30.0)  # nobody listens on port 1
        session = MqttSession([broker], lambda: WILL, sleep=sleep)
        with pytest.raises(asyncio.CancelledError):
            await session.run(forever, nothing)

    asyncio.run(scenario())
    for number, delay in enumerate(delays):
        full = min(30.0, 0.5 * 2**number)
        assert full / 2 <= delay <= full
    assert len(set(delays)) == len(delays)


def test_sending_on_a_dead_connection_says_so(mosquitto: MakeBroker) -> None:
    broker = mosquitto()

    async def scenario() -> None:
        lost = asyncio.Event()

        async def serve(connection: Connection) -> None:
            connection.line.abort()
            with pytest.raises(SessionLost, match="3 bytes"):
                connection.send("t", b"123", print)
            lost.set()
            await forever(connection)

        session = session_to(broker.port)
        async with serving(lambda: session.run(serve, nothing)):
            await lost.wait()

    asyncio.run(scenario())


def test_rate(mosquitto: MakeBroker, report_line: Callable[[str], None]) -> None:
    """No target of its own; the number is for comparison with the benchmark of the gateway."""
    broker = mosquitto(extra="set_tcp_nodelay true")
    total, payload = 4000, b"x" * 200

    async def serve(connection: Connection) -> None:
        codes: list[int] = []
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(total):
            await connection.room()
            connection.send("a/b/c", payload, codes.append)
        await connection.drained()
        seconds = time.perf_counter() - start
        cpu_us = (time.process_time() - cpu) / total * 1e6
        assert len(codes) == total
        assert set(codes) <= {0, 0x10}
        report_line(
            f"MQTT QoS 1, 200 bytes, window 20: {total / seconds:,.0f}/s, {cpu_us:.0f} us CPU each"
        )

    asyncio.run(on_one_connection(broker.port, serve))
