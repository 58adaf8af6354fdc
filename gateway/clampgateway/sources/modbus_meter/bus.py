"""One line with meters on it, read by pymodbus: a serial port, or a TCP connection.

Owns the client, opening the line again and again, one request at a time with its retries, what
went wrong in a word, and the counters. It is the only file of the gateway that knows pymodbus.

An RTU answer carries no number: one that comes late would pass for the answer to the next request.
So after a time-out the line is left alone until what was on its way has come and is thrown away,
and an answer of another length than asked for is none.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU

_log = logging.getLogger(__name__)
# What it has to say is in our own counters and lines; its own repeat themselves at every time-out.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)

OPEN_S = 5.0
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 5.0
# Ref: MODBUS over Serial Line V1.02, 2.5.1.1: 3.5 characters of 11 bits between frames, 1.75 ms
# above 19,200 baud. Adapters and meters are slow to turn the line round, so never less than this.
PAUSE_LEAST_S = 0.005
# No answer comes later than this, or than twice the time-out.
LATE_S = 2.0
# Ref: Modbus Application Protocol V1.1b3, 7.
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
_PARITIES = {"none": "N", "even": "E", "odd": "O"}
# A converter answers so for a meter that does not.
_NO_TARGET = (10, 11)


class ReadError(Exception):
    """A read that gave nothing. `silent`: the meter did not answer at all; else it refused."""

    def __init__(self, text: str, *, silent: bool) -> None:
        super().__init__(text)
        self.silent = silent


class Line(NamedTuple):
    """Where the meters are: a host and TCP port, or a serial port (`host` is "")."""

    host: str
    port: str | int
    baud: int
    parity: str
    stop_bits: int
    timeout_s: float
    retries: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.host else str(self.port)

    @property
    def bits(self) -> int:
        """Of one byte on a serial line."""
        return 9 + (self.parity != "none") + self.stop_bits


class _Rtu(FramerRTU):
    """Frames of a serial line; what cannot be decoded is thrown away and not raised."""

    def handleFrame(  # noqa: N802 - pymodbus's name
        self, data: bytes, exp_devid: int, exp_tid: int
    ) -> tuple[int, ModbusPDU | None]:
        try:
            return super().handleFrame(data, exp_devid, exp_tid)
        except ModbusException:
            return len(data), None


class _Socket(FramerSocket):
    """The same for a TCP connection."""

    def handleFrame(  # noqa: N802
        self, data: bytes, exp_devid: int, exp_tid: int
    ) -> tuple[int, ModbusPDU | None]:
        try:
            return super().handleFrame(data, exp_devid, exp_tid)
        except ModbusException:
            return len(data), None


class Bus:
    """A line. One reader at a time: `read` is not called again before it returned."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.error = ""
        self._client: AsyncModbusSerialClient | AsyncModbusTcpClient | None = None
        self._heard = 0
        self._retry_s = RETRY_FIRST_S
        self._retry_at_s = 0.0
        self._opens = self._open_failures = self._disconnects = 0
        self._requests = self._answers = self._retries = 0
        self._timeouts = self._garbled = self._exceptions = self._wrong_lengths = 0

    async def read(
        self, unit: int, function: int, first: int, count: int, *, once: bool = False
    ) -> list[int]:
        """`count` registers from `first` by function 3 or 4; `once`: without retries.

        Raises ReadError.
        """
        retries = 0 if once else self.line.retries
        for attempt in range(retries + 1):
            self._retries += attempt > 0
            try:
                return await self._read_once(unit, function, first, count)
            except ReadError as error:
                if not error.silent or attempt == retries or not self.is_open:
                    raise
        raise AssertionError("a last attempt raises")

    @property
    def is_open(self) -> bool:
        """Whether the line itself is there."""
        return self._client is not None and self._client.connected

    async def _read_once(self, unit: int, function: int, first: int, count: int) -> list[int]:
        client = await self._open()
        what = f"{count} registers from {first} by function {function}"
        if not self.line.host:
            await asyncio.sleep(max(PAUSE_LEAST_S, 3.5 * 11 / self.line.baud))
        read = client.read_holding_registers if function == 3 else client.read_input_registers
        self._requests += 1
        self._heard = 0
        try:
            async with asyncio.timeout(self.line.timeout_s + OPEN_S):
                answer = await read(first, count=count, device_id=unit)
        except (ModbusException, TimeoutError, OSError) as error:
            raise await self._no_answer(error) from None
        if answer.isError():
            self._exceptions += 1
            code = answer.exception_code
            word = EXCEPTIONS.get(code, f"exception {code}")
            raise ReadError(f"{word} ({code}) for {what}", silent=code in _NO_TARGET)
        if answer.function_code != function or len(answer.registers) != count:
            self._wrong_lengths += 1
            await self._settle()
            raise ReadError(
                f"{len(answer.registers)} registers by function {answer.function_code}"
                f" came for {what}",
                silent=False,
            )
        self._answers += 1
        return list(answer.registers)

    async def _no_answer(self, error: Exception) -> ReadError:
        if not self.is_open:
            self._lost(str(error))
            return ReadError(f"{self.line} was lost", silent=True)
        heard = self._heard
        await self._settle()
        if heard:
            self._garbled += 1
            return ReadError(
                f"no valid answer, {heard} bytes came within {self.line.timeout_s:g} s",
                silent=True,
            )
        self._timeouts += 1
        return ReadError(f"no answer within {self.line.timeout_s:g} s", silent=True)

    async def _settle(self) -> None:
        """Let what is late come, and forget it: pymodbus does at the next request."""
        if not self.line.host:
            await asyncio.sleep(max(self.line.timeout_s, LATE_S - self.line.timeout_s))

    # --- the line -------------------------------------------------------------------------------

    async def _open(self) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
        if self._client is not None:
            if self._client.connected:
                return self._client
            self._lost("")
        now_s = asyncio.get_running_loop().time()
        if now_s < self._retry_at_s:
            raise ReadError(self.error or f"{self.line} was lost", silent=True)
        client = self._make()
        try:
            # Not `connect`, which keeps the reason to itself.
            async with asyncio.timeout(OPEN_S):
                client.ctx.transport, _protocol = await client.ctx.call_create()
        except (OSError, TimeoutError) as error:
            client.close()
            self._open_failures += 1
            self._retry_at_s = now_s + self._retry_s
            self._retry_s = min(2 * self._retry_s, RETRY_MOST_S)
            self._say(error)
            raise ReadError(self.error, silent=True) from None
        # A serial port calls back in the next turns of the loop.
        for _turn in range(3):
            await asyncio.sleep(0)
        self._client = client
        self._opens += 1
        if self.error:
            _log.info("meters can be asked again line=%s", self.line)
        self.error, self._retry_s = "", RETRY_FIRST_S
        return client

    def _make(self) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
        line = self.line
        if line.host:
            tcp = AsyncModbusTcpClient(
                line.host,
                port=int(line.port),
                timeout=line.timeout_s,
                retries=0,
                reconnect_delay=0,
                trace_packet=self._trace,
            )
            tcp.ctx.framer = _Socket(DecodePDU(False))
            return tcp
        rtu = AsyncModbusSerialClient(
            str(line.port),
            framer=FramerType.RTU,
            baudrate=line.baud,
            parity=_PARITIES[line.parity],
            stopbits=line.stop_bits,
            timeout=line.timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._trace,
        )
        rtu.ctx.framer = _Rtu(DecodePDU(False))
        return rtu

    def _trace(self, sending: bool, data: bytes) -> bytes:
        if not sending:
            self._heard = max(self._heard, len(data))
        return data

    def _say(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error) or "no answer"
        said = f"{self.line} cannot be opened: {reason}"
        if said != self.error:
            _log.warning("%s, trying again", said)
        self.error = said

    def _lost(self, why: str) -> None:
        if self._client is not None:
            self._disconnects += 1
            _log.warning("line to meters was lost, trying again line=%s %s", self.line, why)
            self._client.close()
            self._client = None

    def close(self) -> None:
        """Give the line free."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def stats(self) -> dict[str, object]:
        """State and counters of the line.

        `garbled`: bytes came that made no valid answer, as with a wrong CRC or half a frame.
        """
        return {
            "line": str(self.line),
            "state": "open" if self.is_open else "waiting",
            "error": self.error,
            "opens": self._opens,
            "open_failures": self._open_failures,
            "disconnects": self._disconnects,
            "requests": self._requests,
            "answers": self._answers,
            "retries": self._retries,
            "timeouts": self._timeouts,
            "garbled": self._garbled,
            "exceptions": self._exceptions,
            "wrong_lengths": self._wrong_lengths,
        }
