"""What is in a flash ring at start, found by the numbers of its pages.

It owns the search for the newest header and the newest page; what they mean is `flashring.py`'s.
Needed once a power-up: whoever made the ring may drop this module from memory.

After a power cut the page behind the last good one may hold anything, or read blank and be half
programmed: it is left out. A sector is erased again before it is entered.
"""

from clampdevice.flashpages import DATA, HEADER, PAGE, SECTOR_PAGES

HEADER_PAGES = 2 * SECTOR_PAGES


def find_header(pages) -> tuple:
    """(number, place, page) of the newest header; (-1, ..., None) without. 32 reads."""
    found = -1
    at = SECTOR_PAGES - 1
    kept = None
    for place in range(HEADER_PAGES):
        number = pages.read(place)
        if number > found and pages.page[8] == HEADER:
            found, at = number, place
            kept = bytes(pages.page)
    return found, at, kept


def find_head(pages, count: int, least: int) -> tuple:
    """(number of the page to write next, whether the ring goes on before it).

    Reads one page of each sector that is in order, and at most 16 more. A ring that holds nothing
    we can place, empty or of another size, begins at a sector above all numbers seen, and above
    `least`.

    Args:
        pages: of which `HEADER_PAGES` and `count` behind them are the ring.
        count: a multiple of 16.
        least: page number up to which nothing may be written any more, -1 for none.
    """
    best = place = -1
    for sector in range(count // SECTOR_PAGES):
        for k in range(SECTOR_PAGES):
            here = sector * SECTOR_PAGES + k
            number = pages.read(HEADER_PAGES + here)
            if number >= 0 and pages.page[8] & DATA:
                if number > best:
                    best, place = number, here
                break
            if not k and pages.page.count(b"\xff") == PAGE:
                break
    if best < 0 or best % count != place:
        above = max(best, least) + 1
        return -(-above // SECTOR_PAGES) * SECTOR_PAGES, False
    last = best - best % SECTOR_PAGES + SECTOR_PAGES - 1
    while last > best and pages.read(HEADER_PAGES + last % count) != last:
        last -= 1
    head = last + 1
    return head + (head % SECTOR_PAGES != 0), True
