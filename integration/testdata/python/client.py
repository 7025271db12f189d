"""Drives a broker with stomp.py: client.py PORT VERSION SCENARIO. Fails with a traceback."""

import faulthandler
import queue
import sys

import stomp

PATIENCE = 60  # seconds for anything that must happen


class Inbox(stomp.ConnectionListener):
    """Everything that the broker sends, for one thread to take in turn."""

    def __init__(self):
        self.messages = queue.Queue()
        self.receipts = queue.Queue()
        self.ends = queue.Queue()

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame):
        self.ends.put("ERROR: %s %s" % (frame.headers, frame.body))

    def on_heartbeat_timeout(self):
        self.ends.put("the broker's heart-beats stopped")

    def on_disconnected(self):
        self.ends.put("disconnected")


class Client:
    KINDS = {"1.0": stomp.StompConnection10, "1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12}

    def __init__(self, port, version, **options):
        self.version = version
        self.inbox = Inbox()
        self.receipts = 0
        self.conn = self.KINDS[version]([("127.0.0.1", port)], **options)
        self.conn.set_listener("inbox", self.inbox)
        self.conn.connect(wait=True)

    def confirmed(self, do, *args, **kwargs):
        """Calls do with a receipt and waits for it."""
        self.receipts += 1
        receipt = "r-%d" % self.receipts
        do(*args, receipt=receipt, **kwargs)
        equal(self.inbox.receipts.get(timeout=PATIENCE), receipt)

    def send(self, destination, body, **headers):
        self.confirmed(self.conn.send, destination, body, **headers)

    def subscribe(self, destination, ack="auto"):
        self.confirmed(self.conn.subscribe, destination, id="sub" + destination, ack=ack)

    def receive(self, body, redelivered=False):
        frame = self.inbox.messages.get(timeout=PATIENCE)
        equal(frame.body, body)
        equal(frame.headers.get("redelivered") == "true", redelivered)
        return frame

    def settle(self, how, frame, **kwargs):
        """Acknowledges (conn.ack) or refuses (conn.nack) in the way of the version."""
        if self.version == "1.2":
            self.confirmed(how, frame.headers["ack"], **kwargs)
        elif self.version == "1.1":
            self.confirmed(how, frame.headers["message-id"], frame.headers["subscription"], **kwargs)
        else:
            self.confirmed(how, frame.headers["message-id"], **kwargs)

    def disconnect(self):
        """Ends with a receipt; nothing may have ended the connection before."""
        equal(self.inbox.ends.qsize(), 0)
        self.confirmed(self.conn.disconnect)
        equal(self.inbox.ends.get(timeout=PATIENCE), "disconnected")


def equal(got, want):
    assert got == want, "got %r, want %r" % (got, want)


def auto(port, version):
    c = Client(port, version)
    c.subscribe("/queue/a")
    for body in ["hello", "", "größer", "x" * 100000]:
        c.send("/queue/a", body, headers={"colour": "green"})
        equal(c.receive(body).headers["colour"], "green")
    c.disconnect()


def cumulative(port, version):
    c, holder = Client(port, version), Client(port, version)
    for body in "01234":
        c.send("/queue/a", body)
    holder.subscribe("/queue/a", ack="client")
    held = [holder.receive(body) for body in "01234"]
    holder.settle(holder.conn.ack, held[2])
    holder.disconnect()
    c.subscribe("/queue/a")
    c.receive("3", redelivered=True)
    c.receive("4", redelivered=True)
    c.disconnect()


def individual(port, version):
    c, holder = Client(port, version), Client(port, version)
    for body in "012":
        c.send("/queue/a", body)
    holder.subscribe("/queue/a", ack="client-individual")
    held = [holder.receive(body) for body in "012"]
    holder.settle(holder.conn.ack, held[1])
    holder.disconnect()
    c.subscribe("/queue/a")
    c.receive("0", redelivered=True)
    c.receive("2", redelivered=True)
    c.disconnect()


def nack(port, version):
    c = Client(port, version)
    c.subscribe("/queue/a", ack="client-individual")
    c.send("/queue/a", "again")
    c.settle(c.conn.nack, c.receive("again"))
    c.settle(c.conn.ack, c.receive("again", redelivered=True))
    c.disconnect()


def transactions(port, version):
    c = Client(port, version)
    c.send("/queue/in", "work")
    c.subscribe("/queue/in", ack="client")
    work = c.receive("work")
    c.conn.begin("t1")
    c.settle(c.conn.ack, work, transaction="t1")
    c.send("/queue/out", "never", transaction="t1")
    c.confirmed(c.conn.abort, "t1")
    c.conn.begin("t1")  # the name is free again
    c.settle(c.conn.ack, work, transaction="t1")
    c.send("/queue/out", "first", transaction="t1")
    c.send("/queue/out", "second", transaction="t1")
    c.confirmed(c.conn.commit, "t1")
    c.subscribe("/queue/out")
    c.receive("first")
    c.receive("second")
    c.disconnect()
    c = Client(port, version)
    c.subscribe("/queue/in")
    c.send("/queue/in", "next")
    c.receive("next")
    c.disconnect()


def topic(port, version):
    c, other = Client(port, version), Client(port, version)
    c.send("/topic/news", "nobody hears this")
    c.subscribe("/topic/news")
    other.subscribe("/topic/news")
    c.send("/topic/news", "heard")
    c.receive("heard")
    other.receive("heard")
    other.disconnect()
    c.disconnect()


def keep(port, version):
    c = Client(port, version)
    for body in "012":
        c.send("/queue/kept", body)
    c.disconnect()


def fetch(port, version):
    c = Client(port, version)
    c.subscribe("/queue/kept", ack="client")
    for body in "012":
        frame = c.inbox.messages.get(timeout=PATIENCE)
        equal(frame.body, body)
        c.settle(c.conn.ack, frame)
    c.disconnect()


def idle(port, version):
    c = Client(port, version, heartbeats=(1000, 1000))
    c.subscribe("/queue/a")
    try:
        raise AssertionError("an idle connection ended: " + c.inbox.ends.get(timeout=6))
    except queue.Empty:
        pass
    c.send("/queue/a", "still here")
    c.receive("still here")
    c.disconnect()


if __name__ == "__main__":
    faulthandler.dump_traceback_later(2 * PATIENCE, exit=True)
    globals()[sys.argv[3]](int(sys.argv[1]), sys.argv[2])
    faulthandler.cancel_dump_traceback_later()
