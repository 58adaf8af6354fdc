"""How a connection is made: TCP, TLS that always verifies, CONNECT and its answer."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable
from functools import partial

from clampgateway.mqttsession import packets, reasons
from clampgateway.mqttsession.connection import Connection, explain
from clampgateway.mqttsession.decoding import number_of, text_of
from clampgateway.mqttsession.inbox import PACKET_MAX, WAITING_MAX
from clampgateway.mqttsession.line import Line
from clampgateway.mqttsession.values import Broker, SessionLost, Tally, Tls, Will

CONNECT_S = 4.0
# A host with an IPv6 address that leads nowhere shall not cost all of the time.
_NEXT_ADDRESS_S = 0.5
_SHUTDOWN_S = 1.0
# What OpenSSL says of an answer that is no TLS.
_PLAIN_TEXT = ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "HTTP_REQUEST")


class Refused(SessionLost):
    """The broker answered, and with no.

    Attributes:
        code: Its reason code.
        server: Where it says to go instead; "" if it does not.
    """

    def __init__(self, text: str, code: int, server: str) -> None:
        super().__init__(text)
        self.code = code
        self.server = server


async def dial(broker: Broker, will: Will, tally: Tally, mono: Callable[[], float]) -> Connection:
    """Makes a connection. Raises SessionLost, which says why there is none."""
    try:
        async with asyncio.timeout(CONNECT_S):
            line = await _open(broker, mono)
    except TimeoutError as error:
        raise SessionLost(f"timed out: no connection within {CONNECT_S:g} s") from error
    except (OSError, UnicodeError) as error:
        raise SessionLost(_explain(error, broker)) from error
    connection = Connection(broker, line, tally)
    greeted = False
    try:
        async with asyncio.timeout(CONNECT_S):
            await _greet(connection, will)
        greeted = True
    except TimeoutError as error:
        # A broker of 3.1.1 may not even be able to read the CONNECT.
        why = f"timed out: no answer to CONNECT within {CONNECT_S:g} s"
        raise SessionLost(why + _advice(broker)) from error
    except SessionLost as error:
        if isinstance(error, Refused):
            raise
        raise SessionLost(f"{error}{_advice(broker)}") from error
    finally:
        if not greeted:
            line.abort()
            await line.closed.wait()
    return connection


async def _open(broker: Broker, mono: Callable[[], float]) -> Line:
    context = None if broker.tls is None else await asyncio.to_thread(verifying, broker.tls)
    encrypted = context is not None
    _transport, line = await asyncio.get_running_loop().create_connection(
        partial(Line, mono, v5=broker.protocol == "5"),
        broker.host,
        broker.port,
        ssl=context,
        happy_eyeballs_delay=_NEXT_ADDRESS_S,
        ssl_handshake_timeout=CONNECT_S if encrypted else None,
        ssl_shutdown_timeout=_SHUTDOWN_S if encrypted else None,
    )
    return line


async def _greet(connection: Connection, will: Will) -> None:
    line = connection.line
    line.write(packets.connect(connection.broker, will, WAITING_MAX, PACKET_MAX))
    line.flush()
    answer = await connection.greeted
    if answer.code:
        server = text_of(answer.properties, packets.SERVER_REFERENCE)
        raise Refused(f"the broker refused: {explain(answer)}", answer.code, server)
    if not number_of(answer.properties, packets.MAXIMUM_QOS, 2):
        why = "the broker takes QoS 0 only, so nobody can tell what arrived"
        raise Refused(why, reasons.QOS_UNSUPPORTED, "")


def verifying(tls: Tls) -> ssl.SSLContext:
    """A context that believes nobody but the authorities. Raises OSError that names a bad file."""
    for path in (tls.ca, tls.cert, tls.key):
        if path is not None and not path.is_file():
            raise FileNotFoundError(2, "no such file for TLS", str(path))
    context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert is not None:
        # Without a terminal nobody can be asked for a passphrase; "" makes it an error.
        context.load_cert_chain(tls.cert, tls.key, password=lambda: "")
    return context


def _explain(error: OSError | UnicodeError, broker: Broker) -> str:
    """Why there is no TCP or TLS connection, by who can change it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the broker's certificate is not believed: {error.verify_message}; "
            "`ca_file` names the authority, and the host must be one that the certificate has"
        )
    if isinstance(error, ssl.SSLError):
        plain = error.reason in _PLAIN_TEXT
        advice = f"; port {broker.port} seems to be one for plain text" if plain else ""
        return f"TLS failed: {error.reason or error}{advice}"
    if isinstance(error, FileNotFoundError):
        return f"{error.strerror}: {error.filename}"
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return f"connection refused: no broker listens at {broker.name}"
    return str(error) or f"the broker hung up ({type(error).__name__})"


def _advice(broker: Broker) -> str:
    """What may be the reason if a broker goes without saying why."""
    advice = ""
    if broker.tls is not None and broker.tls.cert is None:
        advice += "; one that asks for a certificate needs `cert_file` and `key_file`"
    elif broker.tls is not None:
        advice += (
            "; it may not believe the certificate in `cert_file`, which must be of an authority "
            "that it knows and not expired"
        )
    if broker.protocol == "5":
        advice += f"; {reasons.ADVICE[reasons.WRONG_VERSION]}"
    return advice
