"""The flash ring: items in and out, wear, bad pages, and a power cut at every operation."""

import binascii
import struct

from fakes_flash import PAGE, TEARS, Flash, Random, torn

from clampdevice.flashring import BODY, ERASE, ITEM_MAX, PROGRAM, FlashRing

SECTORS = 6


def _item(number: int, size: int) -> bytes:
    body = bytes((number * 7 + i * 13) & 255 for i in range(size))
    return struct.pack("<II", number, binascii.crc32(body)) + body


def _number(payload) -> int:
    number, crc = struct.unpack_from("<II", payload, 0)
    assert binascii.crc32(payload[8:]) == crc, "item " + str(number) + " is not as it was"
    return number


def _all(ring: FlashRing) -> list:
    """Numbers of all items from the tail on."""
    out = []
    found = ring.read(ring.tail)
    while found is not None:
        out.append(_number(found[0]))
        found = ring.read(found[1])
    return out


def _put(ring: FlashRing, payload: bytes) -> None:
    for _ in range(8):
        if ring.put(payload):
            return
        assert ring.step()
    raise AssertionError("no room after 8 steps")


def _settle(ring: FlashRing) -> None:
    while ring.step():
        pass


def test_items_come_back_in_order_across_pages_and_from_ram():
    ring = FlashRing(Flash(SECTORS), SECTORS)
    for number in range(200):
        _put(ring, _item(number, number * 11 % 60))
        assert _all(ring) == list(range(number + 1))
    assert 200 * 38 // BODY - 1 <= ring.pages.programs <= 200 * 42 // BODY
    assert ring.crc_errors == ring.pages.failed_programs == 0


def test_one_operation_a_step_and_it_is_the_one_that_was_said():
    flash = Flash(SECTORS)
    done: list = []
    flash.before = lambda flash, op, place, page: done.append(op)
    ring = FlashRing(flash, SECTORS)
    for number in range(900):
        while not ring.put(_item(number, 40)):
            due = ring.due()
            del done[:]
            assert ring.step() == due
            assert done == [{PROGRAM: "program", ERASE: "erase"}[due]]
    _settle(ring)
    assert ring.due() == 0 and ring.step() == 0


def test_a_full_ring_drops_its_oldest_sector_and_says_which_items():
    dropped: list = []
    ring = FlashRing(Flash(SECTORS), SECTORS, lambda payload: dropped.append(_number(payload)))
    for number in range(1000):
        _put(ring, _item(number, 40))
        if number % 50 == 0:
            kept = _all(ring)
            assert dropped + kept == list(range(number + 1))
    assert len(_all(ring)) >= 3 * 16 * BODY // 50


def test_what_was_freed_needs_no_drop_and_no_second_reading():
    dropped: list = []
    flash = Flash(SECTORS)
    ring = FlashRing(flash, SECTORS, dropped.append)
    expected: list = []
    for number in range(2000):
        _put(ring, _item(number, 40))
        expected.append(number)
        if len(expected) > 100:
            found = ring.read(ring.tail)
            assert found is not None
            assert _number(found[0]) == expected.pop(0)
            ring.free(found[1])
    assert dropped == []
    again = FlashRing(flash, SECTORS)
    left = _all(again)
    durable = [number for number in expected if number in left]
    assert left == list(range(left[0], durable[-1] + 1))
    # One sector's worth may come twice, not more.
    assert expected[0] - left[0] <= 16 * PAGE // 50


def test_a_drained_ring_stays_drained_after_a_cut():
    flash = Flash(SECTORS)
    ring = FlashRing(flash, SECTORS)
    for number in range(100):
        _put(ring, _item(number, 40))
    ring.flush()
    _settle(ring)
    at = ring.tail
    while (found := ring.read(at)) is not None:
        at = found[1]
    ring.free(at)
    _settle(ring)
    assert _all(ring) == []
    again = FlashRing(flash, SECTORS)
    assert _all(again) == []
    _put(again, _item(7, 40))
    assert _all(again) == [7]


def test_what_is_freed_after_a_cut_frees_no_more():
    flash = Flash(SECTORS)
    ring = FlashRing(flash, SECTORS)
    for number in range(100):
        _put(ring, _item(number, 40))
    ring.flush()
    _settle(ring)
    again = FlashRing(flash, SECTORS)
    for number in range(100):
        assert _all(again) == list(range(number, 100))
        found = again.read(again.tail)
        assert found is not None
        again.free(found[1])
    assert _all(again) == [] and again.tail >> 8 == again.head


def test_what_is_free_before_it_was_programmed_is_never_programmed():
    flash = Flash(SECTORS)
    ring = FlashRing(flash, SECTORS)
    for number in range(500):
        _put(ring, _item(number, 40))
        ring.free(ring.end)
        _settle(ring)
    assert ring.pages.programs == ring.pages.erases == 0
    assert _all(ring) == []


def test_wear_is_even():
    flash = Flash(16)
    ring = FlashRing(flash, 16)
    for number in range(6000):
        _put(ring, _item(number, 100))
    data = flash.wear[2:]
    assert max(data) - min(data) <= 1 and min(data) >= 8
    # Each sector that is entered costs one header: one erase of a header in sixteen of them.
    assert sum(flash.wear[:2]) <= sum(data) // 16 + 1
    assert ring.pages.erases == sum(flash.wear)


def test_recovery_reads_no_more_than_it_says():
    flash = Flash(14)
    ring = FlashRing(flash, 14)
    for number in range(1500):
        _put(ring, _item(number, 100))
    flash.reads = 0
    FlashRing(flash, 14)
    assert flash.reads <= 32 + 12 + 24


def test_a_bad_page_costs_its_items_and_is_told():
    flash = Flash(SECTORS)
    ring = FlashRing(flash, SECTORS)
    for number in range(60):
        _put(ring, _item(number, 40))
    flash.data[32 * PAGE + 5 * PAGE + 77] ^= 16
    again = FlashRing(flash, SECTORS)
    got = _all(again)
    missing = [number for number in range(got[-1]) if number not in got]
    assert again.damaged and again.crc_errors >= 1
    assert 4 <= len(missing) <= 7 and missing == list(range(missing[0], missing[-1] + 1))


def test_a_page_that_does_not_take_is_written_again_elsewhere():
    flash = Flash(SECTORS)
    flash.fails = {33, 37, 38, 47, 48, 16, 17}
    ring = FlashRing(flash, SECTORS)
    for number in range(200):
        _put(ring, _item(number, 40))
        if number == 30:
            ring.save()
    assert _all(ring) == list(range(200))
    assert ring.pages.failed_programs == 7 and not ring.damaged
    again = FlashRing(flash, SECTORS)
    got = _all(again)
    assert got == list(range(len(got))) and len(got) > 180 and not again.damaged


def test_another_size_starts_anew_and_reads_nothing_old():
    flash = Flash(12)
    ring = FlashRing(flash, 12)
    for number in range(1500):
        _put(ring, _item(number, 40))
    ring.make_note = lambda: b"kept"  # pyright: ignore[reportAttributeAccessIssue]
    ring.save()
    _settle(ring)
    again = FlashRing(flash, 9)
    assert _all(again) == [] and again.note == b"kept"
    for number in range(900):
        _put(again, _item(number, 40))
    kept = _all(again)
    assert kept == list(range(kept[0], 900)) and len(kept) > 250
    assert _all(FlashRing(flash, 9))[0] == kept[0]


def test_an_item_is_refused_only_if_it_never_fits():
    ring = FlashRing(Flash(SECTORS), SECTORS)
    for _ in range(5):
        _put(ring, _item(1, 20))
        _put(ring, _item(2, ITEM_MAX - 8))
    assert _all(ring) == [1, 2] * 5
    for bad in (lambda: ring.put(bytes(ITEM_MAX + 1)), lambda: FlashRing(Flash(4), 4)):
        try:
            bad()
        except ValueError as error:
            assert "ring" in str(error) or "pages" in str(error)
        else:
            raise AssertionError("taken")


class _Run:
    """A ring at work, and after every operation what must and what may be read after a cut."""

    def __init__(self, seed: int, sectors: int = SECTORS) -> None:
        self.rng = Random(seed)
        self.drains = seed % 2  # else it is full most of the time
        self.flash = Flash(sectors)
        self.sectors = sectors
        self.ends: dict = {}
        self.freed: set = set()
        self.gone: set = set()  # dropped, and a header says so
        self.going: list = []
        self.notes = [b""]
        self.note_kept = self.note_written = 0
        self.images = 0
        self.cuts = 0
        self.ring = FlashRing(self.flash, sectors, lambda p: self.going.append(_number(p)))
        self.number = 0

    def work(self) -> None:
        """Puts an item, and now and then frees some, saves a note or flushes."""
        rng, ring = self.rng, self.ring
        payload = _item(self.number, (rng.below(8) and rng.below(50)) or rng.below(300))
        while not ring.put(payload):
            self.step()
        self.ends[self.number] = ring.end
        self.number += 1
        kind = rng.below(40)
        if kind == 0:
            ring.flush()
        elif kind == 1:
            self.notes.append(b"note" + str(self.number).encode())
            ring.make_note = lambda: self.notes[-1]  # pyright: ignore[reportAttributeAccessIssue]
            ring.save()
        elif kind < (8 if self.drains else 3):
            for _ in range(rng.below(60)):
                found = ring.read(ring.tail)
                if found is None:
                    break
                number = _number(found[0])
                self.freed.add(number)
                ring.free(found[1])
        if rng.below(3):
            self.step()

    def step(self) -> None:
        self.ring.step()
        self.gone.update(self.going)
        self.going = []
        self.note_kept = self.note_written

    def durable(self, number: int) -> bool:
        return self.ends[number] >> 8 < self.ring.head

    def check(self, data: bytearray, finished: bool) -> None:
        """Opens the ring on an image after a cut, and looks at all that it reads."""
        self.images += 1
        image = Flash(0)
        image.data = data
        image.wear = [0] * self.sectors
        dropped: list = []
        ring = FlashRing(image, self.sectors, lambda payload: dropped.append(_number(payload)))
        got = _all(ring)
        assert got == sorted(set(got)), "in order, none twice"
        have = set(got)
        for number in self.ends:
            if number in have:
                assert number not in self.gone, "said to be dropped and read again"
            elif number not in self.freed and number not in self.gone:
                assert not self.durable(number) or number in self.going, number
        assert not ring.damaged and not ring.crc_errors
        assert ring.note in self.notes[self.note_kept :], ring.note
        # It goes on from there, and survives the next cut.
        for number in range(self.number + 1000, self.number + 1000 + 12):
            _put(ring, _item(number, 40))
        ring.flush()
        _settle(ring)
        want = [number for number in got if number not in dropped]
        want += list(range(self.number + 1000, self.number + 1000 + 12))
        assert _all(FlashRing(image, self.sectors)) == want


def cut_everywhere(seed: int, operations: int, tears: tuple = TEARS) -> _Run:
    """A run of so many operations, cut at each of them in every way."""
    run = _Run(seed)
    rng = Random(seed + 99)

    def before(flash, op: str, place: int, page: bytes) -> None:
        run.cuts += 1
        if op == "program" and place < 32:
            run.note_written = len(run.notes) - 1
        for tear in tears:
            run.check(torn(flash.data, op, place, page, tear, rng), tear == "finished")

    run.flash.before = before
    while run.cuts < operations:
        run.work()
    return run


def test_a_power_cut_at_every_operation_loses_only_what_was_not_programmed():
    run = cut_everywhere(1, 40, ("in part", "flipped"))
    assert run.images >= 80 and run.number > 50


def live_and_die(seed: int, lives: int) -> int:
    """Power-up after power-up on one flash, each cut in an operation; returns the operations."""
    rng = Random(seed)
    flash = Flash(SECTORS)
    calm = flash.before
    number = operations = 0
    expected: list = []  # durable and not freed, oldest first
    for _life in range(lives):
        left = 1 + rng.below(40)
        dropped: list = []
        note = dropped.append
        ring = FlashRing(flash, SECTORS, lambda payload, note=note: note(_number(payload)))
        got = _all(ring)
        assert [number for number in expected if number not in got] == []
        assert not ring.damaged
        kept = got
        ends: dict = {}
        while left:
            if ring.due():
                due = ring.due()
                left -= 1
                operations += 1
                if left:
                    assert ring.step() == due
                    continue
                data = []

                def before(flash, op, place, page, data=data) -> None:
                    data.append(torn(flash.data, op, place, page, TEARS[rng.below(4)], rng))

                head = ring.head
                flash.before = before
                ring.step()
                flash.before = calm
                flash.data = data[0]
                expected = [n for n in kept if ends.get(n, 0) >> 8 < head and n not in dropped]
            elif rng.below(60) == 0:
                ring.flush()
            elif rng.below(30) == 0 and seed % 2:
                for _ in range(rng.below(30)):
                    found = ring.read(ring.tail)
                    if found is not None:
                        kept = [n for n in kept if n != _number(found[0])]
                        ring.free(found[1])
            elif ring.put(_item(number, rng.below(80))):
                ends[number] = ring.end
                kept.append(number)
                number += 1
    return operations


def test_life_after_life_loses_only_what_was_not_programmed():
    assert live_and_die(1, 30) > 300
    assert live_and_die(2, 30) > 300
