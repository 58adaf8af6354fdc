"""All links: which devices they carry, two with one id, boots seen, counters, commands.

The sessions ask it what a single link cannot know. Sources open and close sessions here; the API
and bridges give commands here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from clampgateway.clocksync import Clocks, Fit, Fits
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.link import keptclocks
from clampgateway.link.commands import Answer, LinkError
from clampgateway.link.session import LinkSession

_log = logging.getLogger(__name__)

DEVICES_MAX = 4096
# What describes the present of one link; of no meaning in a sum over links.
_GAUGES = frozenset(("inflight", "clock_rtt_us", "clock_error_us", "clock_drift_ppm"))


class _Line(NamedTuple):
    """How to reach the owner of a session. `number` rises by the order in which they opened."""

    number: int
    flush: Callable[[], None]
    give_way: Callable[[], None] | None


class Links:
    """The table of live sessions. `highest_boots` is what the store knows: device to boot.

    `kept` is what `clocks` said before the gateway's end, None or damaged if there is nothing.
    """

    def __init__(
        self,
        devices: Devices,
        descriptions: Descriptions,
        highest_boots: Mapping[str, int],
        gateway_id: str,
        clocks: Clocks,
        kept: object = None,
    ) -> None:
        self.devices = devices
        self.descriptions = descriptions
        self.gateway_id = gateway_id
        self.utc_ms: Callable[[], int] = clocks.utc_ms
        self.era: Callable[[], int] = clocks.era
        self._clocks = clocks
        self._mono_us = clocks.mono_us
        self._boots = dict(highest_boots)
        self._fits, self._fits_bad = keptclocks.load(kept, clocks)
        self._seen_ms = keptclocks.seen_ms(kept)
        if self._fits_bad:
            _log.warning("kept clocks that are of no use are left aside count=%d", self._fits_bad)
        self._sessions: dict[LinkSession, _Line] = {}
        self._claims: dict[str, list[LinkSession]] = {}
        self._closed_totals: Counter[str] = Counter()
        self._opened = 0
        self._refused = 0
        self._replaced = 0
        # A device that was here before is offline, not unknown.
        for device in self._boots:
            devices.at(device)

    def __iter__(self) -> Iterator[LinkSession]:
        return iter(tuple(self._sessions))

    def open(
        self,
        source: str,
        flush: Callable[[], None] = lambda: None,
        give_way: Callable[[], None] | None = None,
    ) -> LinkSession:
        """A session for a link that was just opened; `flush` makes its source poll it soon.

        `give_way` closes the link, where a device may come back over a new one while nobody has
        noticed the end of the old: see `claim`. It is called at most once.
        """
        session = LinkSession(self, source, self._mono_us())
        self._opened += 1
        self._sessions[session] = _Line(self._opened, flush, give_way)
        return session

    def close(self, session: LinkSession) -> None:
        """The link is gone: its device is offline at once. Closing twice does nothing."""
        if self._sessions.pop(session, None) is None:
            return
        session.close(self._mono_us())
        counts = session.stats()
        self._closed_totals.update(
            {name: int(value) for name, value in counts.items() if name not in _GAUGES}
        )

    # --- what sessions ask ------------------------------------------------------------------

    def claim(self, session: LinkSession) -> str:
        """Ask for the device id of `session`; returns why not, or an empty string.

        Two live links with one id are both refused until one of them is gone or silent. Of links
        that can give way the younger wins, since its device left the older one behind; unless it
        is of an earlier power-up, which ended when the later one began: then there are two.
        """
        device = session.device
        claims = self._claims.setdefault(device, [])
        if session not in claims:
            claims.append(session)
        for other in tuple(claims):
            if self._follows(session, other):
                self._replace(other, session)
        others = [other for other in claims if other is not session and other.live]
        if not others:
            self._boots.setdefault(device, 0)
            return ""
        self._refused += 1
        places = ", ".join(sorted({other.source for other in others} | {session.source}))
        reason = f"device id {device} is used by two live links: {places}"
        for other in others:
            if other.state == "accepted":
                other.evict(reason)
        return reason

    def _follows(self, younger: LinkSession, older: LinkSession) -> bool:
        new, old = self._sessions.get(younger), self._sessions.get(older)
        if new is None or old is None or new.give_way is None or old.give_way is None:
            return False
        return new.number > old.number and younger.boot >= older.boot

    def _replace(self, older: LinkSession, by: LinkSession) -> None:
        self._replaced += 1
        _log.info(
            "device came over a new connection, the old one is closed device=%s old=%s new=%s",
            older.device,
            older.source,
            by.source,
        )
        older.leave()
        give_way = self._sessions[older].give_way
        if give_way is not None:
            give_way()

    def room_problem(self, device: str) -> str:
        """Why there is no room for one more device, or an empty string.

        Bounded, because a broken device could come under a new id every second.
        """
        if device in self._boots or len(self._boots) < DEVICES_MAX:
            return ""
        return f"this gateway knows {DEVICES_MAX} devices already"

    def release(self, session: LinkSession) -> None:
        """The session no longer speaks for its device id."""
        claims = self._claims.get(session.device, [])
        if session in claims:
            claims.remove(session)
            if not claims:
                del self._claims[session.device]

    def highest_boot(self, device: str) -> int:
        """The highest boot number of this device's items, committed or on their way there."""
        return self._boots.get(device, 0)

    def saw_boot(self, device: str, boot: int) -> None:
        """Items of this boot number have come; they may not be committed yet."""
        self._boots[device] = max(boot, self._boots.get(device, 0))

    def fits(self, device: str) -> Fits:
        """The clocks of this device's power-ups, as far as this gateway has heard them."""
        return self._fits.setdefault(device, Fits())

    def all_fits(self) -> dict[str, dict[int, Fit]]:
        """The clocks of all devices' power-ups, by device and boot."""
        for session in self._sessions:
            session.note_clock()
        return {device: fits.all() for device, fits in self._fits.items()}

    def clocks(self) -> dict[str, Any]:
        """The clocks of all devices' power-ups, to be kept beside the store."""
        for session in self._sessions:
            session.note_clock()
        said = keptclocks.dump(self._fits, self._clocks)
        # While UTC is unknown, the last that was known stays.
        self._seen_ms = said["utc_ms"] = said["utc_ms"] or self._seen_ms
        return said

    # --- what others ask --------------------------------------------------------------------

    def session_of(self, device: str) -> LinkSession | None:
        """The link over which a device can be reached now: the accepted one before a refused."""
        claims = [session for session in self._sessions if session.device == device]
        claims.sort(key=lambda session: (session.state != "accepted", not session.live))
        return claims[0] if claims else None

    def connected_at(self, device: str) -> str:
        """The port or address of a device's link, also of a refused or silent one; "" if none."""
        session = self.session_of(device)
        return session.source if session is not None else ""

    async def command(
        self, device: str, name: str, args: Mapping[str, object] | None = None
    ) -> Answer:
        """Give a command and wait for its answer (`timeout` after 5 s). Raises LinkError."""
        session = self.session_of(device)
        if session is None:
            raise LinkError(f"device {device} is not connected")
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def on_answer(answer: Answer) -> None:
            if not answered.done():
                answered.set_result(answer)

        session.command(name, args or {}, on_answer, self._mono_us())
        self._sessions[session].flush()
        return await answered

    def stats(self) -> dict[str, float]:
        """Counters over all links since start, closed ones included."""
        totals = Counter(self._closed_totals)
        for session in self._sessions:
            for name, value in session.stats().items():
                if name not in _GAUGES:
                    totals[name] += int(value)
        out: dict[str, float] = {
            "links": len(self._sessions),
            "online": sum(session.online for session in self._sessions),
            "opened": self._opened,
            "refused_twins": self._refused,
            "replaced": self._replaced,
            "kept_clocks_bad": self._fits_bad,
            "inflight": sum(session.inflight for session in self._sessions),
            "description_conflicts": self.descriptions.conflicts,
        }
        out.update(totals)
        return out
