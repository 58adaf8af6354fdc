"""The durable log of all items. Synchronous; used by one thread at a time."""

from clampgateway.store.file import (
    NumbersExhaustedError,
    StoreDamagedError,
    StoreError,
)
from clampgateway.store.removals import Removal
from clampgateway.store.restamp import Dating
from clampgateway.store.schema import SCHEMA_VERSION
from clampgateway.store.store import Store
from clampgateway.store.thread import StoreThread

__all__ = [
    "SCHEMA_VERSION",
    "Dating",
    "NumbersExhaustedError",
    "Removal",
    "Store",
    "StoreDamagedError",
    "StoreError",
    "StoreThread",
]
