"""Messages that come to the MQTT session: subscriptions, answers, and those that mean harm."""

import asyncio
from collections.abc import Callable

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from clampgateway.mqttsession import Connection, Message, inbox
from support.gateway_parts import serving, until
from support.mosquitto import Mosquitto
from support.sessions import (
    WILL,
    forever,
    nothing,
    on_one_connection,
    served,
    session_to,
)
from support.stubbroker import message, stub_broker

MakeBroker = Callable[..., Mosquitto]
VERSION = {"5": aiomqtt.ProtocolVersion.V5, "3.1.1": aiomqtt.ProtocolVersion.V311}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_commands_come_and_are_answered(mosquitto: MakeBroker, protocol: str) -> None:
    broker = mosquitto()
    v5 = protocol == "5"
    asked: list[Message] = []
    answers: list[aiomqtt.Message] = []

    async def client() -> None:
        async with aiomqtt.Client("127.0.0.1", broker.port, protocol=VERSION[protocol]) as other:
            await other.subscribe("answers/#", qos=1)
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic, properties.CorrelationData = "answers/here", b"\x00\xff"
            for qos, payload in ((0, b"zero"), (1, b"one"), (1, b"")):
                await other.publish(
                    "a/cmd/replay", payload, qos=qos, properties=properties if v5 else None
                )
            async for each in other.messages:
                answers.append(each)
                if len(answers) == 3:
                    return

    async def serve(connection: Connection) -> None:
        def on_message(each: Message) -> None:
            asked.append(each)
            topic = each.response_topic or "answers/by-3.1.1"
            connection.respond(topic, b"answer to " + each.payload, each.correlation)

        assert await connection.subscribe(["a/cmd/+", "b/cmd/+"], on_message) == [1, 1]
        async with asyncio.timeout(10):
            await client()

    session = asyncio.run(on_one_connection(broker.port, serve, protocol))
    expected = ("answers/here", b"\x00\xff") if v5 else (None, None)
    for each in asked:
        assert each.topic == "a/cmd/replay"
        assert (each.response_topic, each.correlation) == expected
        assert (each.retain, each.duplicate, each.cut) == (False, False, 0)
    assert sorted(each.payload for each in asked) == [b"", b"one", b"zero"]
    assert sorted(bytes(each.payload) for each in answers) == [
        b"answer to ", b"answer to one", b"answer to zero",
    ]  # fmt: skip
    assert {each.qos for each in answers} == {1}
    if v5:
        assert {getattr(each.properties, "CorrelationData", None) for each in answers} == {
            b"\x00\xff"
        }
    assert (session.tally.received, session.tally.oversize) == (3, 0)


def test_a_retained_message_says_so(mosquitto: MakeBroker) -> None:
    broker = mosquitto()
    seen: list[Message] = []

    async def serve(connection: Connection) -> None:
        await connection.publish("cmd/old", b"reset", retain=True)
        await connection.subscribe(["cmd/#"], seen.append)
        await until(lambda: seen)

    asyncio.run(on_one_connection(broker.port, serve))
    assert [(each.payload, each.retain) for each in seen] == [(b"reset", True)]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_is_too_large_comes_cut_and_does_not_pile_up(
    mosquitto: MakeBroker, protocol: str
) -> None:
    broker = mosquitto()
    seen: list[Message] = []

    async def serve(connection: Connection) -> None:
        await connection.subscribe(["cmd/#"], seen.append)
        async with aiomqtt.Client("127.0.0.1", broker.port) as other:
            for size in (4096, 4097, 50_000, 1_000_000, 10):
                await other.publish("cmd/x", bytes(size), qos=1)
        await until(lambda: seen and len(seen[-1].payload) == 10)

    session = asyncio.run(on_one_connection(broker.port, serve, protocol))
    sizes = [(len(each.payload), each.cut) for each in seen]
    huge = [] if protocol == "5" else [(4096, 1_000_000 - 4096)]
    # With MQTT 5 the broker was told, and does not even send it.
    assert sizes == [(4096, 0), (4096, 1), (4096, 50_000 - 4096), *huge, (10, 0)]
    assert session.tally.oversize == len(huge) + 2
    assert session.tally.losses == 0


def test_a_refused_subscription_is_told() -> None:
    async def scenario() -> None:
        async with stub_broker(suback=0x87) as stub:

            async def serve(connection: Connection) -> None:
                assert await connection.subscribe(["a", "b"], print) == [0x87, 0x87]

            await on_one_connection(stub.port, serve)

    asyncio.run(scenario())


def test_a_message_is_acknowledged_after_its_handler() -> None:
    async def scenario() -> None:
        async with stub_broker() as stub:
            order: list[object] = []

            def on_message(each: Message) -> None:
                assert not stub.answered or each.payload != b"1"
                order.append(each.payload)

            async def serve(connection: Connection) -> None:
                await connection.subscribe(["t"], on_message)
                stub.say(message("t", b"1", 11) + message("t", b"0") + message("t", b"2", 12))
                await until(lambda: len(stub.answered) == 2)
                # For what nobody subscribed to there is no handler, and an answer all the same.
                stub.say(message("elsewhere", b"3", 13))
                await until(lambda: len(stub.answered) == 3)

            session = await on_one_connection(stub.port, serve)
            assert order == [b"1", b"0", b"2"]
            assert stub.answered == [(11, 0), (12, 0), (13, 0)]
            assert (session.tally.received, session.tally.stray) == (3, 1)

    asyncio.run(scenario())


def test_a_flood_is_bounded_and_counted() -> None:
    """From a broker that does not care for the Receive Maximum it was told."""

    async def scenario() -> None:
        async with stub_broker() as stub:
            seen: list[bytes] = []

            async def serve(connection: Connection) -> None:
                await connection.subscribe(["t"], lambda each: seen.append(each.payload))
                burst = b"".join(message("t", b"%d" % number, number) for number in range(1, 201))
                stub.say(burst + message("t", bytes(100), 0) * 200)
                await until(lambda: len(stub.answered) == 200)
                assert connection._inbox.waiting <= inbox.WAITING_MAX
                assert await connection.publish("t", b"still there") == 0

            session = await on_one_connection(stub.port, serve)
            tally = session.tally
            assert tally.received == len(seen) >= inbox.WAITING_MAX
            assert tally.received + tally.overrun == 400
            codes = [code for _packet_id, code in stub.answered]
            assert set(codes) == {0, 0x97}
            assert [packet_id for packet_id, _ in stub.answered if _ == 0] == list(range(1, 17))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("properties", "response", "correlation"),
    [
        (b"\x08\0\x03a/#", None, None),  # nobody may answer to a filter
        (b"\x08\0\0", None, None),
        (b"\x08\0\x01r\x09\0\0", "r", b""),
        (b"\x26\0\1a\0\1b\x0b\x07\x08\0\x01r", "r", None),
        (b"\x02\0\0\0\x05\x03\0\x04text\x01\x01\x09\0\x02\0\xff", None, b"\0\xff"),
    ],
)
def test_what_a_message_carries_beside(
    properties: bytes, response: str | None, correlation: bytes | None
) -> None:
    async def scenario() -> None:
        async with stub_broker(one_by_one=True) as stub:
            seen: list[Message] = []

            async def serve(connection: Connection) -> None:
                await connection.subscribe(["t"], seen.append)
                stub.say(message("t", b"x", 9, properties))
                await until(lambda: stub.answered)

            await on_one_connection(stub.port, serve)
            assert seen == [Message("t", b"x", False, False, response, correlation)]

    asyncio.run(scenario())


def test_names_without_end_are_thrown_away() -> None:
    async def scenario() -> None:
        async with stub_broker() as stub:
            seen: list[Message] = []

            async def serve(connection: Connection) -> None:
                await connection.subscribe(["#"], seen.append)
                stub.say(message("x" * 5000, b"x", 9) + message("t", b"fine", 10))
                await until(lambda: len(stub.answered) == 2)

            session = await on_one_connection(stub.port, serve)
            assert [each.payload for each in seen] == [b"fine"]
            assert stub.answered == [(9, 0x95), (10, 0)]
            assert session.tally.oversize == 1

    asyncio.run(scenario())


def test_answers_wait_for_room_and_are_bounded() -> None:
    async def scenario() -> None:
        async with stub_broker(ack=None, receive_maximum=2) as stub:

            async def serve(connection: Connection) -> None:
                with pytest.raises(ValueError, match="no topic"):
                    connection.respond("a/#", b"x")
                connection.send("t", b"data", print)
                for number in range(40):
                    connection.respond("r", b"%d" % number, b"c")
                await until(lambda: len(stub.published) == 2)
                await asyncio.sleep(0.05)
                assert len(stub.published) == 2, "an answer keeps to the window as well"
                stub.ack_all(0)
                await connection.drained()

            session = await served(session_to(stub.port), serve)
            assert stub.published == [b"data", *(b"%d" % number for number in range(33))]
            assert session.tally.answers_dropped == 7

    asyncio.run(scenario())


def test_an_answer_that_is_too_large_is_dropped_and_counted() -> None:
    async def scenario() -> None:
        async with stub_broker(properties=b"\x27\0\0\0\x64") as stub:

            async def serve(connection: Connection) -> None:
                connection.respond("r", bytes(200))
                connection.respond("r", b"short")
                await connection.drained()

            session = await on_one_connection(stub.port, serve)
            assert stub.published == [b"short"]
            assert (session.tally.answers_dropped, session.tally.too_large) == (1, 1)

    asyncio.run(scenario())


def test_an_error_of_a_handler_ends_the_session() -> None:
    async def scenario() -> None:
        async with stub_broker() as stub:

            def on_message(_message: Message) -> None:
                raise ZeroDivisionError("a bug")

            async def serve(connection: Connection) -> None:
                await connection.subscribe(["t"], on_message)
                stub.say(message("t", b"x", 1))
                await forever(connection)

            async def farewell(connection: Connection) -> None:
                await connection.publish(WILL.topic, b"offline")

            with pytest.raises(ZeroDivisionError):
                async with asyncio.timeout(5):
                    await session_to(stub.port).run(serve, farewell)
            await until(lambda: not stub.connections)
            assert stub.published == [b"offline"]
            assert not stub.answered, "what was not handled is not acknowledged"

    asyncio.run(scenario())


def test_who_waits_for_a_subscription_learns_that_the_line_is_gone() -> None:
    async def scenario() -> None:
        async with stub_broker() as stub:
            session = session_to(stub.port)

            async def serve(connection: Connection) -> None:
                connection.line.abort()
                await connection.subscribe(["t"], print)
                raise AssertionError

            async with serving(lambda: session.run(serve, nothing)):
                await until(lambda: session.tally.losses >= 1)

    asyncio.run(scenario())
