"""The prose of docs/topics.md; `gendocs_topics` puts payloads, keys and numbers in."""

TEXT = """# MQTT topics

Generated from `clampgateway/topics/` and `clamptools/gendocs_topics.py` by `make docs`; do not
edit. Every payload shown is one that the gateway's own code made.

Everything is published at QoS 1, as JSON in UTF-8, below `<root>/<site>`; the root is `clampwork`
unless configured. For a device:

| topic | retained | what |
| --- | --- | --- |
| `{base}/birth` | yes | what the device is and what it measures |
| `{base}/availability` | yes | `online` or `offline`, as plain text |
| `{base}/state` | yes | what its machine does |
| `{base}/data` | no | one record: all channels of one interval, as soon as it is stored |
| `{base}/history` | no | an array of older records |
| `{base}/event` | no | a change at its own millisecond, a fault, a gap |
| `{base}/ledger` | yes | what was expected and what came, per day: `ledger.md` |
| `{base}/cmd/<name>` | no | what you ask for: below |
| `{gateway}` | yes | `online` or `offline`: the gateway itself, by its will when it dies |

A device is online if its gateway is and it is. In names, `%`, `/`, `+`, `#` and control
characters, and a `_` or `$` at the start, are written as `%` and two hex digits. When a device is
removed, its retained topics are emptied, after all that it sent: `removal.md`.

```sh
mosquitto_sub -h localhost -q 1 -v -t 'clampwork/#'
```

## What a subscriber can rely on

- Every record is published, on `data` or in an array on `history`; every event and gap on
  `event`. Take both lanes. Each comes until the broker has acknowledged it, over broken
  connections and restarts of the gateway, and may therefore come more than once: the same `boot`
  and `seq` of a device always carry the same content, and name it for ever. Keep the first; of
  two that differ in `rev`, the higher.
- `data` has what is fresh. On `history` is what was committed while there was no connection or
  when too much waited, what a device delivered more than {late} s late or condensed, what was
  overtaken by a newer record of its device, what had its time corrected, and what was asked for.
- Both lanes keep the order in which the gateway committed them, which is the device's own except
  after an outage of its link. An array is in order of `boot` and `seq`. Events stand between the
  arrays where they belong.
- `seq` has no holes within a `boot`. One that is missing is covered by a `gap` event that names
  it or by `before` of a condensed record, or is still in the device, the gateway or the broker. A
  device that loses power takes what it had not delivered with it (its spool is in RAM): the next
  `boot` begins then, with a `started` event.
- `birth` comes before the first record that needs it, except of a removed device. All retained
  topics are published again at every connection of the gateway, so a broker that lost them gets
  them back.
- With MQTT 5 the broker says whether it took a message. A topic that it refuses (an access list)
  is closed: what is for it waits in the gateway, which names the topic, the reason and the count,
  and tries it with the oldest after {retry_first} s and then ever more rarely, at least every
  {retry_max} s; the others flow. When the broker takes it again, the rest follows on `history`.
  With `protocol = "3.1.1"` a refusal cannot be told from success: such a message is lost without
  a sign.
- What the gateway itself cannot read (its description was lost with a damaged store) is counted
  and logged there, and not published.
- An acknowledgement is no promise of the broker to keep a message. One that is killed with
  default settings forgets what it had queued. You see that as holes in `seq`, and ask for them:
  see `cmd/replay`.

To lose nothing, subscribe at QoS 1 with a session that outlives the connection (a fixed client
id; MQTT 5: a session expiry; 3.1.1: clean session off), and ask for the holes that are left.

## data

{data}

{data_keys}

Keys carry no units: `birth` has them. A number is as short as the device's resolution.

## history

An array of the same objects.

{history}

## event

{event}

{event_keys}

### A gap

What is missing is said, with the reason.

{gap}

{gap_keys}

## state

{state}

{state_keys}

## birth

{birth}

{birth_keys}

A channel:

{channel_keys}

## cmd

Publish a request at QoS 1 and not retained. On MQTT 5 with a response topic the answer goes
there, with your correlation data; it must not be below `<root>/<site>`. Without one, and on
3.1.1, it comes on the request's topic with `/result` behind it, and `id` says whose it is.

A request has at most {payload_max} bytes and an `id` or correlation data. The same request with
the same mark is answered as before and not done again (the last {remembered} are remembered); with
another content it is refused. More than {rate} a second, after a burst, and what is retained, is
thrown away without an answer. Everything refused is counted by its reason and changes nothing.

### cmd/replay

Publishes again what the gateway has kept, on `history` and `event`: it keeps records for
`store.retention_h` after all bridges delivered them. Always allowed; one at a time. Topic
`{command}`, or with `device` in the request `{gateway_command}`.

{replay}

{replay_keys}

The answer, when all of it is published and acknowledged:

{replay_answer}

{replay_answer_keys}

### Other commands

Each only if its name is in `mqtt.allow_commands`. The device carries it out: `why`, `status`,
`identify` and what else its firmware knows.

{request}

{request_keys}

{answer}

Or, if not:

{refusal}

{answer_keys}
"""
