"""Commands that ask a device how it is, and why it says so: status, why; and relearn.

Owns their answers; loaded for one command at a time.
"""

from clampdevice.commands import BadArguments

NO_STATE = "board.json has no state: "


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

    def status(self, _args: dict) -> dict:
        """What Status says, and more, in words."""
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
