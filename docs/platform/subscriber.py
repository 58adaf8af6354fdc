"""Keeps every record, event and gap of a site exactly once, in SQLite, and asks for what lacks.

python subscriber.py localhost 1883 clampwork/hall records.db
"""

import asyncio
import json
import sqlite3
import sys
import time

import aiomqtt

HOST, PORT, BASE, FILE = sys.argv[1:5]
LOOK_S, AT_ONCE, TO_THE_END = 5, 20, 4294967295
heads: dict[str, tuple[int, int]] = {}  # device: newest power-up, its highest number
db = sqlite3.connect(FILE, isolation_level="IMMEDIATE")
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE IF NOT EXISTS items (device, boot, seq, rev, topic, payload,"
           " PRIMARY KEY (device, boot, seq))")  # fmt: skip
db.execute("CREATE TABLE IF NOT EXISTS known (device, boot, first, last)")


def keep(topic: str, payload: bytes) -> None:
    device, _, kind = topic.removeprefix(BASE + "/").partition("/")
    if not payload:  # the device was removed: its newest power-up is over, too
        heads[device] = heads.get(device, (0, 0))[0] + 1, 0
        return
    content = json.loads(payload)
    if kind == "ledger":
        heads[device] = content["boot"], content["last"] + 1
        return
    with db:  # one transaction: a kill leaves all of a message or none of it
        if kind == "cmd/replay/result":
            words = str(content.get("id")).split()
            if len(words) != 4 or not all(map(str.isdecimal, words)):
                return  # somebody else's
            _, boot, first, last = map(int, words)
            if content["ok"] and last == TO_THE_END:  # all there was of an ended power-up came
                db.execute("INSERT INTO known VALUES (?, ?, ?, ?)", (device, boot, first, last))
            return
        for item in content if kind == "history" else [content]:
            boot, seq, rev = item["boot"], item["seq"], item.get("rev", 0)
            db.execute(
                "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET rev = excluded.rev, payload = excluded.payload WHERE excluded.rev > rev",
                (device, boot, seq, rev, topic, json.dumps(item)),
            )
            known = [(device, boot, seq - item.get("before", 0), seq)]
            if item.get("kind") == "gap" and item["first"] <= item["last"] < TO_THE_END:
                known.append((device, item["of_boot"], item["first"], item["last"]))
            db.executemany("INSERT INTO known VALUES (?, ?, ?, ?)", known)


def holes() -> list[tuple[str, int, int, int]]:
    merged: list[list] = []
    for row in db.execute("SELECT * FROM known ORDER BY device, boot, first").fetchall():
        if merged and merged[-1][:2] == [*row[:2]] and row[2] <= merged[-1][3] + 1:
            merged[-1][3] = max(merged[-1][3], row[3])
        else:
            merged.append([*row])
    with db:
        db.execute("DELETE FROM known")
        db.executemany("INSERT INTO known VALUES (?, ?, ?, ?)", merged)
    newest = {device: boot for device, boot, *_ in merged}
    found, at = [], {}
    for device, boot, first, last in merged:
        begin = at.get((device, boot), 0)  # `seq` begins with 0
        if first > begin:
            found.append((device, boot, begin, first - 1))
        at[device, boot] = last + 1
    for device, (boot, end) in heads.items():
        newest[device] = max(boot, newest.get(device, 0))
        if at.get((device, boot), 0) < end:
            found.append((device, boot, at.get((device, boot), 0), end - 1))
    for device, boot in list(at):
        for none in range(boot + 1, min(boot + 100, newest[device])):
            at.setdefault((device, none), 0)  # a power-up of which nothing came
    ends = [(*key, first, TO_THE_END) for key, first in at.items() if first <= TO_THE_END]
    return found + [end for end in ends if end[1] < newest[end[0]]]


async def ask(client: aiomqtt.Client) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        for device, boot, first, last in holes()[:AT_ONCE]:
            mark = f"{time.time_ns()} {boot} {first} {last}"
            request = {"id": mark, "boot": boot, "first": first, "last": last}
            await client.publish(f"{BASE}/{device}/cmd/replay", json.dumps(request), qos=1)


async def main() -> None:
    ends = ("data", "history", "event", "ledger", "cmd/replay/result")
    while True:
        try:
            async with aiomqtt.Client(
                HOST, int(PORT), identifier="platform", clean_session=False,
                protocol=aiomqtt.ProtocolVersion.V311,
            ) as client:  # fmt: skip
                await client.subscribe([(f"{BASE}/+/{end}", 1) for end in ends])
                asking = asyncio.create_task(ask(client))
                try:
                    async for message in client.messages:
                        keep(str(message.topic), bytes(message.payload))
                finally:
                    asking.cancel()
        except aiomqtt.MqttError as error:
            print(f"no connection, trying again: {error}", file=sys.stderr)
            await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main())
