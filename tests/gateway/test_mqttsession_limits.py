"""What a broker allows: window, packet size, reason codes; and what the session makes of it."""

import asyncio
from collections.abc import Callable

import pytest

from clampgateway.mqttsession import PACKET_TOO_LARGE, Connection, SessionLost, TooLarge
from support.gateway_parts import serving, until
from support.mosquitto import Mosquitto
from support.sessions import (
    Ends,
    broker_at,
    forever,
    nothing,
    on_one_connection,
    served,
    session_to,
)
from support.stubbroker import StubBroker, stub_broker

MakeBroker = Callable[..., Mosquitto]


@pytest.mark.parametrize("window", [1, 5])
def test_the_window_is_the_brokers_if_that_is_smaller(window: int) -> None:
    async def scenario() -> None:
        async with stub_broker(ack=None, receive_maximum=window) as stub:
            answered: list[int] = []

            async def serve(connection: Connection) -> None:
                assert connection.window == window
                for number in range(12):
                    await connection.room()
                    connection.send("t", b"%d" % number, answered.append)
                    assert connection.in_flight <= window
                await connection.drained()
                await forever(connection)

            session = session_to(stub.port)
            async with serving(lambda: session.run(serve, nothing)):
                await until(lambda: len(stub.published) == window, "the window")
                await asyncio.sleep(0.1)
                assert len(stub.published) == window, "more than the broker allows"
                assert session.stats()["in_flight"] == session.stats()["window"] == window
                stub.ack_all(0)
                await until(lambda: len(answered) == 12, "all answers")
            assert stub.published == [b"%d" % number for number in range(12)]

    asyncio.run(scenario())


@pytest.mark.parametrize("one_by_one", [False, True])
def test_each_message_has_its_own_reason_code(one_by_one: bool) -> None:
    acks = {b"quota": 0x97, b"large": 0x95, b"nobody": 0x10, b"denied": 0x87, b"odd": 0xFE}
    codes: dict[bytes, list[int]] = {}

    async def scenario() -> None:
        async with stub_broker(acks=acks, one_by_one=one_by_one) as stub:

            async def serve(connection: Connection) -> None:
                for payload in (*acks, b"fine", b"good"):
                    connection.send("t", payload, codes.setdefault(payload, []).append)
                await connection.drained()
                assert await connection.publish("t", b"quota", retain=True) == 0x97

            session = await on_one_connection(stub.port, serve)
            assert stub.publishes[-1][0] == 0x33
            tally = session.tally
            assert (tally.sent, tally.acked, tally.refused, tally.no_subscribers) == (8, 3, 5, 1)
            assert (tally.losses, tally.stray) == (0, 0), "a refusal is no reason to go"

    asyncio.run(scenario())
    assert codes == {payload: [code] for payload, code in acks.items()} | {
        b"fine": [0], b"good": [0],
    }  # fmt: skip


def test_3_1_1_has_no_reason_codes() -> None:
    async def scenario() -> None:
        async with stub_broker(v5=False) as stub:

            async def serve(connection: Connection) -> None:
                assert await connection.publish("t", b"a", expiry_s=60) == 0

            await on_one_connection(stub.port, serve, "3.1.1")
            assert stub.publishes == [(0x32, b"\0\x01t\0\x01a")], "and no properties"

    asyncio.run(scenario())


def test_an_expiry_and_properties_are_sent() -> None:
    async def scenario() -> None:
        async with stub_broker() as stub:

            async def serve(connection: Connection) -> None:
                assert await connection.publish("t", b"a", expiry_s=60) == 0

            await on_one_connection(stub.port, serve)
            assert stub.publishes == [(0x32, b"\0\x01t\0\x01\x05\x02\0\0\0\x3ca")]

    asyncio.run(scenario())


def limit(size: int) -> bytes:
    """The property Maximum Packet Size."""
    return b"\x27" + size.to_bytes(4, "big")


# Where the length of the packet takes one byte, and two: of its 8 or 9 bytes are not the payload.
@pytest.mark.parametrize(("size", "overhead"), [(100, 8), (129, 8), (200, 9), (5000, 9)])
def test_what_is_above_the_brokers_limit_is_not_sent(size: int, overhead: int) -> None:
    async def scenario() -> None:
        async with stub_broker(properties=limit(size)) as stub:

            async def serve(connection: Connection) -> None:
                fits = bytes(size - overhead)
                assert await connection.publish("t", fits) == 0
                with pytest.raises(
                    TooLarge, match=f"above the broker's limit of {size}"
                ) as caught:
                    connection.send("t", fits + b"x", print)
                assert caught.value.limit == size < caught.value.size
                assert not isinstance(caught.value, SessionLost)
                assert connection.in_flight == 0
                assert await connection.publish("t", b"others flow") == 0

            session = await on_one_connection(stub.port, serve)
            assert stub.published == [bytes(size - overhead), b"others flow"]
            assert session.tally.too_large == 1

    asyncio.run(scenario())


def test_mosquitto_tells_its_limit_too(mosquitto: MakeBroker) -> None:
    broker = mosquitto(extra="max_packet_size 1000")

    async def serve(connection: Connection) -> None:
        with pytest.raises(TooLarge):
            await connection.publish("t", bytes(2000))
        assert await connection.publish("t", bytes(900)) in (0, 0x10)

    asyncio.run(on_one_connection(broker.port, serve))


def test_a_limit_that_is_found_out_the_hard_way_is_remembered() -> None:
    """A broker that tells no limit and hangs up: the same message would end every connection."""

    async def scenario() -> None:
        async with stub_broker(ack=None) as stub:
            refused: list[int] = []

            async def serve(connection: Connection) -> None:
                connection.send("t", b"small", print)
                try:
                    connection.send("t", bytes(3000), print)
                except TooLarge as error:
                    refused.append(error.limit)
                    connection.line.abort()
                    return
                await until(lambda: len(stub.published) == 2)
                stub.say(b"\xe0\x01" + bytes([PACKET_TOO_LARGE]))
                await forever(connection)

            ends = Ends(2)
            await ends.of([broker_at(stub.port)], serve)
            assert "packet too large" in ends.reasons[0]
            assert refused == [3008]

    asyncio.run(scenario())


def test_packet_ids_wrap_and_pass_over_those_in_flight() -> None:
    def ids(stub: StubBroker) -> list[int]:
        return [int.from_bytes(body[3:5], "big") for _first, body in stub.publishes]

    async def scenario() -> None:
        async with stub_broker(ack=None) as stub:

            async def serve(connection: Connection) -> None:
                connection.send("t", b"waits", print)  # 1
                connection._last_id = 65_533
                for _ in range(4):
                    connection.send("t", b"x", print)
                await until(lambda: len(stub.publishes) == 5)

            await on_one_connection(stub.port, serve)
            assert ids(stub) == [1, 65_534, 65_535, 2, 3]

    asyncio.run(scenario())


def test_what_is_sent_in_one_turn_leaves_in_one_write() -> None:
    async def scenario() -> None:
        async with stub_broker() as stub:

            async def serve(connection: Connection) -> None:
                transport = connection.line._transport
                assert transport is not None
                writes: list[int] = []
                write = transport.write
                transport.write = lambda data: writes.append(len(data)) or write(data)
                for _ in range(20):
                    connection.send("t", b"x" * 10, print)
                await connection.drained()
                assert writes == [20 * 18]
                for _ in range(20):  # not without end, if it is much
                    connection.send("t", b"x" * 10_000, lambda _code: None)
                    assert connection.line.unwritten < 200_000
                assert len(writes) >= 3

            await on_one_connection(stub.port, serve, window=100)

    asyncio.run(scenario())


def test_a_broker_that_does_not_read_bounds_what_is_kept() -> None:
    async def scenario() -> None:
        stuck = asyncio.Event()

        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"\x20\x03\0\0\0")
            await stuck.wait()
            writer.transport.abort()

        server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1000)

        async def serve(connection: Connection) -> None:
            async with asyncio.timeout(5):
                try:
                    while True:
                        async with asyncio.timeout(0.5):
                            await connection.room()
                        connection.send("t", bytes(20_000), print)
                except TimeoutError:
                    pass
            assert not connection.has_room
            assert connection.in_flight < connection.window, "not the messages, the bytes"
            assert connection.line.unwritten < 200_000
            stuck.set()

        port = server.sockets[0].getsockname()[1]
        await on_one_connection(port, serve, window=5000)
        server.close()

    asyncio.run(scenario())


def test_an_answer_to_nothing_is_counted_and_harmless() -> None:
    async def scenario() -> None:
        async with stub_broker() as stub:

            async def serve(connection: Connection) -> None:
                stub.say(
                    b"\x40\x02\x12\x34" + b"\x90\x04\x00\x09\x00\x00" + b"\x40\x03\x00\x01\x87"
                )
                await until(lambda: session.tally.stray == 3)
                assert await connection.publish("t", b"x") == 0

            session = session_to(stub.port)
            await served(session, serve)

    asyncio.run(scenario())
