"""MQTT topics and their JSON: what is published under which name. Pure.

Owns names and payloads; who publishes when is the bridge. `docs/topics.md` is made from here.
"""

from clampgateway.topics.commands import (
    PAYLOAD_MAX,
    Answer,
    CommandRefused,
    Replay,
    ReplayAnswer,
    Request,
    answer_payload,
    parse,
)
from clampgateway.topics.names import RESULT, DeviceTopics, Topics, is_root, level, unlevel
from clampgateway.topics.payloads import (
    OFFLINE,
    ONLINE,
    SCHEMA_VERSION,
    Birth,
    BirthChannel,
    Data,
    Event,
    Gap,
    State,
    birth_payload,
    data_payload,
    event_payload,
    gap_payload,
    history_payload,
    machine_of,
    state_payload,
    wide_features,
)
from clampgateway.topics.writer import RecordWriter

__all__ = [
    "OFFLINE",
    "ONLINE",
    "PAYLOAD_MAX",
    "RESULT",
    "SCHEMA_VERSION",
    "Answer",
    "Birth",
    "BirthChannel",
    "CommandRefused",
    "Data",
    "DeviceTopics",
    "Event",
    "Gap",
    "RecordWriter",
    "Replay",
    "ReplayAnswer",
    "Request",
    "State",
    "Topics",
    "answer_payload",
    "birth_payload",
    "data_payload",
    "event_payload",
    "gap_payload",
    "history_payload",
    "is_root",
    "level",
    "machine_of",
    "parse",
    "state_payload",
    "unlevel",
    "wide_features",
]
