"""Completeness per device and day: the books, and the task that keeps them beside the log."""

from clampgateway.ledger.content import Content, Day, LedgerError, Missing, day_name, day_number
from clampgateway.ledger.keeper import LedgerKeeper
from clampgateway.ledger.ledger import Ledger, Need

__all__ = [
    "Content",
    "Day",
    "Ledger",
    "LedgerError",
    "LedgerKeeper",
    "Missing",
    "Need",
    "day_name",
    "day_number",
]
