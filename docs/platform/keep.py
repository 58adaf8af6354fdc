"""Keeps every record, event and gap of a site once: python keep.py HOST PORT ROOT/SITE FILE"""

import json
import sqlite3
import sys
import threading
import time

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

HOST, PORT, BASE, FILE = sys.argv[1:5]
TOPICS = ("data", "history", "event", "ledger", "cmd/replay/result")
PAUSE_S, END = 10, 4294967295
TABLES = """PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS items
  (device, boot, seq, rev, topic, payload, came, PRIMARY KEY (device, boot, seq));
  CREATE TABLE IF NOT EXISTS boots (device, boot, sure, PRIMARY KEY (device, boot))"""
MEET = """INSERT OR IGNORE INTO boots WITH RECURSIVE new(boot) AS
  (SELECT ?2 UNION ALL SELECT boot - 1 FROM new WHERE boot > ?2 - 100
    AND boot - 1 > (SELECT max(boot) FROM boots WHERE device = ?1)) SELECT ?1, boot, 0 FROM new"""
KEEP = """INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
  came = excluded.came, rev = max(rev, excluded.rev),
  payload = iif(excluded.rev > rev, excluded.payload, payload)"""
SINCE = "SELECT count(*), max(seq) FROM items WHERE device=? AND boot=? AND seq>=? AND came>=?"
SURE = "UPDATE boots SET sure = ? WHERE device = ? AND boot = ? AND sure = ?"
NEWER = "SELECT count(*) FROM boots WHERE device = ? AND boot > ?"


def on_connect(client: Client, *_: object) -> None:
    client.user_data_set(time.time_ns())
    client.subscribe([(f"{BASE}/+/{topic}", 1) for topic in TOPICS])


def on_message(_client: Client, connected: int, message: MQTTMessage) -> None:
    device, _, kind = message.topic.removeprefix(BASE + "/").partition("/")
    content = json.loads(message.payload or "[]")  # the ledger of a removed device is empty
    with db:  # the message is acknowledged when this function has returned
        if kind == "cmd/replay/result":
            settle(device, content, connected)
            return
        for item in content if isinstance(content, list) else [content]:
            name = device, item["boot"], item.get("seq")
            db.execute(MEET, name[:2])  # and the power-ups since the last, of which nothing came
            if kind != "ledger":
                rest = item.get("rev", 0), message.topic, json.dumps(item), time.time_ns()
                db.execute(KEEP, (*name, *rest))


def settle(device: str, answer: dict, connected: int) -> None:
    mark = str(answer.get("id") or None).split()
    if mark[0] != "keep" or len(mark) != 4 or not answer["ok"] or int(mark[1]) < connected:
        return  # another's question, or something may have been lost with the connection
    asked, boot, first = map(int, mark[1:])
    came, last = db.execute(SINCE, (device, boot, first, asked)).fetchone()
    if came == answer["records"] + answer["events"] + answer["gaps"]:  # all that was sent
        over = db.execute(NEWER, (device, boot)).fetchone()[0]
        sure = min([last + 1 if came else first, *(hole[0] for hole in answer["missing"])])
        db.execute(SURE, (END + 1 if over else sure, device, boot, first))


def ask(client: Client) -> None:
    while True:
        time.sleep(PAUSE_S)
        unsure = sqlite3.connect(FILE).execute("SELECT * FROM boots WHERE sure <= ?", (END,))
        for device, boot, first in unsure.fetchall():
            mark = f"keep {time.time_ns()} {boot} {first}"
            request = {"id": mark, "boot": boot, "first": first, "last": END}
            client.publish(f"{BASE}/{device}/cmd/replay", json.dumps(request), qos=1)
            time.sleep(0.2)  # a gateway takes ten a second


db = sqlite3.connect(FILE)
db.executescript(TABLES)
client = Client(CallbackAPIVersion.VERSION2, "platform", clean_session=False)
client.on_connect, client.on_message = on_connect, on_message
client.connect_async(HOST, int(PORT))
threading.Thread(target=ask, args=(client,), daemon=True).start()
client.loop_forever(retry_first_connection=True)
