"""The layers of memory once more, in runs too long for the heap of a board."""

import struct

from fakes_history import CODEC, GAP, HEADROOM_US, Device, Gateway, cut_everywhere, drain

from clampdevice.spool import POWER_CUT, SPOOL_FULL
from clampwire.messages import GAP_REASONS, code_of


def test_a_full_ring_drops_the_oldest_and_says_which_over_power_ups():
    device, gateway = Device(sectors=5), Gateway()
    for _boot in range(4):
        for second in range(6000):
            device.second(event=second % 50 == 7)
        device.power_up()
    for _ in range(50):
        device.second()
    drain(device, gateway)
    _fine, _condensed, announced = gateway.check(device.made)
    assert announced > 4000, announced
    reasons = [CODEC.decode(p)[1].reason for p in gateway.got.values() if p[0] == GAP]
    assert SPOOL_FULL in reasons and POWER_CUT in reasons


def test_a_loss_is_told_until_its_gap_is_acknowledged():
    device = Device(sectors=5)
    for _ in range(6000):
        device.second()
    assert device.history.dropped and device.spool.losses
    # Told, and the power fails before the Ack: told again by the next power-up.
    loss = device.spool.losses.pop(0)
    device.tell(loss)
    device.history.ring.save()
    device.history.ring.step()
    device.history.ring.step()
    device.power_up()
    again = [(known.boot, known.first, known.last) for known in device.spool.losses]
    assert (device.boot - 1, loss.first, loss.last) in again
    gateway = Gateway()
    drain(device, gateway)
    gateway.check(device.made)
    device.power_up()
    assert device.spool.losses == []


def test_a_power_up_that_gets_another_number_takes_its_items_along():
    device, gateway = Device(), Gateway()
    for _ in range(900):
        device.second()
    made, device.made = device.made, {}
    for (_boot, seq), payload in made.items():
        device.made[(58, seq)] = payload[:1] + struct.pack("<I", 58) + payload[5:]
    device.history.rename(58)
    device.spool.rebase(58)
    device.boot = 58
    while device.history.work(0, lambda _us: HEADROOM_US, lambda: 0):
        pass
    device.power_up()
    assert device.boot == 59
    drain(device, gateway)
    _fine, condensed, announced = gateway.check(device.made)
    assert condensed > 600 and announced < 200


def test_what_ram_dropped_is_told_after_a_cut_though_younger_items_are_in_flash():
    device, gateway = Device(), Gateway()
    for _ in range(400):
        device.second()
    for _ in range(200):  # the sampler leaves no time, and patience is not over yet
        device.history._waits_since = device.now_ms + 2000
        device.second(room=0)
    assert device.spool.dropped > 20
    for _ in range(400):
        device.second()
    # Nobody was told before the cut: the header was.
    device.power_up()
    drain(device, gateway)
    _fine, condensed, announced = gateway.check(device.made)
    assert condensed > 600
    assert announced > 20
    assert device.boot == 2


def test_a_bad_page_is_told():
    device, gateway = Device(), Gateway()
    for _ in range(1500):
        device.second()
    device.flash.data[(32 + 4) * 256 + 50] ^= 4
    drain(device, gateway)
    _fine, _condensed, announced = gateway.check(device.made)
    assert 30 < announced < 120
    reasons = [CODEC.decode(p)[1].reason for p in gateway.got.values() if p[0] == GAP]
    assert reasons == [code_of(GAP_REASONS, "flash_error")]


def test_a_cut_at_every_operation_of_an_outage_leaves_nothing_unaccounted():
    counts = cut_everywhere(1, 6, ("flipped",))
    assert counts["images"] >= 6 and counts["announced"]
