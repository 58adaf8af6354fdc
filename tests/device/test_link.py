"""The device's link against a gateway written here: sessions, lanes, answers, hostile frames."""

import json

from clampdevice.clock import Clock
from clampdevice.commands import Commands
from clampdevice.link import LOOK_MS, RESEND_MS, SILENCE_MS, WINDOW, Identity, Link
from clampdevice.spool import Spool
from clampwire import framing, messages
from clampwire.codec import Codec

CODEC = Codec()
CHANNEL = ("current1", "current", "A", "", 6400.0, 30.0, 0.0, 0.0, "", (("rms", "A", 72, 2, -3),))


class Ticks:
    def __init__(self) -> None:
        self.value = 0

    def __call__(self) -> int:
        return self.value


class Bench:
    """A device's link with the parts around it, and a gateway that answers as told."""

    def __init__(self, boot: int = 5, ram_items: int = 64) -> None:
        self.ticks = Ticks()
        self.spool = Spool(8192, ram_items)
        self.clock = Clock(self.ticks)
        self.confirmations = 0
        self.tellings: list = []
        commands = Commands((("hello", lambda args: {}), ("describe", lambda args: {})))
        self.link = Link(
            CODEC,
            self.spool,
            self.clock,
            Identity("id1", "lathe", "sim", "0.1.0", "x", 1),
            [CHANNEL, CHANNEL],
            commands,
            self,
            77,
            framing.stuff,
        )
        self.link.boot = boot
        self.decoder = framing.Deframer(messages.PAYLOAD_MAX)

    def choose_boot(self, highest: int) -> int:
        return max(self.link.boot, highest + 1)

    def confirmed(self) -> None:
        self.confirmations += 1

    def told(self, payload: bytes) -> None:
        self.tellings.append(bytes(payload))

    def status(self, link: Link) -> bytes:
        return CODEC.encode("Status", *((0,) * 14), 0.0)

    def wait(self, ms: int) -> None:
        self.ticks.value += 1000 * ms
        self.clock.now_us()

    def record(self) -> int:
        seq = self.spool.next_seq
        at_ms = self.clock.now_ms()
        payload = CODEC.encode("Record", self.link.boot, seq, at_ms, 5, 1, b"", b"\x01\x02")
        self.spool.put(payload)
        self.link.made(seq)
        return seq

    def said(self, most: int = 1000) -> list:
        """(name, message) of the frames the link wants to send now."""
        out = []
        while len(out) < most:
            view = self.link.next_frame()
            if view is None:
                break
            out.extend(CODEC.decode(payload) for payload in self.decoder.feed(view))
        return out

    def hear(self, name: str, *fields: object) -> None:
        self.link.receive(framing.frame(CODEC.encode(name, *fields), 1))

    def welcome(self, highest: int = 0, accepted: int = 1, major: int = 1) -> list:
        nonces = [message.nonce for name, message in self.said() if name == "Hello"]
        crc = CODEC.table_crc
        self.hear("Welcome", major, 0, crc, nonces[-1], accepted, highest, "gw", "no")
        return self.said()


def _names(said: list) -> list:
    return [name for name, _message in said]


def _seqs(said: list) -> list:
    return [message.seq for name, message in said if name in messages.SPOOLED]


def test_nothing_but_hello_before_a_welcome():
    bench = Bench()
    bench.record()
    assert _names(bench.said()) == ["Hello"]
    bench.wait(500)
    assert bench.said() == []
    bench.wait(501)
    said = bench.said()
    assert _names(said) == ["Hello"]
    hello = said[0][1]
    assert (hello.device, hello.boot, hello.next_seq, hello.oldest_seq) == ("id1", 5, 1, 0)


def test_welcome_brings_describe_then_items_then_status():
    bench = Bench()
    bench.record()
    bench.record()
    said = bench.welcome()
    assert _names(said) == ["Describe", "Describe", "Record", "Record", "Status"]
    assert [message.index for name, message in said if name == "Describe"] == [0, 1]
    assert bench.confirmations == 1 and said[2][1].boot == 5


def test_another_description_is_told_before_the_next_item():
    bench = Bench()
    bench.welcome()
    before = bench.link.describe_crc
    again = ("current1", "current", "A", "", 6400.0, 30.0, 0.1, 0.5, "c-1", CHANNEL[9])
    bench.link.describe_again([again, CHANNEL])
    bench.record()
    said = bench.said()
    assert _names(said) == ["Describe", "Describe", "Record"]
    assert said[0][1].calibration == "c-1"
    assert said[0][1].describe_crc == bench.link.describe_crc != before
    # A session that begins later hears the new one alone.
    bench.wait(SILENCE_MS + 1)
    hello = [message for name, message in bench.said() if name == "Hello"]
    assert hello[0].describe_crc == bench.link.describe_crc


def test_the_boot_number_is_above_what_the_gateway_knows():
    bench = Bench(boot=5)
    bench.record()
    said = bench.welcome(highest=9)
    assert bench.link.boot == 10
    assert [message.boot for name, message in said if name == "Record"] == [10]
    bench.hear("Ack", ((10, 0, 0),))
    assert len(bench.spool) == 0
    # The same power-up keeps its number when the gateway comes back knowing it.
    bench.hear("Command", 1, "hello", b"")
    bench.welcome(highest=10)
    assert bench.link.boot == 10 and bench.confirmations == 1


def test_a_welcome_for_another_session_is_ignored():
    bench = Bench()
    bench.said()
    bench.hear("Welcome", 1, 0, 0, 78, 1, 0, "gw", "")
    assert not bench.link.ready


def test_another_major_is_not_served_and_is_asked_again():
    bench = Bench()
    bench.record()
    assert bench.welcome(accepted=0) == [] and bench.link.refusal == "no"
    bench.wait(1500)
    assert bench.said() == []
    bench.wait(3600)
    assert _names(bench.welcome(major=2)) == [] and not bench.link.ready
    bench.wait(5001)
    assert "Record" in _names(bench.welcome())


def test_live_items_go_first_and_history_follows_in_the_window():
    bench = Bench()
    for _ in range(3 * WINDOW):
        bench.record()
    said = bench.welcome()
    assert _seqs(said) == list(range(WINDOW)), "history, oldest first, one window"
    new = bench.record()
    assert _seqs(bench.said()) == [new], "the newest item passes the window"
    bench.hear("Ack", ((5, 0, 3), (5, new, new)))
    assert _seqs(bench.said()) == [WINDOW, WINDOW + 1, WINDOW + 2, WINDOW + 3]


def test_no_ack_means_again():
    bench = Bench()
    bench.record()
    bench.welcome()
    bench.wait(RESEND_MS - 1)
    assert _seqs(bench.said()) == []
    bench.wait(1 + LOOK_MS)
    assert _seqs(bench.said()) == [0]
    bench.hear("Ack", ((5, 0, 0),))
    bench.wait(2 * RESEND_MS)
    assert _seqs(bench.said()) == [] and bench.spool.resent == 1


def test_all_arrives_over_a_line_that_loses_a_third():
    bench = Bench(ram_items=1024)
    for _ in range(200):
        bench.record()
    got = set()
    noise = 7
    bench.welcome()
    for _ in range(400):
        if len(got) == 200 and not len(bench.spool):
            break
        for name, message in bench.said():
            noise = (noise * 1103515245 + 12345) & 0x7FFFFFFF
            if name == "Record" and noise >> 16 & 3:
                got.add(message.seq)
        noise = (noise * 1103515245 + 12345) & 0x7FFFFFFF
        if noise >> 16 & 1:
            ranges = [(5, seq, seq) for seq in sorted(got) if seq >= bench.spool.oldest_seq]
            bench.hear("Ack", ranges[: messages.ACK_RANGES_MAX])
        bench.hear("Time", 1, 1, 1, 0, 0)
        bench.wait(700)
    assert len(got) == 200 and len(bench.spool) == 0


def test_a_loss_is_told_as_a_gap_with_a_number_of_its_own():
    bench = Bench(ram_items=8)
    for _ in range(12):
        bench.record()
        bench.wait(1000)
    said = bench.welcome()
    assert "Gap" not in _names(said), "telling it would cost the place of another item"
    bench.hear("Ack", ((5, 4, 5),))
    said += bench.said()
    gaps = [message for name, message in said if name == "Gap"]
    covered = set()
    for gap in gaps:
        covered.update(range(gap.first_seq, gap.last_seq + 1))
    records = {message.seq for name, message in said if name == "Record"}
    assert records | covered == set(range(12)), (records, covered)
    assert not records & covered
    assert all(gap.seq >= 12 and gap.reason == 1 for gap in gaps)
    # The owner hears of each, as of every item that it makes itself.
    assert [CODEC.decode(payload)[1].seq for payload in bench.tellings] == [g.seq for g in gaps]


def test_time_is_answered_with_both_ticks():
    bench = Bench()
    bench.welcome()
    bench.wait(1234)
    bench.hear("Time", 9, 1000001, 1763750000123, 0, 0)
    bench.wait(3)
    said = bench.said()
    assert _names(said) == ["Time"]
    answer = said[0][1]
    assert (answer.id, answer.gateway_us) == (9, 1000001)
    assert answer.device_tx_us - answer.device_rx_us == 3000
    assert bench.clock.utc_ms() == 1763750000126


def test_silence_ends_the_session_and_keeps_the_items():
    bench = Bench()
    bench.record()
    bench.welcome()
    bench.wait(SILENCE_MS + 1)
    said = bench.said()
    assert _names(said) == ["Hello"] and said[0][1].nonce != 77
    assert len(bench.spool) == 1
    bench.wait(1001)
    assert _seqs(bench.welcome()) == [0]


def test_commands_are_answered_and_describe_sends_again():
    bench = Bench()
    bench.welcome()
    bench.hear("Command", 3, "describe", b"")
    assert _names(bench.said()) == ["Answer", "Describe", "Describe"]
    bench.hear("Command", 4, "format_flash", b"")
    name, answer = bench.said()[0]
    assert name == "Answer" and (answer.id, answer.status) == (4, 1)
    assert "format_flash" in json.loads(answer.body.decode())["error"]
    for i in range(10):
        bench.hear("Command", i, "nothing", b"")
    assert len(bench.said()) == 4 and bench.link.answers_dropped == 6


def test_an_answer_that_does_not_fit_its_frame_says_so():
    bench = Bench()
    bench.welcome()
    bench.said()
    told = {"fits": "x" * 999, "long": "x" * 1000, "braces": "}" * 500}
    table = tuple((name, lambda _args, text=text: {"a": text}) for name, text in told.items())
    bench.link._commands = Commands(table)
    for name, status in (("fits", 0), ("long", 3), ("braces", 3)):
        bench.hear("Command", 9, name, b"")
        _name, answer = bench.said()[0]
        assert answer.status == status, name
        body = json.loads(answer.body.decode())
        assert body.get("a", body.get("error", "")).startswith("x" if not status else "the answer")


def test_hostile_frames_change_nothing_and_are_counted():
    bench = Bench()
    bench.record()
    bench.welcome()
    before = (len(bench.spool), bench.spool.next_seq, bench.link.ready)
    bench.link.receive(b"\x7e\xff\x00garbage\x80\x7e")
    bench.link.receive(framing.frame(b"\x70unknown", 1))
    bench.link.receive(framing.frame(b"\x08\x04\x00", 1))
    bench.link.receive(framing.frame(CODEC.encode("Status", *((0,) * 14), 0.0), 1))
    bench.hear("Ack", ((5, 1, 0),))
    bench.hear("Ack", ((4, 0, 0xFFFFFFFF),))
    assert (len(bench.spool), bench.spool.next_seq, bench.link.ready) == before
    link = bench.link
    assert (link.rx_errors, link.rx_unknown, link.rx_refused) == (2, 1, 1)
