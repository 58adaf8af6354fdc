"""Commands of a retrofitter with a reference in the hand: calibrate, floor, counters, uncertainty.

Owns their arguments and answers, and the record that comes out of them; loaded for one command at
a time. Readings are those of the last record. What is applied takes effect with the next window,
is kept first, and is described again by `changed`; nothing of a refused command is kept.

    calibration {"channel": KEY}                                  what is in use
    calibrate {"channel": KEY, "reference_value": 4.98, ...}      gain from the present reading
    calibrate {"channel": KEY, "reference_value": 4.98, "add": true, ...}   one more point
    calibrate {"channel": KEY, "gain"|"points"|"offset"|"phase_deg": ..., ...}   as in the record
    calibrate {"channel": KEY, "clear": true}                     back to nominal
    measure_floor {"channel": KEY}                                with nothing running for 5 s

With each go `date` (today if the gateway told the time), `reference` (the meter), `id` (made from
the content if absent), `uncertainty_pct` (k = 2), and `confirm` for a gain beyond 20 %.
"""

from clampdevice.analog import AnalogChannel
from clampdevice.calibration import Calibration
from clampdevice.calibrationcheck import CalibrationError, check, id_of
from clampdevice.commands import BadArguments
from clampdevice.floor import MOST_SHARE, FloorError

_DAYS = 146097  # in 400 years


def date_of(utc_ms: int) -> str:
    """YYYY-MM-DD of a UTC time, "" for 0, which is not known."""
    if not utc_ms:
        return ""
    # Years that begin in March, from 0000-03-01: the leap day comes last.
    days = utc_ms // 86400000 + 719468
    era, day = divmod(days, _DAYS)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    rest = day - (365 * year + year // 4 - year // 100)
    month = (5 * rest + 2) // 153
    day = rest - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year += 400 * era + (month <= 2)
    return f"{year:04d}-{month:02d}-{day:02d}"


class Service:
    """The commands on the channels of one device, a method each; made anew for each of them.

    Args:
        channels: all channels of the device.
        counters: see `Measurement.counters`.
        store: see `calibration.CalibrationStore`.
        clock: for the date.
        changed: called after a channel has another description; False if it cannot be told from
            an earlier one by its layout number.
    """

    def __init__(self, channels: tuple, counters, store, clock, changed) -> None:
        self._channels = channels
        self._counters = counters
        self._store = store
        self._clock = clock
        self._changed = changed

    def _channel(self, args: dict) -> AnalogChannel:
        known = [channel for channel in self._channels if isinstance(channel, AnalogChannel)]
        for channel in known:
            if channel.key == args.get("channel"):
                return channel
        keys = ", ".join(channel.key for channel in known)
        raise BadArguments(f"channel is {args.get('channel')!r}, must be one of {keys}")

    def calibration(self, args: dict) -> dict:
        """What a channel is corrected by, the floor in use, and the present reading."""
        channel = self._channel(args)
        told = dict(channel.calibration.record)
        told["channel"] = channel.key
        told["reading"] = channel.reading
        told["floor"] = channel.floor
        if self._store.problem:
            told["problem"] = self._store.problem
        return told

    def calibrate(self, args: dict) -> dict:
        """Takes up a calibration. Raises BadArguments, OSError if it could not be kept."""
        channel = self._channel(args)
        confirm = args.get("confirm", False)
        given = {
            key: args[key] for key in args if key not in ("channel", "confirm", "add", "clear")
        }
        if args.get("clear"):
            self._apply(channel, None)
            return self.calibration(args)
        record = dict(channel.calibration.record)
        record.pop("id", None)
        value = given.pop("reference_value", None)
        if value is not None:
            self._compare(channel, record, value, args.get("add", False))
        for key in ("gain", "points"):
            if key in given:
                record.pop("gain", None)
                record.pop("points", None)
        record.update(given)
        record.setdefault("date", "")
        if "date" not in given:
            record["date"] = date_of(self._clock.utc_ms()) or record["date"]
        self._finish(channel, record, confirm is True)
        return self.calibration(args)

    def _compare(self, channel: AnalogChannel, record: dict, value: object, add: object) -> None:
        """The present reading against a reference: a gain, or one more point."""
        reading = channel.reading
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
            raise BadArguments(f"reference_value is {value!r}, must be a number above 0")
        if not reading:
            raise BadArguments(f"{channel.key} reads nothing above its noise floor")
        if not add:
            record.pop("points", None)
            record["gain"] = value / reading
            return
        record.pop("gain", None)
        points = [pair for pair in record.get("points", []) if abs(pair[0] / reading - 1) > 0.02]
        points.append([reading, value])
        points.sort()
        record["points"] = points

    def _finish(self, channel: AnalogChannel, record: dict, confirm: bool) -> None:
        try:
            check(record, confirm)
        except CalibrationError as error:
            raise BadArguments(str(error))
        if not record.get("id"):
            record["id"] = id_of(channel.key, record)
        self._apply(channel, record)

    def _apply(self, channel: AnalogChannel, record: dict | None) -> None:
        while True:
            self._store.put(channel.key, record)
            channel.calibrate(Calibration(record))
            if self._changed() or record is None:
                return
            # Records in the spool carry one byte of their description: another id, another byte.
            record["id"] += "'"

    def measure_floor(self, args: dict) -> dict:
        """Takes the noise of the last 5 s as the floor; nothing may run."""
        channel = self._channel(args)
        try:
            floor = channel.measure_floor(MOST_SHARE)
        except FloorError as error:
            raise BadArguments(channel.key + ": " + str(error))
        record = dict(channel.calibration.record)
        before = channel.floor
        record.pop("id", None)
        record["floor"] = floor
        record["date"] = date_of(self._clock.utc_ms()) or record.get("date", "")
        self._finish(channel, record, True)
        return {"channel": channel.key, "floor": floor, "before": before}

    def counters(self, _args: dict) -> dict:
        """All counters in whole numbers, and how often they were kept."""
        told: dict = {}
        if self._counters is None:
            return told
        for channel in self._channels:
            counter = getattr(channel, "counter", None)
            if counter is not None:
                told[channel.key] = counter.told()
        told["saves"] = self._counters.saves
        told["failed_saves"] = self._counters.failed_saves
        return told

    def uncertainty(self, args: dict) -> dict:
        """The expanded uncertainty of the last record's RMS, in the channel's unit."""
        channel = self._channel(args)
        value = channel.uncertainty
        return {
            "channel": channel.key,
            "value": channel.value,
            "uncertainty": None if value != value else value,
            "coverage": 2,
        }
