"""The RAM spool: order, acknowledgement by ranges, retransmission, dropping with a Gap, wrap."""

from clampdevice.spool import LOSSES_MAX, SPOOL_FULL, Loss, Spool
from clampwire.codec import Codec

CODEC = Codec()


def _record(spool: Spool, boot: int = 7, pad: int = 0) -> bytes:
    seq = spool.next_seq
    return CODEC.encode("Record", boot, seq, 1000 * (seq % 1000 + 1), 5, 1, b"", b"v" * pad)


def _filled(count: int, ram_bytes: int = 4096, ram_items: int = 64, first_seq: int = 0) -> Spool:
    spool = Spool(ram_bytes, ram_items, first_seq)
    for _ in range(count):
        spool.put(_record(spool))
    return spool


def _send_all(spool: Spool, now_ms: int, window: int = 1000) -> list:
    out = []
    while True:
        seq = spool.next_history(now_ms, 3000, window)
        if seq < 0:
            return out
        spool.mark_sent(seq, now_ms)
        out.append(seq)


def test_items_come_back_as_they_went_in():
    spool = Spool(1024, 16)
    payloads = []
    for pad in (0, 5, 100, 1):
        payload = _record(spool, pad=pad)
        payloads.append(payload)
        spool.put(payload)
    assert [bytes(spool.payload(seq)) for seq in range(4)] == payloads


def test_history_goes_oldest_first_within_the_window():
    spool = _filled(10)
    assert _send_all(spool, 100, window=4) == [0, 1, 2, 3]
    assert spool.in_flight == 4
    assert spool.ack(7, 0, 1) == 2
    assert _send_all(spool, 200, window=4) == [4, 5]


def test_acks_are_ranges_of_one_boot():
    spool = _filled(10)
    _send_all(spool, 100)
    assert spool.ack(8, 0, 9) == 0, "another boot"
    assert spool.ack(7, 5, 6) == 2
    assert len(spool) == 10 and spool.oldest_seq == 0, "a hole waits for what is before it"
    assert spool.ack(7, 0, 4) == 5
    assert spool.oldest_seq == 7 and spool.in_flight == 3
    assert spool.ack(7, 0, 6) == 0, "twice"
    assert spool.ack(7, 9, 8) == 0, "the wrong way round"
    assert spool.ack(7, 0, 0x7FFFFFFF) == 3
    assert len(spool) == 0 and spool.in_flight == 0


def test_what_got_no_ack_goes_again_and_nothing_else():
    spool = _filled(6)
    _send_all(spool, 100)
    spool.ack(7, 0, 1)
    spool.ack(7, 3, 5)
    assert _send_all(spool, 3000) == []
    assert _send_all(spool, 3101) == [2]
    assert spool.resent == 1 and spool.in_flight == 1


def test_a_lost_item_goes_again_even_while_the_window_is_full():
    spool = _filled(20)
    assert _send_all(spool, 100, window=4) == [0, 1, 2, 3]
    spool.ack(7, 1, 3)
    assert _send_all(spool, 100, window=1) == []
    assert _send_all(spool, 4000, window=1) == [0]


def test_live_items_that_were_lost_do_not_hold_the_window_against_older_ones():
    for first_seq in (0, 0xFFFFFFF0):
        spool = _filled(60, first_seq=first_seq)
        live = [(first_seq + i) & 0xFFFFFFFF for i in range(28, 60)]
        for seq in live:
            spool.mark_sent(seq, 1000)
        # A window of them fills it: nothing goes while their Acks may still come.
        assert _send_all(spool, 3900, 16) == []
        taken = []
        for now_ms in range(4000, 60000, 20):
            seq = spool.next_history(now_ms, 3000, 16)
            if seq >= 0:
                spool.mark_sent(seq, now_ms)
                taken.append(seq)
                spool.ack(7, seq, seq)
        assert len(spool) == 0
        older = [(first_seq + i) & 0xFFFFFFFF for i in range(28)]
        assert set(taken[:17]) <= set(live)  # until the window has a place
        assert [seq for seq in taken if seq in older] == older
        assert sorted(taken) == sorted(live + older)


def test_a_new_session_sends_all_again():
    spool = _filled(5)
    _send_all(spool, 100)
    spool.ack(7, 0, 1)
    spool.new_session()
    assert spool.in_flight == 0
    assert _send_all(spool, 150) == [2, 3, 4]


def test_a_full_ring_drops_the_oldest_and_says_which():
    spool = _filled(70, ram_bytes=8192, ram_items=64)
    assert len(spool) == 64 and spool.dropped == 6
    assert len(spool.losses) == 1
    loss = spool.losses[0]
    assert (loss.reason, loss.first, loss.last) == (SPOOL_FULL, 0, 5)
    assert (loss.from_ms, loss.to_ms) == (0, 6000)


def test_the_ring_holds_what_it_holds_at_every_size():
    for pad in range(0, 60, 7):
        spool = Spool(500, 64)
        for i in range(200):
            spool.put(_record(spool, pad=(pad + i * 13) % 60))
            for seq in range(spool.oldest_seq, spool.next_seq):
                name, message = CODEC.decode(bytes(spool.payload(seq)))
                assert name == "Record" and message.seq == seq
        assert spool.dropped + len(spool) == 200
        assert spool.losses[0].first == 0 and spool.losses[0].last == spool.oldest_seq - 1


def test_dropping_what_was_acknowledged_is_no_loss():
    spool = _filled(64, ram_bytes=8192)
    _send_all(spool, 100)
    spool.ack(7, 1, 63)
    spool.put(_record(spool))
    assert spool.dropped == 1 and spool.losses[0].last == 0
    assert len(spool) == 1, "the acknowledged ones behind the dropped one are free"


def test_a_dropped_gap_is_told_again():
    spool = Spool(4096, 4)
    spool.put(CODEC.encode("Gap", 7, 0, 5000, 2, 3, 1, 0, 4000, 4900, 512))
    for _ in range(4):
        spool.put(_record(spool))
    assert [(x.reason, x.channel, x.samples) for x in spool.losses] == [
        (2, 3, 512),
        (SPOOL_FULL, 255, 0),
    ]
    assert (spool.losses[0].from_ms, spool.losses[0].to_ms) == (4000, 4900)


def test_losses_are_joined_when_there_are_too_many():
    spool = Spool(4096, 4)
    for i in range(3 * LOSSES_MAX):
        spool.lost(Loss(SPOOL_FULL, 255, 10 * i, 10 * i + 1, (1000 * i, 1000 * i + 5), 1))
    assert len(spool.losses) == LOSSES_MAX
    assert sum(loss.samples for loss in spool.losses) == 3 * LOSSES_MAX
    covered = set()
    for loss in spool.losses:
        covered.update(range(loss.first, loss.last + 1))
    assert all(10 * i in covered for i in range(3 * LOSSES_MAX))


def test_rebase_writes_the_boot_number_into_what_waits():
    spool = _filled(3)
    spool.rebase(9)
    assert [CODEC.decode(bytes(spool.payload(seq)))[1].boot for seq in range(3)] == [9, 9, 9]
    spool.mark_sent(0, 1)
    try:
        spool.rebase(10)
    except ValueError as error:
        assert "10" in str(error)
    else:
        raise AssertionError("a sent item must keep its name")


def test_numbers_wrap():
    spool = _filled(40, first_seq=0xFFFFFFF0)
    assert spool.next_seq == 24 and len(spool) == 40
    sent = _send_all(spool, 100)
    assert sent[0] == 0xFFFFFFF0 and sent[16] == 0 and len(sent) == 40
    assert spool.ack(7, 0xFFFFFFF8, 3) == 12
    assert spool.ack(7, 0xFFFFFFF0, 0xFFFFFFF7) == 8
    assert spool.oldest_seq == 4
    for _ in range(100):
        spool.put(_record(spool))
    loss = spool.losses[0]
    assert loss.first == 4 and loss.last == spool.oldest_seq - 1


def test_an_item_that_never_fits_is_refused():
    spool = Spool(64, 4)
    try:
        spool.put(b"x" * 65)
    except ValueError as error:
        assert "65 bytes" in str(error)
    else:
        raise AssertionError("taken")
    try:
        Spool(64, 1)
    except ValueError as error:
        assert "1" in str(error)
    else:
        raise AssertionError("taken")
