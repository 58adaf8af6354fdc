"""A chip's own ADC curve: from the counts of its codes to the table in use."""

from array import array

from clampdevice import codedensity, curvefile, linear, refinement
from clampdevice.commands import BadArguments
from clampdevice.hal.sim import errors
from clampdevice.refine import Counting, Refiner

try:
    micropython = __import__("micropython")
except ImportError:
    micropython = None

PER_EIGHTH = 80  # counts


def ramp_codes(model: str, low: int, high: int):  # a generator of array("H")
    """The codes of a chip whose input rises from `low` to `high` LSB in eighths."""
    made = errors.converter(model)
    for start in range(8 * low, 8 * high, 512):
        buf = array("H", range(start, start + 512))
        errors.quantise(buf, 0, 512, 1, made)
        yield buf


def counts_of(model: str, low: int = 150, high: int = 3990, rounds: int = PER_EIGHTH) -> array:
    counts = array("I", [0] * codedensity.BINS)
    for buf in ramp_codes(model, low, high):
        codedensity.count(buf, 0, len(buf), 1, counts)
    for i in range(len(counts)):
        counts[i] *= rounds
    return counts


def table_error(table, model: str) -> float:
    """Largest difference in LSB of what a table makes of a ramp, at most a straight line off."""
    points = []
    for buf in ramp_codes(model, 200, 3900):
        total = 0
        for code in buf:
            total += table[code]
        points.append(total / 512 / 4)
    first, last = points[0], points[-1]
    step = (last - first) / (len(points) - 1)
    return max(abs(points[i] - first - i * step) for i in range(len(points)))


def refused(function, *args: object) -> str:
    try:
        function(*args)
    except (BadArguments, refinement.RefinementError, curvefile.CurveError) as error:
        return str(error)
    raise AssertionError("taken")


def test_plain_and_compiled_loops_agree():
    counts = counts_of("rp2040-3", 400, 3000)
    counts[100] += 700  # a bin that does not fit
    sums = array("I", [1] * codedensity.WORDS)
    plain = array("I", [2] * codedensity.WORDS)
    widths = array("I", [505 + 3 * kind for kind in range(codedensity.CLASSES)])
    codedensity.weigh(counts, widths, sums)
    codedensity.plain_weigh(counts, widths, plain)
    assert sums == plain
    assert 100 < sum(sums[codedensity.USED : codedensity.SQUARES]) < 440
    buf = array("H", [(i * 7919) & 4095 for i in range(600)])
    first = array("I", [0] * codedensity.BINS)
    second = array("I", [0] * codedensity.BINS)
    codedensity.count(buf, 2, 150, 4, first)
    codedensity.plain_count(buf, 2, 150, 4, second)
    assert first == second
    assert sum(first) == 150


def test_each_boards_own_curve_comes_out_of_its_counts():
    # The slopes of rp2350-4 differ from the mean's by more than a gain.
    for model, chip, limit in (
        ("rp2040-3", "rp2040", 0.3), ("rp2040-5", "rp2040", 0.3), ("rp2350-4", "rp2350", 0.5),
    ):  # fmt: skip
        made = refinement.refine(counts_of(model), chip)
        assert len(made.steps) == 5
        assert made.rough_lsb < 0.1
        table = linear.table(chip)
        before = table_error(table, model)
        linear.fill(table, made.stretches, made.weights)
        after = table_error(table, model)
        assert after < limit < before, (model, before, after)
        assert all(table[i] <= table[i + 1] for i in range(4095))


def test_a_smaller_signal_leaves_the_steps_that_it_does_not_reach():
    mean = linear.curve("rp2040")[0]
    made = refinement.refine(counts_of("rp2040-5", 1300, 2900), "rp2040")
    assert made.steps == [1536, 2048, 2560]
    for i in (1, 5):
        step = made.stretches[i][1] - made.stretches[i - 1][2]
        assert abs(step - (mean[i][1] - mean[i - 1][2])) <= 1
    assert curvefile.remaining_lsb({"steps": made.steps, "step_lsb": 0.1}, "rp2040") is None


def test_counts_that_make_no_curve_are_refused_with_a_reason():
    refine = refinement.refine
    assert "count longer" in refused(refine, array("I", [0] * 512), "rp2040")
    assert "count longer" in refused(refine, counts_of("rp2040-1", rounds=2), "rp2040")
    assert "outermost" in refused(refine, counts_of("rp2040-1", 0, 4096), "rp2040")
    assert "larger" in refused(refine, counts_of("rp2040-1", 2100, 2500), "rp2040")
    assert "none of the steps" in refused(refine, counts_of("rp2040-1", 600, 1500), "rp2040")
    rough = counts_of("rp2040-1")
    for i in range(0, len(rough), 3):
        rough[i] += rough[i] // 8
    assert "not smooth" in refused(refine, rough, "rp2040")
    phases = array("I", [0] * 512)  # a sine that runs in step with the sampling
    for i in range(20, 480, 7):
        phases[i] = 40000
    assert "smooth" in refused(refine, phases, "rp2040")


class _Channel:
    source_name = "adc"
    key = "current1"
    stride = 4
    rate_hz = 6400.0

    def __init__(self) -> None:
        self.config = {"slot": 2}
        self.frames = 0
        self.add = self.own

    def own(self, buf, first: int, n: int) -> None:
        self.frames += n
        for i in range(first + 2, first + 4 * n, 4):
            buf[i] = 9  # as a channel does that leaves the table's values there


class _Files:
    def __init__(self) -> None:
        self.content: dict = {}
        self.broken = False

    def read_file(self, name: str) -> bytes:
        return self.content.get(name, b"")

    def write_file(self, name: str, data: bytes) -> None:
        if self.broken:
            raise OSError(28)
        self.content[name] = data


class _Clock:
    def utc_ms(self) -> int:
        return 1760000000000


def test_codes_are_counted_in_place_before_the_channel_takes_them():
    channel = _Channel()
    counting = Counting(channel, 10)
    buf = array("H", [8 * (i & 3) for i in range(4 * 64)])
    channel.add(buf, 0, 64)
    assert counting.counts[2] == 64 == sum(counting.counts)
    assert buf[2] == 9
    assert channel.frames == 64
    if micropython is not None:
        micropython.heap_lock()
        try:
            counting.add(buf, 0, 0)
            for _ in range(5):
                codedensity.count(buf, 2, 64, 4, counting.counts)
        finally:
            micropython.heap_unlock()
    counting.left = 3
    channel.add(buf, 0, 64)
    assert counting.left == 0
    before = sum(counting.counts)
    channel.add(buf, 0, 64)
    assert sum(counting.counts) == before
    counting.stop()
    channel.add(buf, 0, 1)
    assert channel.frames == 64 * 3 + 1


def _refiner(channel: _Channel, files: _Files, lut) -> Refiner:
    return Refiner((channel,), lut, "rp2040", "e661", files, _Clock())


def _counted(refiner: Refiner, counts: array) -> None:
    counting = refiner._counting
    assert counting is not None
    counting.left = 0
    counting.counts[:] = counts


def test_the_command_counts_keeps_uses_and_forgets():
    channel, files = _Channel(), _Files()
    mean = linear.table("rp2040")
    lut = linear.table("rp2040")
    refiner = _refiner(channel, files, lut)
    assert refiner.run({}) == {"state": "mean", "chip": "rp2040"}
    told = refiner.run({"slot": 2, "seconds": 60})
    assert told["state"] == "counting"
    assert told["left_s"] == 60
    assert refiner.run({"channel": "current1"})["state"] == "counting"
    assert refiner.busy
    _counted(refiner, counts_of("rp2040-5"))
    told = refiner.run({})
    assert told["state"] == "kept"
    assert lut == mean  # not yet
    assert refiner.busy
    told = refiner.run({})
    assert told["state"] == "refined"
    assert told["date"] == "2025-10-09"
    assert told["chip_id"] == "e661"
    assert 0.2 < told["linearity_lsb"] < 0.6
    assert not refiner.busy
    assert lut != mean
    assert table_error(lut, "rp2040-5") < 0.3
    own = curvefile.unpack(files.content[curvefile.FILE], "rp2040", "e661")
    adc = {"sources": {"adc": {"linearise": "rp2040"}}}
    assert linear.table_for(adc, own) == lut
    channel.add(array("H", [0] * 8), 0, 1)
    assert channel.frames == 1
    refiner = _refiner(channel, files, lut)
    assert refiner.run({"forget": True})["state"] == "mean"
    assert lut == mean


def test_what_cannot_be_kept_is_not_used():
    channel, files = _Channel(), _Files()
    lut = linear.table("rp2040")
    refiner = _refiner(channel, files, lut)
    refiner.run({"channel": "current1", "seconds": 60})
    _counted(refiner, counts_of("rp2040-5"))
    files.broken = True
    try:
        refiner.run({})
        raise AssertionError("kept")
    except OSError:
        pass
    assert lut == linear.table("rp2040")
    files.broken = False
    assert refiner.run({})["state"] == "kept"  # the counts are still there


def test_arguments_that_make_no_sense():
    channel = _Channel()
    refiner = _refiner(channel, _Files(), linear.table("rp2040"))
    assert "current1 (slot 2)" in refused(refiner.run, {"slot": 1})
    assert "must be 10 to" in refused(refiner.run, {"slot": 2, "seconds": 5})
    assert "must be 10 to" in refused(refiner.run, {"slot": 2, "seconds": True})
    refiner.run({"slot": 2, "seconds": 10})
    assert refiner.run({"stop": True})["state"] == "mean"
    assert channel.add == channel.own
    refiner = _refiner(channel, _Files(), None)
    assert "linearise" in refused(refiner.run, {})


def test_a_file_of_another_chip_or_a_damaged_one_is_refused():
    made = refinement.refine(counts_of("rp2040-2"), "rp2040")
    data = curvefile.pack("rp2040", "e661", "2025-10-09", made)
    assert curvefile.unpack(data, "rp2040", "e661")["stretches"] == made.stretches
    assert "chip_id e661, this is e662" in refused(curvefile.unpack, data, "rp2040", "e662")
    assert "of chip rp2040" in refused(curvefile.unpack, data, "rp2350", "e661")
    for at in range(0, len(data), 7):
        torn = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert curvefile.FILE in refused(curvefile.unpack, torn, "rp2040", "e661"), at
        assert curvefile.FILE in refused(curvefile.unpack, data[:at], "rp2040", "e661"), at
    made.weights = made.weights[:8] + (999,)
    far = curvefile.pack("rp2040", "e661", "", made)
    assert "a weight of 999" in refused(curvefile.unpack, far, "rp2040", "e661")
