"""The command `refine`: the board's own curve of its ADC, from samples that are taken anyway.

Owns the counting of one channel's codes, and the command's arguments and answers; the estimate is
`refinement.py`, the file `curvefile.py`. Loaded when the command comes, and gone when it is over.

    refine {"channel": KEY, "seconds": 1800}   begins to count; also {"slot": N}
    refine {}                                  how far it is; once it has counted: keeps the
                                               curve, and with the next call uses it
    refine {"stop": true}                      drops the counts
    refine {"forget": true}                    back to the mean curve

Each answer has `state`: "mean" or "refined", which curve is in use, "counting", or "kept", which
is used from the next call on: writing and filling the table are a stall each, and the ring of
samples is made for one.
"""

from array import array

from clampdevice.borrow import Borrowed
from clampdevice.codedensity import BINS, count
from clampdevice.commands import BadArguments

SECONDS = 1800
LEAST_S = 10
MOST_S = 86400


class Counting:
    """Counts the codes of one channel on their way to it. `add` allocates nothing.

    Args:
        channel: has `add`, which is replaced while this counts; `config`, `stride`, `rate_hz`.
        seconds: how long.

    Attributes:
        counts: see `codedensity.count`.
        left: frames yet to come.
    """

    def __init__(self, channel, seconds: int) -> None:
        self.channel = channel
        self.seconds = seconds
        self.counts = array("I", [0] * BINS)
        self.left = int(seconds * channel.rate_hz)
        self._slot = channel.config["slot"]
        self._stride = channel.stride
        self._below = channel.add
        channel.add = self.add

    def add(self, buf, first: int, n: int) -> None:
        """Counts, before the channel makes anything else of the codes."""
        if self.left > 0:
            take = n if n < self.left else self.left
            count(buf, first + self._slot, take, self._stride, self.counts)
            self.left -= take
        self._below(buf, first, n)

    def stop(self) -> None:
        """Gives the channel its own `add` back."""
        self.channel.add = self._below


class Refiner:
    """One refinement, from its first command to its last.

    Args:
        channels: of the device.
        lut: the table in use, changed in place; None without one.
        chip: whose curve it is, "rp2040" for example.
        chip_id: of this chip.
        files: see `files.Files`.
        clock: for the date.

    Attributes:
        busy: there is something to come back for.
    """

    def __init__(self, channels: tuple, lut, chip: str, chip_id: str, files, clock) -> None:
        self._channels = channels
        self._lut = lut
        self._chip = chip
        self._chip_id = chip_id
        self._files = files
        self._clock = clock
        self._counting = None
        self._kept = False

    @property
    def busy(self) -> bool:
        return self._counting is not None or self._kept

    def run(self, args: dict) -> dict:
        """One command. Raises BadArguments; OSError if the curve could not be kept."""
        if self._lut is None:
            raise BadArguments("no table is in use: board.json has linearise = none")
        if args.get("stop") or args.get("forget"):
            self._stop()
            if args.get("forget"):
                self._forget()
            return self._told()
        if "channel" in args or "slot" in args:
            self._begin(args)
        if self._kept:
            self._kept = False
            self._use()
        counting = self._counting
        if counting is None:
            return self._told()
        if counting.left:
            channel = counting.channel
            return {
                "state": "counting",
                "channel": channel.key,
                "seconds": counting.seconds,
                "left_s": round(counting.left / channel.rate_hz, 1),
            }
        return self._finish(counting)

    def _begin(self, args: dict) -> None:
        channel = self._find(args)
        if self.busy:
            if self._counting is not None and self._counting.channel is channel:
                return  # asked again
            raise BadArguments('another refinement is under way: go on, or send "stop": true')
        seconds = args.get("seconds", SECONDS)
        whole = isinstance(seconds, int) and not isinstance(seconds, bool)
        if not whole or not LEAST_S <= seconds <= MOST_S:
            raise BadArguments(f"seconds is {seconds!r}, must be {LEAST_S} to {MOST_S}")
        self._counting = Counting(channel, seconds)

    def _find(self, args: dict):  # noqa: ANN202 - an AnalogChannel
        known = [c for c in self._channels if c.source_name == "adc"]
        for channel in known:
            if "channel" in args:
                if channel.key == args["channel"]:
                    return channel
            elif channel.config["slot"] == args["slot"]:
                return channel
        asked = args.get("channel", args.get("slot"))
        names = ", ".join(f"{c.key} (slot {c.config['slot']})" for c in known)
        raise BadArguments(f"no channel {asked!r}: one of {names}")

    def _stop(self) -> None:
        if self._counting is not None:
            self._counting.stop()
        self._counting = None
        self._kept = False

    def _finish(self, counting: Counting) -> dict:
        # Without memory or flash it fails and keeps the counts: it can be asked for again.
        with Borrowed():
            from clampdevice import curvefile, refinement
            from clampdevice.service import date_of

            try:
                made = refinement.refine(counting.counts, self._chip)
            except refinement.RefinementError as error:
                self._stop()
                raise BadArguments(counting.channel.key + ": " + str(error))
            date = date_of(self._clock.utc_ms())
            data = curvefile.pack(self._chip, self._chip_id, date, made)
            self._files.write_file(curvefile.FILE, data)
        self._stop()
        self._kept = True
        told = self._told()
        told["state"] = "kept"
        return told

    def _load(self) -> dict | None:
        """What is in the file, None without it. Raises BadArguments if it is of no use."""
        from clampdevice import curvefile

        data = self._files.read_file(curvefile.FILE)
        if not data:
            return None
        try:
            return curvefile.unpack(data, self._chip, self._chip_id)
        except curvefile.CurveError as error:
            raise BadArguments(str(error))

    def _use(self) -> None:
        with Borrowed():
            from clampdevice import linear

            told = self._load()
            if told is not None:
                linear.fill(self._lut, told["stretches"], told["weights"])

    def _forget(self) -> None:
        with Borrowed():
            from clampdevice import curvefile, linear

            if self._files.read_file(curvefile.FILE):
                self._files.write_file(curvefile.FILE, b"")
            stretches, weights = linear.curve(self._chip)
            linear.fill(self._lut, stretches, weights)

    def _told(self) -> dict:
        with Borrowed():
            from clampdevice import curvefile

            told = self._load()
            if told is None:
                return {"state": "mean", "chip": self._chip}
            del told["stretches"], told["weights"]
            told["linearity_lsb"] = curvefile.remaining_lsb(told, self._chip)
            told["state"] = "refined"
            return told
