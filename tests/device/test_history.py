"""Spool, condensation and flash ring together: outages, cuts, every item accounted for."""

from fakes_flash import Random
from fakes_history import TIMEOUT_MS, Device, Gateway, drain

from clampdevice.history import ERASE_US, PATIENCE_MS, record_span


def test_an_outage_is_condensed_and_comes_back_oldest_first_without_overlap():
    device, gateway = Device(), Gateway()
    for second in range(400):
        device.second(event=second % 37 == 3)
    assert device.history.condensed > 300 and not device.spool.dropped
    order = drain(device, gateway)
    # An event inside a group comes before the record of its group: by name they rise.
    assert order == sorted(order)
    _fine, condensed, announced = gateway.check(device.made)
    assert announced == 0 and gateway.twice == 0
    assert condensed == device.history.condensed
    assert device.history.ring.tail >> 8 == device.history.ring.head


def test_what_was_sent_goes_down_as_it_is():
    device, gateway = Device(), Gateway()
    for _ in range(30):
        device.second()
    spool = device.spool
    sent = []
    while True:  # a gateway that commits, and whose Acks are lost
        seq = spool.next_history(device.now_ms, TIMEOUT_MS, 16)
        if seq < 0:
            break
        spool.mark_sent(seq, device.now_ms)
        sent.append(gateway.take(spool.payload(seq)))
    assert len(sent) == 16
    spool.new_session()
    for _ in range(200):
        device.second()
    assert device.history.moved >= 16
    drain(device, gateway)
    _fine, condensed, announced = gateway.check(device.made)
    assert announced == 0 and condensed > 100 and gateway.twice == 16


def test_a_cut_in_an_outage_loses_the_ram_and_says_so():
    device, gateway = Device(), Gateway()
    for reboot in range(3):
        for second in range(120 if reboot != 1 else 3):
            device.second(event=second % 40 == 7)
        device.power_up()
    for _ in range(50):
        device.second()
    drain(device, gateway)
    _fine, condensed, announced = gateway.check(device.made)
    assert gateway.twice == 0 and condensed > 100, condensed
    # Of each power-up, what its RAM held; the third made so little that all of it was there.
    assert 2 * 20 <= announced <= 3 * (64 + 16), announced


def test_acks_free_both_layers_and_what_got_none_goes_again():
    device, gateway = Device(), Gateway()
    for _ in range(250):
        device.second()
    rng = Random(3)
    drain(device, gateway, lambda: rng.below(4) == 0)
    assert device.history.resent > 10 and gateway.twice > 5
    assert gateway.check(device.made)[2] == 0


def test_nothing_is_erased_while_the_sampler_has_no_time_for_it_unless_it_never_has():
    device = Device()
    for _ in range(200):
        device.second(room=ERASE_US - 1)
        if device.history.ring.due():
            break
    assert not device.history.ring.pages.erases and not device.history.forced
    for _ in range(PATIENCE_MS // 1000 + 1):
        device.second(room=ERASE_US - 1)
    assert device.history.ring.pages.erases == 1 and device.history.forced == 1


def test_numbers_wrap_on_the_way_down_and_up():
    device, gateway = Device(), Gateway()
    device.made = {}
    device.power_up(0xFFFFFFA0)
    for _ in range(250):
        device.second()
    history = device.history
    history.new_session()
    names = []
    while (payload := history.next(0, TIMEOUT_MS, 16)) is not None:
        first, windows = record_span(payload)
        key = gateway.take(payload)
        names.append((first, key[1], windows))
        history.ack(key[0], key[1], key[1])
    after = names[2:]  # the power cut's Gap and the start came first
    for index in range(1, len(after)):
        first, _last, windows = after[index]
        assert first == (after[index - 1][1] + 1) & 0xFFFFFFFF and windows == 50
    assert any(last < first for first, last, _windows in after)
