-- UDP forwarded over kt's own wire, in virtual time: two scripts, a server that answers datagrams, and clients that ask.
local sim = require "kt.sim"

local KEY = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4="

local function tunnel(opts)
  opts = opts or {}
  local w = sim.world { seed = opts.seed or 7, files = { ["flows.key"] = KEY } }
  local t = { w = w }
  local near, far = w:host "client", w:host "server"
  if opts.nat then near:nat { public = "198.51.100.1" } end
  t.line = w:link("client", "server", opts.line or { delay = "50ms" })
  far:run("spec/fixtures/flows/echo.lua", { args = { "127.0.0.1:5300", opts.answers } })
  t.server = far:run("spec/fixtures/flows/server.lua", { args = opts.server or {}, beside = true })
  t.client = near:run("spec/fixtures/flows/client.lua", { args = opts.client or {} })

  --- Asks at `to` on a host n times; returns the script that asks.
  function t.ask_at(host, to, n, every, size, each)
    return w:host(host):run("spec/fixtures/flows/ask.lua", { args = { to, tostring(n), tostring(every), tostring(size or 40), each },
      beside = true })
  end
  --- Asks through the link.
  function t.ask(...) return t.ask_at("client", "127.0.0.1:53", ...) end

  --- Waits for the script that asks: answers, how many of them out of order, and the slowest in ms.
  function t.result(asker)
    local answered, disordered, slowest
    while not answered do
      w:run_for "1s"
      answered, disordered, slowest = asker:output():match "answered (%d+), disordered (%d+), slowest ([%d.]+)"
    end
    return tonumber(answered), tonumber(disordered), tonumber(slowest)
  end

  --- Brings the link up.
  function t.up()
    t.result(t.ask(1, 0.1))
    return t
  end
  function t.counter(script, name) return t[script]:stats().counters[name] end
  return t
end

describe("a flow over kt's own wire", function()
  it("carries questions and answers in the path's round trip", function()
    local t = tunnel().up()
    local answered, disordered, slowest = t.result(t.ask(50, 0.1))
    assert.same({ 50, 0 }, { answered, disordered })
    assert.is_true(slowest < 103, slowest)
  end)

  it("keeps the first questions until the link is up", function()
    local t = tunnel()
    assert.equal(20, (t.result(t.ask(20, 0.005))))
    assert.matches("flow to 127.0.0.1:5300 for 127.0.0.1:%d+", t.server:log())
  end)

  it("hides neither loss nor a change of order", function()
    local t = tunnel { line = { delay = "20ms", loss = "10%", reorder = "20%" } }.up()
    local answered, disordered = t.result(t.ask(400, 0.002))
    assert.is_true(answered > 280 and answered < 370, answered)
    assert.is_true(disordered > 5, disordered)
  end)

  it("gets nearly every answer through loss with two copies in both directions", function()
    local t = tunnel { line = { delay = "20ms", loss = "10%" }, client = { "2" }, server = { "1024", "2" } }.up()
    local answered, _, slowest = t.result(t.ask(400, 0.02))
    assert.is_true(answered >= 397, answered)
    assert.is_true(slowest < 60, slowest)
  end)

  it("ends at both ends when it is idle, and leaves nothing behind", function()
    local t = tunnel().up()
    assert.equal(1, t.counter("server", "FlowsNow"))
    t.w:run_for "100s" -- the client's flow_idle is 90 s
    assert.matches("flow over: idle, 40 there, 40 back, sent 1, too large 0", t.client:log())
    assert.matches("flow ended: idle", t.server:log())
    for _, name in ipairs { "client", "server" } do
      assert.same({ 0, 0 }, { t.counter(name, "FlowsNow"), t[name]:stats().pipes })
    end
  end)

  it("ends early when its listener's idle time is shorter", function()
    local t = tunnel { client = { "0", "10s" } }.up()
    t.w:run_for "8s"
    assert.matches("flow over: idle", t.client:log())
    assert.equal(0, t.counter("server", "FlowsNow"))
  end)

  it("stays while anything comes", function()
    local t = tunnel().up()
    assert.equal(20, (t.result(t.ask(20, 60))))
    assert.equal(2, select(2, t.server:log():gsub("flow to", "")))
  end)

  it("is closed by a server that does not want it, and ends at the client", function()
    local t = tunnel()
    t.server:kill()
    t.w:host("server"):file("other.lua", [[
      local kt = require "kt"
      kt.accept { on = ":29900", wire = "kt", key = kt.secret_file "flows.key" }:serve(print)]])
    t.w:host("server"):run("other.lua", { beside = true })
    t.ask(1, 0.1)
    t.w:run_for "3s"
    assert.matches("flow over: refused", t.client:log())
  end)

  it("has the path's own latency beside a download that fills the line", function()
    local t = tunnel { line = { delay = "25ms", rate = "20Mbit" } }.up()
    t.w:host "server":serve { on = "127.0.0.1:8388", kind = "source", bytes = "16MiB" }
    t.w:transfer { from = "client", to = "127.0.0.1:12948", kind = "down", bytes = "16MiB" }
    t.w:run_for "3s"
    local answered, _, slowest = t.result(t.ask(100, 0.03))
    assert.equal(100, answered)
    assert.is_true(slowest < 75, slowest)
  end)

  it("refuses and counts datagrams that do not fit the path, without holding up a stream", function()
    local t = tunnel { line = { delay = "50ms", mtu = 1280 }, client = { "0", "5s" } }.up()
    t.w:host "server":serve { on = "127.0.0.1:8388", kind = "echo" }
    local app = t.w:host("client"):connect "127.0.0.1:12948"
    app:echo "hello"
    local asker = t.ask(20, 0.01, 1400)
    for _ = 1, 10 do assert.is_true(app:echo("hello").time < 0.105) end
    assert.equal(0, (t.result(asker)))
    t.w:run_for "10s"
    assert.matches("sent 0, too large 20", t.client:log())
    assert.equal(20, t.counter("client", "FlowDatagramsTooLarge"))
  end)

  it("carries large answers to small questions from the first on", function()
    for _, size in ipairs { "1200", "1420" } do
      local t = tunnel { answers = size }
      assert.equal(10, (t.result(t.ask(10, 0.1))))
    end
  end)

  it("searches for the path's MTU once a large datagram waits, and then leaves the link idle", function()
    for _, line in ipairs { { delay = "50ms" }, { delay = "50ms", mtu = 1280 } } do
      local t = tunnel { line = line }.up()
      local function sent() return t.line:stats("client").sent_packets + t.line:stats("server").sent_packets end
      t.ask(1, 1, 1400)
      t.w:run_for "4s"
      local before = sent()
      t.w:run_for "8s"
      assert.equal(before, sent())
      assert.equal(line.mtu and 0 or 1, (t.result(t.ask(1, 1, 1400))))
    end
  end)
end)

describe("a flow over kt's own wire survives", function()
  it("an outage", function()
    local t = tunnel().up()
    local asker = t.ask(60, 0.5)
    t.w:run_for "5s"
    t.line:cut()
    t.w:run_for "15s"
    t.line:heal()
    local answered = t.result(asker)
    assert.is_true(answered >= 60 - 32, answered)
    assert.equal(1, t.counter("server", "PassiveOpens"))
    assert.equal(2, t.counter("server", "FlowsAccepted"))
  end)

  it("another address of the client, and another port of its NAT", function()
    local t = tunnel { nat = true }.up()
    local asker = t.ask(60, 0.5)
    t.w:run_for "10s"
    t.w:host("client"):nat_rebind()
    local answered = t.result(asker)
    assert.is_true(answered >= 52, answered)
    assert.equal(2, t.counter("server", "FlowsAccepted"))

    t = tunnel().up()
    asker = t.ask(60, 0.5)
    t.w:run_for "10s"
    t.w:host("client"):move "10.0.9.1"
    answered = t.result(asker)
    assert.is_true(answered >= 48, answered)
    assert.equal(2, t.counter("server", "FlowsAccepted"))
  end)

  it("a restart of the server, where it is opened again", function()
    local t = tunnel().up()
    local asker = t.ask(60, 0.5)
    t.w:run_for "10s"
    t.w:host("server"):restart()
    local answered = t.result(asker)
    assert.is_true(answered >= 48, answered)
    assert.equal(1, t.counter("server", "FlowsAccepted")) -- of the new process
    assert.equal(4, t.counter("client", "FlowsOpened")) -- two, each twice
  end)

  it("a reload of the client's script", function()
    local t = tunnel().up()
    local asker = t.ask(40, 0.5)
    t.w:run_for "5s"
    t.client:signal "HUP"
    local answered = t.result(asker)
    assert.equal(40, answered)
  end)
end)

describe("flows over kt's own wire", function()
  it("can be opened by the accepting end", function()
    local t = tunnel().up()
    t.w:host("client"):run("spec/fixtures/flows/echo.lua", { args = { "127.0.0.1:5301" }, beside = true })
    assert.equal(20, (t.result(t.ask_at("server", "127.0.0.1:54", 20, 0.1))))
  end)

  it("serve 1,000 clients at once", function()
    local t = tunnel().up()
    local answered = t.result(t.ask(1000, 0.001, 40, "each"))
    assert.equal(1000, answered)
    assert.equal(1001, t.counter("server", "FlowsNow"))
  end)

  it("are bounded at the listener: the one idle longest makes room", function()
    local t = tunnel { client = { "0", "60s", "50" } }.up()
    local answered = t.result(t.ask(1000, 0.01, 40, "each"))
    assert.equal(1000, answered)
    assert.same({ 50, 50 }, { t.counter("client", "FlowsNow"), t.counter("server", "FlowsNow") })
    assert.is_true(t.w:host("server"):stats().sockets < 60)
  end)

  it("are bounded at the server by what it announces, whatever the client opens", function()
    local t = tunnel { server = { "20" } }.up()
    local answered = t.result(t.ask(1000, 0.01, 40, "each"))
    assert.equal(1000, answered)
    assert.same({ 20, 20 }, { t.counter("client", "FlowsNow"), t.counter("server", "FlowsNow") })
    assert.is_true(t.w:host("server"):stats().sockets < 30)
  end)

  it("work where both ends take either wire", function()
    local t = tunnel { client = { "0", "60s", "1024", "auto" } }
    assert.equal(20, (t.result(t.ask(20, 0.1))))
    t.w:host("client"):run("spec/fixtures/flows/echo.lua", { args = { "127.0.0.1:5301" }, beside = true })
    assert.equal(20, (t.result(t.ask_at("server", "127.0.0.1:54", 20, 0.1))))
  end)

  it("end with a sentence where the peer turns out to speak kcptun's wire", function()
    local t = tunnel { client = { "0", "60s", "1024", "auto" } }
    t.server:kill()
    t.w:host("server"):file("other.lua", [[
      local kt = require "kt"
      kt.accept { on = ":29900", wire = "kcptun", key = kt.secret_file "flows.key" }:serve(print)]])
    t.w:host("server"):run("other.lua", { beside = true })
    t.ask(1, 0.1)
    t.w:run_for "8s"
    assert.matches("server:29900: the peer speaks wire kcptun, which carries no datagrams; only wire kt does", t.client:log(), 1, true)
    assert.matches("flow over: unsupported", t.client:log(), 1, true)
    t.ask(1, 0.1)
    t.w:run_for "3s"
    assert.matches("link:flow: the peer speaks wire kcptun, which carries no datagrams; only wire kt does", t.client:log(), 1, true)
  end)

  it("of a client with the key that opens them without end are bounded by what the server announced, and another client is served", function()
    local handshake, native = require "spec_native_handshake", require "spec_native"
    local function v(n) return (">I4"):pack(0x80000000 | n) end -- a varint
    local t = tunnel { server = { "20" } }.up()
    t.w:host "flooder"
    t.w:link("flooder", "server", { delay = "1ms" })
    local psk = "what makes a key is 32 bytes...."
    local c = handshake.client { psk = psk, wall = 1767225600000000, seed = 5, params = { survive_s = 600, max_flows = 100, max_data = 1 << 20 } }
    local agreed
    t.w:rule { to = "flooder", fn = function(packet)
      if not agreed then agreed = select(2, c:input(packet.data)) end
    end }
    local function inject(data) t.w:host("flooder"):inject { from = "10.0.3.1:4000", to = "10.0.2.1:29900", data = data } end
    inject(c:initiate())
    t.w:run_for "100ms"
    local tx = native.tx(agreed.aead, c:header_keys(), agreed.tx)
    for i = 0, 4999 do
      local flow = "\x18" .. v(2 * i + 1) .. "\x0e127.0.0.1:5300\x00"
      inject(tx:seal(0, i, flow .. "\x1b" .. v(2 * i + 1) .. "\x00\x01x\x1b" .. v(2 * i + 1) .. "\x01\x01y", i))
      if i % 50 == 0 then t.w:run_for "1ms" end
    end
    t.w:run_for "100ms"
    assert.is_true(t.counter("server", "FlowsNow") <= 2 * 20)
    assert.is_true(t.counter("server", "FlowsAccepted") > 4000)
    t.w:run_for "2s"
    assert.is_true(t.w:host("server"):stats().sockets < 60)
    assert.equal(20, (t.result(t.ask(20, 0.05))))
    assert.equal(0, t.counter("server", "SessionsFailed"))
  end)

  it("cost bounded memory under a flood from forged addresses, and carry on after it", function()
    local w = sim.world { seed = 7 }
    w:host "flooder" w:host "server"
    w:link("flooder", "server", { delay = "1ms" })
    w:host("server"):file("listen.lua", [[
      local kt = require "kt"
      kt.listen { udp = ":53", max_flows = 100, idle = "5s" }:serve(function(flow)
        kt.splice(flow, assert(kt.connect { udp = "127.0.0.1:5300" }))
      end)]])
    w:host("server"):run("spec/fixtures/flows/echo.lua", { args = { "127.0.0.1:5300" } })
    local s = w:host("server"):run("listen.lua", { beside = true })
    for i = 1, 20000 do
      w:host("flooder"):inject { from = ("198.51.%d.%d:4000"):format(i // 250, i % 250 + 1), to = "10.0.2.1:53", data = "1:x" }
    end
    w:run_for "1s"
    assert.is_true(s:stats().memory_peak < 64 << 20, s:stats().memory_peak)
    assert.is_true(w:host("server"):stats().sockets < 110)
    w:run_for "10s"
    assert.same({ 0, 0 }, { s:stats().pipes, s:stats().counters.TaskErrors })
    local asker = w:host("flooder"):run("spec/fixtures/flows/ask.lua", { args = { "10.0.2.1:53", "5", "0.1", "40" } })
    w:run_for "10s"
    assert.matches("answered 5", asker:output())
  end)

  it("do not hold up the end of their script", function()
    local t = tunnel().up()
    local before = t.w:now()
    t.client:signal "TERM"
    while t.client:is_running() do t.w:run_for "10ms" end
    assert.is_true(t.w:now() - before < 0.1)
  end)
end)
