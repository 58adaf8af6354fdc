"""Moments against sums of powers of Python's own integers; byte stuffing against its rule."""

from array import array

from clampdevice import kernels

SPECIAL = (0x7E, 0x7D)
TOWARDS_DEVICE = (0x7E, 0x7D, 0x03, 0x04)


def noise(count, low, span, seed=3):
    found = array("H", bytes(2 * count))
    for i in range(count):
        seed = (seed * 1664525 + 1013904223) % (1 << 32)
        found[i] = low + (seed >> 8) % span
    return found


def check_moments(buf, calls, mean):
    mom = array("I", [0] * kernels.MOM_WORDS)
    deviations = []
    for first, n, stride in calls:
        kernels.moments(buf, first, n, stride, mean, mom)
        deviations += [buf[first + i * stride] - mean for i in range(n)]
        wanted = (
            sum([d * d for d in deviations]),
            sum([d * d * d for d in deviations]),
            sum([d * d * d * d for d in deviations]),
            len(deviations),
        )
        assert kernels.read_moments(mom) == wanted, (mean, n, stride)


CALLS = ((0, 0, 1), (0, 1, 1), (3, 127, 1), (0, 128, 1), (1, 129, 1), (2, 130, 3), (0, 400, 1))


def test_moments_near_the_mean():
    for low, span, mean in ((0, 4096, 2048), (30000, 5000, 32768), (0, 4096, 0), (0, 2, 1)):
        check_moments(noise(400, low, span), CALLS, mean)


def test_moments_far_from_the_mean():
    for low, span, mean in ((0, 65536, 32768), (0, 65536, 0), (0, 65536, 65535), (0, 10000, 5000)):
        check_moments(noise(400, low, span), CALLS, mean)


def test_moments_at_the_ends_of_the_range():
    for value, mean in ((65535, 0), (0, 65535), (4095, 0), (0, 4095), (4096, 0), (0, 4096)):
        check_moments(noise(400, value, 1), CALLS, mean)


def test_moments_carry_between_their_words():
    """Starts just below a carry, and above one for the signed third moment."""
    buf = noise(300, 0, 65536)
    deviations = [x - 32768 for x in buf]
    mom = array("I", [0xFFFFFFFF, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0, 5])
    kernels.moments(buf, 0, 300, 1, 32768, mom)
    assert kernels.read_moments(mom) == (
        0xFFFFFFFF + sum([d * d for d in deviations]),
        -1 + sum([d * d * d for d in deviations]),
        0xFFFFFFFFFFFFFFFF + sum([d * d * d * d for d in deviations]),
        305,
    )


def unstuffed(data):
    found = bytearray()
    escape = False
    for b in data:
        if escape:
            found.append(b ^ 0x20)
            escape = False
        elif b == 0x7D:
            escape = True
        else:
            found.append(b)
    assert not escape
    return bytes(found)


def test_stuffing_can_be_undone_and_hides_what_it_must():
    every = bytes(range(256))
    mixed = bytes([0x7E, 0x7D, 0x7D, 0x03, 0x04, 0x04, 0x5D, 0x5E, 0x23, 0x24])
    for src in (every, mixed, bytes(mixed[i % 5] for i in range(70)), b"", b"\x7e"):
        for mask, hidden in ((0, (0x7E,)), (1, (0x7E, 0x03, 0x04)), (2, (0x7E,))):
            dst = bytearray(b"\xaa" * (2 * len(src) + 8))
            end = kernels.stuff(src, len(src), dst, 4, mask)
            body = bytes(dst[4:end])
            assert unstuffed(body) == src
            for b in hidden:
                assert b not in body
            escaped = TOWARDS_DEVICE if mask & 1 else SPECIAL
            assert len(body) == len(src) + len([b for b in src if b in escaped])
            assert bytes(dst[:4]) == b"\xaa" * 4
            assert bytes(dst[end:]) == b"\xaa" * (len(dst) - end)


def test_stuffing_takes_only_what_it_is_told():
    dst = bytearray(10)
    assert kernels.stuff(b"\x01\x02\x7e\x05", 2, dst, 0, 1) == 2
    assert bytes(dst[:3]) == b"\x01\x02\x00"
