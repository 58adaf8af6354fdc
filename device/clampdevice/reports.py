"""Commands that ask a device how it is, and why it says so: status, why; and relearn.

Owns their answers; loaded for one command at a time.
"""

from clampdevice.commands import BadArguments

NO_STATE = "board.json has no state: "
# What a source or a console may count; see their classes.
_SOURCE = (
    "overruns", "lost_frames", "laps", "fifo_overruns", "slips", "silences", "torn", "faults",
    "resyncs", "edges_lost",
)  # fmt: skip
_CONSOLE = ("overruns", "line_errors", "stalls")
_DRIVER = ("strangers",)


def _counts(thing, names: tuple) -> dict:
    """Those of `names` that the thing has."""
    return {name: getattr(thing, name) for name in names if hasattr(thing, name)}


def _of_source(source) -> dict:
    """Its counters, its driver's and its clock's, and its true rate."""
    found = _counts(getattr(source, "clock", None), _SOURCE)
    found.update(_counts(source, _SOURCE))
    found.update(_counts(getattr(source, "driver", None), _DRIVER))
    if hasattr(source, "rate_hz"):
        found["rate_hz"] = round(source.rate_hz, 2)
    return found


class Reports:
    """A method each; made anew for each of them.

    Args:
        measure, link, spool, clock: those of the device.
        heap_free: bytes, of the last time that was clean.
    """

    def __init__(self, measure, link, spool, clock, heap_free: int) -> None:
        self._measure = measure
        self._link = link
        self._spool = spool
        self._clock = clock
        self._heap_free = heap_free
        self._hal = None
        self._sources: dict = {}

    def hardware(self, hal, sources: dict) -> None:
        """Whose counters `status` tells too: the HAL, and its sources by name."""
        self._hal = hal
        self._sources = sources

    def status(self, _args: dict) -> dict:
        """What Status says, and more, in words.

        An object for each source and for the console, and what the HAL has to `report()`.
        """
        link, spool, measure = self._link, self._spool, self._measure
        told = {
            "uptime_s": self._clock.now_ms() // 1000,
            "boot": link.boot,
            "next_seq": spool.next_seq,
            "spooled": len(spool),
            "dropped": spool.dropped,
            "overruns": measure.overruns,
            "lost_samples": measure.lost_samples,
            "faults": measure.faults,
            "rx_errors": link.rx_errors,
            "answers_dropped": link.answers_dropped,
            "heap_free": self._heap_free,
        }
        if link.below is not None:
            told.update(link.below.counts())
        for name in self._sources:
            told[name] = _of_source(self._sources[name])
        counts = _counts(getattr(self._hal, "console", None), _CONSOLE)
        if counts:
            told["console"] = counts
        report = getattr(self._hal, "report", None)
        if report is not None:
            own = report()
            for name in own:
                if isinstance(told.get(name), dict):
                    told[name].update(own[name])
                else:
                    told[name] = own[name]
        return told

    def why(self, _args: dict) -> dict:
        """What the machine's state rests on."""
        if self._measure.status is None:
            return {"state": "unknown", "reason": NO_STATE + "nothing tells one"}
        return self._measure.status.why()

    def relearn(self, _args: dict) -> dict:
        """Forgets what was learned of a machine, for another one. Raises BadArguments."""
        status = self._measure.status
        if status is None:
            raise BadArguments(NO_STATE + "there is nothing to relearn")
        try:
            status.relearn()
        except ValueError as error:
            raise BadArguments(str(error))
        return status.why()
