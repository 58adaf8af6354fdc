"""Committed items on their way out: the newest values for all, and a durable reader a bridge."""

from clampgateway.feed.context import BridgeContext
from clampgateway.feed.feed import TAIL_ITEMS, Feed, FeedError
from clampgateway.feed.lanereader import LaneReader
from clampgateway.feed.reader import BATCH_ITEMS, Reader

__all__ = [
    "BATCH_ITEMS",
    "TAIL_ITEMS",
    "BridgeContext",
    "Feed",
    "FeedError",
    "LaneReader",
    "Reader",
]
