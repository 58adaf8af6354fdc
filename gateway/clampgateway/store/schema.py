"""The tables of the store, their version, and the way from every older version to this one.

Owns SQL that makes or changes tables, and nothing else. A version that was released is never
edited: a change is a new step at the end of `_STEPS`, and the tests keep a file of each version.
"""

from __future__ import annotations

import sqlite3

from clampgateway.model import RECORD

SCHEMA_VERSION = 4
# "CLPW": tells our file from any other SQLite database.
APPLICATION_ID = 0x434C5057
_TABLES_V1 = frozenset(("devices", "items", "descriptions", "cursors", "assignments"))
_TABLES_V2 = _TABLES_V1 | {"drops", "hours"}
_TABLES_V3 = _TABLES_V2 | {"restamps", "restamping", "eras", "parked", "ledger"}
_TABLES_V4 = _TABLES_V3 | {"removals"}

# Devices are numbered, because their ids would otherwise fill a third of every row. AUTOINCREMENT,
# because an id must never be given twice, not even after the newest rows were deleted.
_V1 = f"""
CREATE TABLE devices (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  highest_boot INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE items (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  end_ms INTEGER NOT NULL,
  utc_ms INTEGER NOT NULL,
  synced INTEGER NOT NULL,
  describe_crc INTEGER NOT NULL,
  payload BLOB NOT NULL,
  UNIQUE (device, boot, seq)
) STRICT;
CREATE INDEX others ON items (device) WHERE kind <> {RECORD};
CREATE TABLE descriptions (
  device TEXT NOT NULL,
  crc INTEGER NOT NULL,
  payloads BLOB NOT NULL,
  PRIMARY KEY (device, crc)
) STRICT;
CREATE TABLE cursors (name TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT;
CREATE TABLE assignments (
  kind TEXT NOT NULL,
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (kind, scope, key),
  UNIQUE (kind, scope, number)
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
"""
# Since version 2 describe_crc holds a check of the row above its 32 bits; see kept.checked.
# What was dropped, and one row an hour of running: the highest id at that time.
_V2 = """
CREATE TABLE drops (
  id INTEGER PRIMARY KEY,
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  reason INTEGER NOT NULL,
  from_ms INTEGER NOT NULL,
  to_ms INTEGER NOT NULL,
  utc_ms INTEGER NOT NULL,
  synced INTEGER NOT NULL
) STRICT;
CREATE TABLE hours (number INTEGER PRIMARY KEY, last_id INTEGER NOT NULL) STRICT;
"""
# Since version 3 `synced` is the number of an era; 1 for all that came before there were any.
# What was told of times that were corrected, and what not yet; how UTC stood to the machine's
# clock, by era; what readers passed without anybody taking it; completeness by device and day.
_V3 = """
ALTER TABLE items ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
CREATE INDEX undated ON items (synced) WHERE synced = 0;
CREATE TABLE restamps (
  id INTEGER PRIMARY KEY,
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL
) STRICT;
CREATE TABLE restamping (
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  PRIMARY KEY (device, boot)
) STRICT;
CREATE TABLE eras (
  number INTEGER PRIMARY KEY,
  power_up TEXT NOT NULL,
  offset_ms INTEGER NOT NULL,
  after_id INTEGER NOT NULL
) STRICT;
CREATE TABLE parked (
  reader TEXT NOT NULL,
  place INTEGER NOT NULL,
  topic TEXT NOT NULL,
  device TEXT NOT NULL,
  kinds INTEGER NOT NULL,
  first_id INTEGER NOT NULL,
  last_id INTEGER NOT NULL,
  reason INTEGER NOT NULL,
  PRIMARY KEY (reader, place)
) STRICT;
CREATE TABLE ledger (
  device TEXT NOT NULL,
  day INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (device, day)
) STRICT;
"""
# Devices that were removed: the last id of that time, and the bridges that have carried it out.
_V4 = """
CREATE TABLE removals (
  device TEXT PRIMARY KEY,
  up_to_id INTEGER NOT NULL,
  told TEXT NOT NULL
) STRICT;
"""
# Step n leads from version n to version n + 1; version 0 is an empty file.
_STEPS = (_V1, _V2, _V3, _V4)


def tables_of(version: int) -> frozenset[str]:
    """The tables that a file of this version must have."""
    return (frozenset(), _TABLES_V1, _TABLES_V2, _TABLES_V3, _TABLES_V4)[version]


def upgrade(db: sqlite3.Connection, version: int) -> None:
    """Bring a file of `version` to SCHEMA_VERSION, in one transaction. Raises sqlite3.Error."""
    steps = "".join(_STEPS[version:])
    db.executescript(f"BEGIN IMMEDIATE;{steps}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")
