"""The account of a reader with two lanes, against a model that knows of every single item."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clampgateway.feed.lanes import SPANS_MAX, Lanes, Span
from clampgateway.feed.ranges import LIVE, MARKER, OPEN_END, OTHERS, RANGES_MAX, RECORDS, Ranges
from clampgateway.model import EVENT, RECORD, Parked

DEVICES = ("lathe", "mill")
KINDS = {RECORD: RECORDS, EVENT: OTHERS}


class LanesMachine(RuleBasedStateMachine):
    """Any order of sending, answering, refusing, losing connections, catching up, restarting.

    `allowed` is how often an item may have been delivered: once, and once more for each time that
    its answer was lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes(0, 0, 0)
        self.items: list[tuple[str, int]] = []  # of id 1, 2, ...
        self.delivered: dict[int, int] = {}
        self.allowed: dict[int, int] = {}
        self.flying: list[int] = []
        self.history: list[int] = []  # ids of the backlog in the order they were delivered

    def of(self, number: int) -> tuple[str, int]:
        return self.items[number - 1]

    def arrive(self, number: int) -> None:
        self.delivered[number] = self.delivered.get(number, 0) + 1
        most = self.allowed.get(number, 1)
        assert self.delivered[number] <= most, f"item {number} was published without need"

    def excuse(self, number: int) -> None:
        self.allowed[number] = max(self.allowed.get(number, 1), self.delivered.get(number, 0) + 1)

    @rule(devices=st.lists(st.sampled_from(DEVICES), min_size=1, max_size=6), data=st.data())
    def commit(self, devices: list[str], data: st.DataObject) -> None:
        for device in devices:
            self.items.append((device, data.draw(st.sampled_from([RECORD, RECORD, EVENT]))))

    @precondition(lambda self: self.lanes.taken < len(self.items))
    @rule(what=st.sampled_from(["send", "send", "send", "late", "closed", "nothing"]))
    def live(self, what: str) -> None:
        number = self.lanes.taken + 1
        device, kind = self.of(number)
        if what == "send":
            self.lanes.sent(number)
            self.lanes.ranges.seal(LIVE, device, KINDS[kind])
            self.flying.append(number)
            return
        if what == "nothing":  # it cannot be read
            self.delivered[number] = 1
            self.allowed[number] = 100  # that it cannot is found out again
        else:
            topic, reason = ("", 0) if what == "late" else (f"{device}/{kind}", 0x87)
            self.lanes.ranges.put(LIVE, topic, device, KINDS[kind], number, reason)
        self.lanes.passed(number)

    @precondition(lambda self: self.flying)
    @rule(refused=st.booleans(), at=st.sampled_from([0, 0, 0, -1]))
    def answer(self, refused: bool, at: int) -> None:
        number = self.flying.pop(at)
        device, kind = self.of(number)
        if refused:
            self.lanes.ranges.put(LIVE, f"{device}/{kind}", device, KINDS[kind], number, 0x87)
            # Its range may reach over what was sent behind it and taken.
            for later in range(number, len(self.items) + 1):
                self.excuse(later)
        else:
            self.arrive(number)
        self.lanes.answered(number)

    @rule()
    def jump(self) -> None:
        self.lanes.jump(len(self.items))

    @rule()
    def reconnect(self) -> None:
        for number in self.flying:
            self.excuse(number)
        self.flying.clear()
        self.lanes.lost()
        self.lanes.jump(len(self.items))

    @rule(kept=st.booleans())
    def restart(self, kept: bool) -> None:
        # No single items are durable: from the first that was in flight, all comes again.
        for number in range(min(self.flying, default=self.lanes.taken), self.lanes.taken + 1):
            self.excuse(number)
        self.flying.clear()
        cursors, parked = self.lanes.cursors(), self.lanes.parked()
        self.lanes = Lanes(*cursors, parked)
        if kept:
            assert self.lanes.cursors() == cursors
        self.check_nothing_is_forgotten()

    @precondition(lambda self: self.lanes.span is not None)
    @rule(count=st.integers(1, 8), refused=st.sampled_from([None, None, "lathe"]))
    def catch_up(self, count: int, refused: str | None) -> None:
        span = self.lanes.span
        assert span is not None
        up_to = min(span.to, span.after + count)
        for number in range(span.after + 1, up_to + 1):
            device, kind = self.of(number)
            if self.lanes.ranges.covers(device, kind, number):
                continue
            if device == refused and kind == RECORD:
                self.lanes.ranges.put("backlog", "lathe/history", device, RECORDS, number, 0x87)
            else:
                self.lanes.ranges.seal("backlog", device, KINDS[kind])
                self.arrive(number)
        self.lanes.backlog_done(up_to)

    @precondition(lambda self: self.lanes.ranges.oldest("") is not None)
    @rule(count=st.integers(1, 8), ok=st.sampled_from([True, True, False]))
    def drain(self, count: int, ok: bool) -> None:
        each = self.lanes.ranges.oldest("")
        assert each is not None
        if not ok:
            self.lanes.ranges.refuse(each, f"{each.device}/history", 0x87)
            return
        up_to = min(each.last, each.first + count - 1)
        for number in range(each.first, up_to + 1):
            device, kind = self.of(number)
            if device == each.device and each.kinds >> kind & 1:
                self.arrive(number)
        self.lanes.ranges.drained(each, up_to)

    @rule(device=st.sampled_from(DEVICES), what=st.sampled_from([RECORD, EVENT, "history"]))
    def reopen(self, device: str, what: object) -> None:
        topic = f"{device}/{what}"
        self.lanes.ranges.reopen(topic)
        assert self.lanes.ranges.oldest(topic) is None

    @invariant()
    def check_nothing_is_forgotten(self) -> None:
        """What did not arrive is on its way, put aside, backlog, or still to come."""
        for lanes in (self.lanes, Lanes(*self.lanes.cursors(), self.lanes.parked())):
            low, to, live = lanes.cursors()
            assert low <= to <= live <= lanes.taken or lanes.open
            for number in range(1, len(self.items) + 1):
                if self.delivered.get(number) or (number in self.flying and lanes is self.lanes):
                    continue
                device, kind = self.of(number)
                waits = (
                    number > lanes.taken
                    or lanes.ranges.covers(device, kind, number)
                    or any(span.after < number <= span.to for span in lanes._spans)
                )
                assert waits, f"item {number} is forgotten"
                assert number > low or lanes.ranges.covers(device, kind, number)

    @invariant()
    def places_are_all_named(self) -> None:
        places = self.lanes.places()
        for each in self.lanes.ranges:
            assert {each.first - 1, each.last} <= set(places)
        assert min(places) <= self.lanes.cursors()[0]

    def teardown(self) -> None:
        """With a broker that takes everything, everything arrives."""
        self.reconnect()
        for _ in range(10 * len(self.items) + 10):
            if self.lanes.span is not None:
                self.catch_up(100, None)
            elif self.lanes.ranges.count:
                for each in tuple(self.lanes.ranges):
                    self.lanes.ranges.reopen(each.topic)
                self.drain(100, ok=True)
        assert set(self.delivered) == set(range(1, len(self.items) + 1))
        head = len(self.items)
        assert self.lanes.cursors() == (head, head, head)
        assert self.lanes.parked() == ()


LanesMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestLanes = LanesMachine.TestCase


def test_a_range_that_grows_is_written_once() -> None:
    ranges = Ranges()
    ranges.put(LIVE, "", "lathe", RECORDS, 5)
    before = ranges.parked()
    assert before == (Parked("", "lathe", RECORDS, 5, OPEN_END, 0),)
    for number in range(6, 100):
        ranges.put(LIVE, "", "lathe", RECORDS, number)
    assert ranges.parked() is before, "growing costs no commit"
    ranges.seal(LIVE, "lathe", RECORDS)
    assert ranges.parked() == (Parked("", "lathe", RECORDS, 5, 99, 0),)
    loaded = Ranges()
    loaded.load(before[0], 42)
    assert loaded.parked() == (Parked("", "lathe", RECORDS, 5, 42, 0),), "up to the live mark"


def test_many_outages_are_bounded_and_forget_nothing() -> None:
    lanes = Lanes(0, 0, 0)
    for number in range(1, 40 * SPANS_MAX, 4):
        lanes.jump(number)  # left out
        lanes.sent(number + 1)
        lanes.answered(number + 1)
    assert len(lanes._spans) <= SPANS_MAX
    assert lanes.joined_spans > 0
    assert lanes._spans[0] == Span(0, 1) or lanes._spans[0].after == 0
    for number in range(1, lanes.taken, 4):  # what was left out
        assert any(after < number <= to for after, to in lanes._spans)


def test_many_ranges_are_bounded_and_forget_nothing() -> None:
    ranges = Ranges()
    marks = [10 * RANGES_MAX * 3 + number for number in range(5)]
    for number in marks:
        ranges.mark("mill", number)
    for number in range(1, 3 * RANGES_MAX):
        ranges.put(LIVE, "", "lathe", RECORDS, 10 * number)
        ranges.seal(LIVE, "lathe", RECORDS)
    assert ranges.count <= RANGES_MAX + 1
    assert ranges.joined > 0
    assert all(ranges.covers("lathe", RECORD, 10 * n) for n in range(1, 3 * RANGES_MAX))
    kept = [each.first for each in ranges if each.kinds == MARKER]
    assert kept == marks, "what stands for others is never joined"
