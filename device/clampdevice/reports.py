"""Commands that ask a device how it is, and why it says so: status, why; and relearn.

Owns their answers; loaded for one command at a time.
"""

from clampdevice.commands import BadArguments

NO_STATE = "board.json has no state: "


def counts(thing) -> dict:
    """What a source, its driver, its clock or a console counts, of each what it has.

    Found among what it holds: to ask for a name would keep that name for ever.
    """
    names = (
        " overruns lost_frames laps fifo_overruns slips silences torn faults resyncs edges_lost"
        " line_errors stalls strangers soft_counts count_faults "
    )
    held = getattr(thing, "__dict__", {})
    return {name: held[name] for name in held if " " + name + " " in names}


class Reports:
    """A method each; made anew for each of them.

    Args:
        measure, link, spool, clock: those of the device.
        heap_free: bytes, of the last time that was clean.
        hal, sources: whose counters `status` tells too; sources by name.
    """

    def __init__(self, measure, link, spool, clock, heap_free: int, hal, sources: dict) -> None:
        self._measure = measure
        self._link = link
        self._spool = spool
        self._clock = clock
        self._heap_free = heap_free
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
            "rx_other": link.rx_unknown + link.rx_refused,
            "answers_dropped": link.answers_dropped,
            "heap_free": self._heap_free,
        }
        if link.below is not None:
            told.update(link.below.counts())
        for name in self._sources:
            source = self._sources[name]
            found = counts(getattr(source, "clock", None))
            found.update(counts(getattr(source, "driver", None)))
            found.update(counts(source))
            if hasattr(source, "rate_hz"):
                found["rate_hz"] = round(source.rate_hz, 2)
            told[name] = found
        found = counts(self._hal.console)
        if found:
            told["console"] = found
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
