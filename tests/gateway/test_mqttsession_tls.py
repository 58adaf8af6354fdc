"""The MQTT session with TLS, certificates, passwords and access lists, on a real mosquitto."""

import asyncio
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from clampgateway.mqttsession import Broker, Connection, Tls
from support.authority import Authority
from support.mosquitto import Mosquitto
from support.ports import free_port
from support.sessions import CLIENT_ID, Ends, broker_at, forever, on_one_connection
from support.skips import need_debian
from support.tcpproxy import proxy

MakeBroker = Callable[..., Mosquitto]
HOST = "127.0.0.1"


class Secure(NamedTuple):
    """A broker with a port for TLS, and the authority that it believes."""

    port: int
    plain_port: int
    authority: Authority
    folder: Path


@pytest.fixture
def secure(mosquitto: MakeBroker, tmp_path: Path) -> Secure:
    """A mosquitto whose port for TLS asks for a certificate, and knows us by its name."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", HOST)
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite open/#\nuser lathe\ntopic readwrite lathe/#\n")
    acl.chmod(0o600)
    port = free_port()
    broker = mosquitto(
        extra=f"""
acl_file {acl}
listener {port} {HOST}
allow_anonymous false
cafile {authority.certificate}
certfile {certificate}
keyfile {key}
require_certificate true
use_identity_as_username true
"""
    )
    return Secure(port, broker.port, authority, tmp_path)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_with_a_certificate_of_our_own(secure: Secure, protocol: str) -> None:
    certificate, key = secure.authority.issue("lathe")
    tls = Tls(secure.authority.certificate, certificate, key)
    codes: list[int] = []

    async def serve(connection: Connection) -> None:
        codes.append(await connection.publish("lathe/data", b"x" * 5000))
        codes.append(await connection.publish("mill/data", b"x"))
        for number in range(500):  # records of TLS, some with many messages, and backwards
            if not connection.has_room:
                await connection.room()
            connection.send("lathe/data", b"%d" % number * 300, codes.append)
        await connection.drained()

    session = asyncio.run(on_one_connection(secure.port, serve, protocol, tls=tls))
    assert session.tally.losses == 0
    if protocol == "5":
        assert codes == [0x10, 0x87] + [0x10] * 500, "the certificate's name is who we are"
    else:
        assert codes == [0] * 502


def why(broker: Broker, tries: int = 2) -> str:
    """What is said of a broker that cannot be connected to; and that the session goes on."""

    async def scenario() -> str:
        ends = Ends(tries)
        session = await ends.of([broker])
        assert (session.tally.connects, session.tally.failures) == (0, tries)
        assert len(set(ends.reasons)) == 1
        return ends.reasons[0]

    return asyncio.run(scenario())


def test_a_broker_of_another_authority_is_not_believed(secure: Secure, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "another authority")
    text = why(broker_at(secure.port, tls=Tls(other.certificate)))
    assert "certificate is not believed" in text
    # And the system's authorities, which have never heard of it.
    assert "certificate is not believed" in why(broker_at(secure.port, tls=Tls()))


def test_a_certificate_for_another_host_is_not_believed(
    mosquitto: MakeBroker, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", "broker.example")
    port = free_port()
    mosquitto(extra=f"listener {port} {HOST}\ncertfile {certificate}\nkeyfile {key}\n")
    text = why(broker_at(port, tls=Tls(authority.certificate)))
    assert re.search("not believed.*127.0.0.1.*host", text)


def test_without_a_certificate_where_one_is_asked_for(secure: Secure) -> None:
    # The broker's reason, or the end of the connection, whichever the system tells first.
    text = why(broker_at(secure.port, tls=Tls(secure.authority.certificate)), 1)
    assert re.search(
        "connection lost.*asks for a certificate needs `cert_file` and `key_file`", text
    )


def test_tls_and_plain_text_do_not_mix_in_silence(secure: Secure) -> None:
    tls = Tls(secure.authority.certificate)
    assert re.search("TLS|SSL|closed|reset", why(broker_at(secure.plain_port, tls=tls)))
    assert re.search("closed|reset", why(broker_at(secure.port)))


def test_files_that_are_missing_or_wrong_are_named(secure: Secure, tmp_path: Path) -> None:
    ca = secure.authority.certificate
    certificate, key = secure.authority.issue("lathe")
    locked = tmp_path / "locked.key"
    command = [need_debian("openssl"), "ec", "-in", str(key), "-aes128", "-passout", "pass:secret"]
    subprocess.run([*command, "-out", str(locked)], check=True, capture_output=True, timeout=30)
    assert "no such file for TLS: /nowhere" in why(broker_at(1, tls=Tls(Path("/nowhere"))))
    assert "/nowhere" in why(broker_at(1, tls=Tls(ca, certificate, Path("/nowhere"))))
    for wrong in (Tls(key), Tls(ca, ca, key), Tls(ca, key, key), Tls(ca, certificate, locked)):
        assert re.search("TLS|SSL|PEM|certificate", why(broker_at(secure.port, tls=wrong))), wrong


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_user_and_password(mosquitto: MakeBroker, tmp_path: Path, protocol: str) -> None:
    program = need_debian("mosquitto", "mosquitto_passwd")
    passwords = tmp_path / "passwords"
    subprocess.run([program, "-c", "-b", str(passwords), "gateway", "s3cret"], check=True)
    passwords.chmod(0o600)
    broker = mosquitto(extra=f"password_file {passwords}", allow_anonymous=False)
    codes: list[int] = []

    async def serve(connection: Connection) -> None:
        codes.append(await connection.publish("t", b"x"))

    login = {"username": "gateway", "password": "s3cret"}
    asyncio.run(on_one_connection(broker.port, serve, protocol, **login))
    assert codes == [0x10 if protocol == "5" else 0]
    for name, password in ((None, None), ("gateway", "secret"), ("gateway", None)):
        text = why(Broker(HOST, broker.port, CLIENT_ID, protocol, name, password))
        assert re.search("0x8[67].*password_file", text), text


def test_a_tls_connection_that_is_silent_is_given_up(secure: Secure) -> None:
    """The broker stands still: TLS notices nothing, the keepalive does."""
    certificate, key = secure.authority.issue("lathe")
    tls = Tls(secure.authority.certificate, certificate, key)
    stopped: list[float] = []

    async def scenario() -> None:
        async with proxy(secure.port) as line:

            async def mute() -> None:
                await asyncio.sleep(0.3)
                line.blackhole = True
                stopped.append(asyncio.get_running_loop().time())

            muting = asyncio.create_task(mute())
            ends = Ends(1)
            await ends.of([broker_at(line.port, keepalive_s=1, tls=tls)], forever)
            assert asyncio.get_running_loop().time() - stopped[0] <= 1.5 + 1.0
            assert "silent, even when asked" in ends.reasons[0]
            await muting

    asyncio.run(scenario())
