"""How connections of the MQTT session end, what is said of it, and where it goes next."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from clampgateway.mqttsession import Broker, Connection, MqttSession, dialling, keepalive
from support.gateway_parts import serving, until
from support.ports import free_port
from support.sessions import CLIENT_ID, WILL, Ends, broker_at, forever, nothing, session_to
from support.stubbroker import message, stub_broker

NOT_MQTT = "what is not MQTT"


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Runs it, and fails if anything was left to the loop's handler of exceptions."""
    unhandled: list[Any] = []

    async def watched() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: unhandled.append(context))
        await scenario()

    asyncio.run(watched())
    assert not unhandled


def test_a_broker_without_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalive, "ACK_S", 0.5)

    async def scenario() -> None:
        async with stub_broker(ack=None) as stub:

            async def serve(connection: Connection) -> None:
                await connection.publish("t", b"1")
                raise AssertionError("there was no answer")

            session = session_to(stub.port)
            async with serving(lambda: session.run(serve, nothing)):
                await until(lambda: stub.connects == 2, "a second connection")
            assert session.tally.losses == 1

    run(scenario)


@pytest.mark.parametrize("told", [False, True])
def test_a_half_open_connection_is_known_within_one_and_a_half_keepalives(told: bool) -> None:
    """Silence, even when asked; the keepalive may be the broker's own."""
    properties = b"\x13\0\x02" if told else b""

    async def scenario() -> None:
        async with stub_broker(pings=False, properties=properties) as stub:
            ends = Ends(1)
            begun_s = asyncio.get_running_loop().time()
            await ends.of([broker_at(stub.port, keepalive_s=30 if told else 2)])
            assert asyncio.get_running_loop().time() - begun_s <= 1.5 * 2
            assert "silent, even when asked (keepalive 2 s)" in ends.reasons[0]
            assert stub.pinged == 1

    run(scenario)


def test_a_broker_that_answers_when_asked_is_kept() -> None:
    async def scenario() -> None:
        async with stub_broker() as stub:
            session = session_to(stub.port, keepalive_s=1)
            async with serving(lambda: session.run(forever, nothing)):
                await until(lambda: stub.pinged >= 3, "three questions")
                assert (session.tally.connects, session.tally.losses) == (1, 0)

    run(scenario)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"connack": 0x86}, "user name or password.*password_file"),
        ({"connack": 0x87}, "not authorized"),
        ({"connack": 0x84}, 'protocol = "3.1.1"'),
        ({"connack": 0x97}, "quota"),
        ({"connack": 0xF7}, "0xF7 of unknown meaning"),
        ({"connack": 0x88, "properties": b"\x1f\0\x05c\nlog"}, r"unavailable \('c\\nlog'\)"),
        ({"connack": 0x9D, "properties": b"\x1c\0\x03b:1"}, "moved.*b:1.*fallbacks"),
        ({"connack": None}, 'timed out.*protocol = "3.1.1"'),
        ({"properties": b"\x24\0"}, "QoS 0 only"),
        ({"properties": b"\x21\0\0"}, "Receive Maximum.*of 0"),
        ({"disconnect": 0x8E}, "gateway-test.*id of its own"),
        ({"disconnect": 0x8B}, "0x8B server shutting down"),
        ({"v5": False, "connack": 1}, 'protocol = "3.1.1"'),
        ({"after": b"\xf0\x00"}, f"{NOT_MQTT}.*0xF0"),
    ],
)
def test_why_there_is_no_connection_is_said(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr(dialling, "CONNECT_S", 0.5)

    async def scenario() -> None:
        async with stub_broker(**options) as stub:
            ends = Ends(2)
            await ends.of([broker_at(stub.port)])
            assert stub.connects == 2
            for reason in ends.reasons:
                assert re.search(expected, reason, re.IGNORECASE), reason
            await until(lambda: not stub.connections, "no socket is left behind")

    run(scenario)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1, "3.1.1"), (2, "client identifier"), (4, "user name or password"), (5, "authorized")],
)
def test_3_1_1_has_codes_of_its_own(code: int, expected: str) -> None:
    async def scenario() -> None:
        async with stub_broker(v5=False, connack=code) as stub:
            ends = Ends(1)
            await ends.of([broker_at(stub.port, "3.1.1")])
            assert expected in ends.reasons[0]

    run(scenario)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "connection refused: no broker listens at 127.0.0.1:"),
        ("no-such-host.invalid", "name|resolution|known"),
        ("a..b", "label|idna|known"),
    ],
)
def test_no_broker_there(host: str, expected: str) -> None:
    async def scenario() -> None:
        ends = Ends(1)
        session = await ends.of([Broker(host, free_port(), CLIENT_ID)])
        assert re.search(expected, ends.reasons[0], re.IGNORECASE), ends.reasons
        assert (session.tally.failures, session.tally.connects) == (1, 0)

    run(scenario)


WRONG = [
    b"\x20\x03\0\0\0",  # a second CONNACK
    b"\x40\x01\x01",
    b"\x40\x00",
    b"\x40\x05\0\x01\x00\xff\xff",
    b"\x41\x02\0\x01",
    b"\x90\x01\0",
    b"\x90\x03\0\x01\x09",
    b"\x30\x00",
    b"\x30\x05\0\x09ab\0",
    b"\x34\x06\0\x01t\0\x01\0",
    b"\x50\x02\0\x01",
    b"\x10\x00",
    b"\xf0\x02\x18\x00",
    b"\xe0\x04\x8b\x05\x1f\0",
    b"\xd0\xff\xff\xff\xff\x01",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.hex()[:16])
def test_what_is_not_mqtt_ends_the_connection_and_nothing_else(wrong: bytes) -> None:
    async def scenario() -> None:
        async with stub_broker(ack=None, after=wrong) as stub:

            async def serve(connection: Connection) -> None:
                await connection.publish("t", b"x")

            ends = Ends(2)
            await ends.of([broker_at(stub.port)], serve)
            assert stub.connects == 2, "and it comes again"
            for reason in ends.reasons:
                assert NOT_MQTT in reason, reason

    run(scenario)


@pytest.mark.parametrize("seed", range(4))
def test_noise_in_place_of_a_broker(seed: int) -> None:
    chance = random.Random(seed)
    valid = [b"\x40\x02\0\x01", b"\xd0\x00", message("t", b"x", 3), b"\x90\x04\0\x01\0\0"]

    def noise() -> bytes:
        out = b"".join(chance.choice(valid) for _ in range(5))
        at = chance.randrange(len(out))
        return out[:at] + chance.randbytes(chance.randrange(1, 30)) + out[at:]

    async def scenario() -> None:
        async with stub_broker() as stub:

            async def serve(connection: Connection) -> None:
                for _ in range(20):
                    stub.say(noise())
                    await asyncio.sleep(0)
                await asyncio.sleep(0.02)
                connection.line.abort()

            ends = Ends(15)
            session = await ends.of([broker_at(stub.port)], serve)
            assert session.tally.connects == 15
            assert sum(NOT_MQTT in reason for reason in ends.reasons) > 5, ends.reasons

    run(scenario)


def test_a_take_over_is_no_fight_and_too_much_is_no_reason_to_hurry() -> None:
    async def scenario() -> None:
        for code, counter in ((0x8E, "taken_over"), (0x97, "throttled"), (0x96, "throttled")):
            async with stub_broker() as stub:

                async def serve(connection: Connection) -> None:
                    assert (
                        await connection.publish("t", b"x") == 0
                    )  # it works, as far as that goes
                    stub.say(b"\xe0\x01" + bytes([code]))  # noqa: B023
                    await forever(connection)

                ends = Ends(5)
                session = await ends.of([broker_at(stub.port)], serve)
                assert session.stats()[counter] == 5
                for number, delay_s in enumerate(ends.delays_s):
                    assert 0.25 * 2**number <= delay_s <= 0.5 * 2**number

    run(scenario)


def test_a_connection_that_worked_is_made_again_at_once() -> None:
    async def scenario() -> None:
        async with stub_broker() as stub:

            async def serve(connection: Connection) -> None:
                assert await connection.publish("t", b"x") == 0
                connection.line.abort()

            ends = Ends(5)
            await ends.of([broker_at(stub.port)], serve)
            assert all(0.25 <= delay_s <= 0.5 for delay_s in ends.delays_s)

    run(scenario)


def test_brokers_of_a_list_are_tried_in_order_round_and_round() -> None:
    async def scenario() -> None:
        async with stub_broker(connack=0x88) as busy, stub_broker() as good:
            nobody = free_port()
            brokers = [broker_at(each) for each in (nobody, busy.port, good.port)]

            async def serve(connection: Connection) -> None:
                assert await connection.publish("t", b"x") == 0
                if good.connects < 3:
                    connection.line.abort()  # it is still the one that worked
                else:
                    good.connack = 0x88

            ends = Ends(8)
            session = await ends.of(brokers, serve)
            assert [("refused: no" in each, "unavailable" in each) for each in ends.reasons] == [
                (True, False), (False, True),  # to the good one
                (False, False), (False, False), (False, False),  # lost there
                (False, True),  # not there any more
                (True, False), (False, True),
            ]  # fmt: skip
            assert (good.connects, busy.connects) == (4, 2)
            assert session.tally.connects == 3
            # A round has one back-off, not one for each broker.
            assert max(ends.delays_s[:2]) <= 0.5

    run(scenario)


def test_a_broker_that_names_another_is_followed_to_one_of_the_list_only() -> None:
    async def scenario() -> None:
        async with stub_broker() as first, stub_broker() as second, stub_broker() as third:
            name = f"127.0.0.1:{third.port}".encode()
            moved = b"\x1c" + len(name).to_bytes(2, "big") + name
            body = b"\x9d" + bytes([len(moved)]) + moved
            first.after = bytes([0xE0, len(body)]) + body
            third.connack, third.properties = 0x9C, b"\x1c\0\x0fevil.example:18"
            brokers = [broker_at(each.port) for each in (first, second, third)]
            ends = Ends(3)

            async def serve(connection: Connection) -> None:
                if connection.broker.port == second.port:
                    connection.line.abort()
                await forever(connection)

            await ends.of(brokers, serve)
            assert (first.connects, third.connects, second.connects) == (2, 1, 0)
            assert "evil.example" in ends.reasons[1], "told, and not followed: on in the list"

    run(scenario)


def test_an_error_of_the_caller_is_no_loss_and_the_broker_is_told() -> None:
    async def scenario() -> None:
        async with stub_broker() as stub:

            async def serve(_connection: Connection) -> None:
                raise ZeroDivisionError("a bug")

            async def farewell(connection: Connection) -> None:
                await connection.publish(WILL.topic, b"offline")

            with pytest.raises(ZeroDivisionError):
                await session_to(stub.port).run(serve, farewell)
            await until(lambda: not stub.connections)
            assert stub.published == [b"offline"]
            assert stub.goodbyes == [0]

    run(scenario)


def test_an_error_in_an_answers_callback_ends_the_session_too() -> None:
    unhandled: list[Any] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: unhandled.append(context))
        async with stub_broker() as stub:

            def on_ack(_code: int) -> None:
                raise ZeroDivisionError("a bug")

            async def serve(connection: Connection) -> None:
                connection.send("t", b"x", on_ack)
                await forever(connection)

            with pytest.raises(ZeroDivisionError):
                async with asyncio.timeout(5):
                    await session_to(stub.port).run(serve, nothing)
            await until(lambda: not stub.connections)

    asyncio.run(scenario())
    assert [type(each["exception"]) for each in unhandled] == [ZeroDivisionError], "and is logged"


def test_a_farewell_that_nobody_takes_costs_two_seconds_at_most() -> None:
    async def scenario() -> None:
        async with stub_broker(ack=None) as stub:

            async def farewell(connection: Connection) -> None:
                await connection.publish(WILL.topic, b"offline")

            session = session_to(stub.port)
            async with serving(lambda: session.run(forever, farewell)):
                await until(lambda: session.connected)
                begun_s = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - begun_s < 3
            await until(lambda: not stub.connections)

    run(scenario)


@pytest.mark.parametrize("answer", [None, 0])
def test_a_session_that_is_stopped_leaves_no_socket(answer: int | None) -> None:
    async def scenario() -> None:
        async with stub_broker(connack=answer) as stub:
            session = session_to(stub.port)
            async with serving(lambda: session.run(forever, nothing)):
                await until(lambda: stub.connects == 1)  # in the middle of CONNECT, or after it
            await until(lambda: not stub.connections)
            assert stub.said_goodbye is (answer == 0)

    run(scenario)


def test_a_session_needs_a_broker() -> None:
    with pytest.raises(ValueError, match="needs a broker"):
        MqttSession([], lambda: WILL)
