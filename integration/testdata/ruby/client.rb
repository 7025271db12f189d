# Drives a broker with Ruby stomp: client.rb PORT VERSION SCENARIO. Fails with a backtrace.

require "stomp"
require "timeout"

PATIENCE = 60 # seconds for anything that must happen

# Client is one connection; it receives in the calling thread.
class Client
  attr_reader :conn

  def initialize(port, version, heart_beat: nil)
    headers = { :"accept-version" => version, :host => "localhost" }
    headers[:"heart-beat"] = heart_beat if heart_beat
    headers = {} if version == "1.0"
    @version, @receipts, @kept = version, 0, []
    @conn = Stomp::Connection.new(
      hosts: [{ login: "", passcode: "", host: "127.0.0.1", port: port }],
      reliable: false, connect_headers: headers, connread_timeout: PATIENCE, hbser: true
    )
    equal @conn.protocol, version
  end

  # confirmed gives the block headers with a receipt and waits for it.
  def confirmed(headers = {})
    @receipts += 1
    receipt = "r-#{@receipts}"
    yield headers.merge(receipt: receipt)
    loop do
      frame = wait
      if frame.command == "RECEIPT"
        equal frame.headers["receipt-id"], receipt
        return
      end
      @kept << frame
    end
  end

  def wait
    Timeout.timeout(PATIENCE) do
      frame = @conn.receive
      raise "the broker closed" if frame.nil?
      raise "the broker answered #{frame}" if frame.command == "ERROR"
      frame
    end
  end

  def send(destination, body, headers = {})
    confirmed(headers) { |h| @conn.publish(destination, body, h) }
  end

  def subscribe(destination, ack = "auto")
    confirmed(ack: ack, id: "sub#{destination}") { |h| @conn.subscribe(destination, h) }
  end

  def take
    @kept.shift || wait
  end

  def receive(body, redelivered: false)
    frame = take
    equal frame.body, body
    equal frame.headers["redelivered"] == "true", redelivered
    frame
  end

  # settle acknowledges (:ack) or refuses (:nack) in the way of the version.
  def settle(how, frame, headers = {})
    id = frame.headers[@version == "1.2" ? "ack" : "message-id"]
    headers = headers.merge(subscription: frame.headers["subscription"]) if @version == "1.1"
    confirmed(headers) { |h| @conn.public_send(how, id, h) }
  end

  def disconnect
    Timeout.timeout(PATIENCE) { @conn.disconnect(receipt: "bye") }
    equal @conn.disconnect_receipt.headers["receipt-id"], "bye"
  end
end

def equal(got, want)
  raise "got #{got.inspect}, want #{want.inspect}" unless got == want
end

def auto(port, version)
  c = Client.new(port, version)
  c.subscribe("/queue/a")
  ["hello", "", "größer", "x" * 100_000].each do |body|
    c.send("/queue/a", body, colour: "green")
    frame = c.take
    equal frame.body.dup.force_encoding("UTF-8"), body
    equal frame.headers["colour"], "green"
  end
  c.disconnect
end

def cumulative(port, version)
  c, holder = Client.new(port, version), Client.new(port, version)
  %w[0 1 2 3 4].each { |body| c.send("/queue/a", body) }
  holder.subscribe("/queue/a", "client")
  held = %w[0 1 2 3 4].map { |body| holder.receive(body) }
  holder.settle(:ack, held[2])
  holder.disconnect
  c.subscribe("/queue/a")
  c.receive("3", redelivered: true)
  c.receive("4", redelivered: true)
  c.disconnect
end

def individual(port, version)
  c, holder = Client.new(port, version), Client.new(port, version)
  %w[0 1 2].each { |body| c.send("/queue/a", body) }
  holder.subscribe("/queue/a", "client-individual")
  held = %w[0 1 2].map { |body| holder.receive(body) }
  holder.settle(:ack, held[1])
  holder.disconnect
  c.subscribe("/queue/a")
  c.receive("0", redelivered: true)
  c.receive("2", redelivered: true)
  c.disconnect
end

def nack(port, version)
  c = Client.new(port, version)
  c.subscribe("/queue/a", "client-individual")
  c.send("/queue/a", "again")
  c.settle(:nack, c.receive("again"))
  c.settle(:ack, c.receive("again", redelivered: true))
  c.disconnect
end

def transactions(port, version)
  c = Client.new(port, version)
  c.send("/queue/in", "work")
  c.subscribe("/queue/in", "client")
  work = c.receive("work")
  c.conn.begin("t1")
  c.settle(:ack, work, transaction: "t1")
  c.send("/queue/out", "never", transaction: "t1")
  c.confirmed { |h| c.conn.abort("t1", h) }
  c.conn.begin("t1") # the name is free again
  c.settle(:ack, work, transaction: "t1")
  c.send("/queue/out", "first", transaction: "t1")
  c.send("/queue/out", "second", transaction: "t1")
  c.confirmed { |h| c.conn.commit("t1", h) }
  c.subscribe("/queue/out")
  c.receive("first")
  c.receive("second")
  c.disconnect
  c = Client.new(port, version)
  c.subscribe("/queue/in")
  c.send("/queue/in", "next")
  c.receive("next")
  c.disconnect
end

def topic(port, version)
  c, other = Client.new(port, version), Client.new(port, version)
  c.send("/topic/news", "nobody hears this")
  c.subscribe("/topic/news")
  other.subscribe("/topic/news")
  c.send("/topic/news", "heard")
  c.receive("heard")
  other.receive("heard")
  other.disconnect
  c.disconnect
end

def keep(port, version)
  c = Client.new(port, version)
  %w[0 1 2].each { |body| c.send("/queue/kept", body) }
  c.disconnect
end

def fetch(port, version)
  c = Client.new(port, version)
  c.subscribe("/queue/kept", "client")
  %w[0 1 2].each do |body|
    frame = c.take
    equal frame.body, body
    c.settle(:ack, frame)
  end
  c.disconnect
end

def idle(port, version)
  c = Client.new(port, version, heart_beat: "1000,1000")
  c.subscribe("/queue/a")
  sleep 6 # the time is the point: nothing may happen in it
  equal [c.conn.hb_received, c.conn.hb_sent], [true, true]
  c.send("/queue/a", "still here")
  c.receive("still here")
  c.disconnect
end

method(ARGV[2].to_sym).call(ARGV[0].to_i, ARGV[1])
