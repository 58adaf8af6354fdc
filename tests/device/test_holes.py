"""Small holes of the heap are taken, wide ones are left."""

import gc
import struct
import sys

from clampdevice.borrow import fill_holes

MICROPYTHON = sys.implementation.name == "micropython"
PIECE = 64


def _full_heap() -> tuple:
    """(nodes [piece, node before], how many), made until there was no room."""
    node: list = []
    count = 0
    try:
        while True:
            node = [bytearray(PIECE), node]
            count += 1
    except MemoryError:
        pass
    while count % 32:  # some room, without which nothing more can be done
        node = node[1]
        count -= 1
    node = node[1]
    return node, count - 1


def _jumps() -> int:
    """How often the first 100 free blocks are not in a row, by the places of as many pairs."""
    gc.collect()
    pair = None
    last = jumps = 0
    left = 100
    while left:
        pair = (pair, None)
        jumps += id(pair) != last + 4 * struct.calcsize("P")
        last = id(pair)
        left -= 1
    return jumps


def _fragmented() -> tuple:
    """A heap in which every third piece is free, and somewhere behind them many in a row."""
    nodes, count = _full_heap()
    node = nodes
    for place in range(count // 2):
        if place % 3 == 0:
            node[0] = None
        node = node[1]
    after = node
    for _ in range(200):
        after = after[1]
    node[1] = after
    pad = None
    while _jumps() < 20:  # what lies before them
        for _ in range(8):
            pad = (pad, None)
    return nodes, pad


def test_small_holes_are_gone_and_room_is_left():
    if not MICROPYTHON:
        assert isinstance(fill_holes(), tuple)
        return
    nodes = _fragmented()
    before = _jumps()
    held = fill_holes()
    assert _jumps() < before
    assert bytearray(100 * PIECE)
    assert held and nodes


def test_without_a_wide_hole_it_ends():
    if not MICROPYTHON:
        return
    nodes, _count = _full_heap()
    node = nodes
    while node:
        node[0] = None
        for _ in range(3):
            node = node and node[1]
    held = fill_holes()
    assert held
    held = nodes = node = None
    assert bytearray(100 * PIECE)
