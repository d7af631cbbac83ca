-- A path that silently drops datagrams beyond an MTU (an MTU black hole), in virtual time.
local sim = require "kt.sim"

local function tunnel(line, opts)
  opts = opts or {}
  local w = sim.world { seed = opts.seed or 7 }
  w:host "client"
  w:host("server", { address = { "192.0.2.1", "2001:db8::1" } })
  w:link("client", "server", line)
  w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
  local server = w:host("server"):run("kt server", { args = { "--wire", "kcptun", "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k" } })
  local remote = opts.v6 and "[2001:db8::1]:29900" or "192.0.2.1:29900"
  local client = w:host("client"):run("kt client", { args = { "--wire", "kcptun", "-r", remote, "-l", "127.0.0.1:12948", "--key", "k" } })
  return w, client, server
end

--- n bytes that cannot be compressed.
local function noise(w, n)
  local out = {}
  for i = 1, n do out[i] = string.char(w:random(0, 255)) end
  return table.concat(out)
end

local SENTENCE = "datagrams of more than %d bytes are lost and shorter ones arrive; sending at most %d bytes from now on; "
  .. "set --mtu %d (kcp.mtu in a script) at both ends"

describe("over a line that silently drops packets of more than 1300 bytes", function()
  it("a request of 1290 bytes is answered, the log names --mtu, and later ones are answered at once", function()
    local w, client, server = tunnel { delay = "20ms", mtu = 1300 }
    local app = w:host("client"):connect "127.0.0.1:12948"
    local text = noise(w, 1290)
    assert.is_true(app:echo(text, { timeout = "20s" }).time < 4)
    for _, script in ipairs { client, server } do assert.matches(SENTENCE:format(1232, 1232, 1232), script:log(), 1, true) end
    assert.is_true(app:echo(text).time < 0.5)
    app:close()
    w:settle()
  end)

  it("a request over IPv6, without fragmentation, is broken in a few seconds, once in each direction; later ones are answered", function()
    local w, client, server = tunnel({ delay = "20ms", mtu = 1300 }, { v6 = true })
    local text, broken = noise(w, 1290), 0
    while broken < 3 do
      local app = w:host("client"):connect "127.0.0.1:12948"
      local began = w:now()
      local ok = app:try_echo(text, { timeout = "20s" })
      app:close()
      if ok then break end
      broken = broken + 1
      assert.is_true(w:now() - began < 8)
    end
    assert.equal(2, broken)
    for _, script in ipairs { client, server } do
      assert.matches(SENTENCE:format(1232, 1232, 1232), script:log(), 1, true)
      assert.matches("ended: data sent in long datagrams can be neither retransmitted in shorter ones nor fragmented", script:log(), 1, true)
    end
    w:settle()
  end)

  it("a transfer of 300 kB arrives", function()
    local w = tunnel { delay = "20ms", mtu = 1300 }
    local t = w:transfer { from = "client", to = "127.0.0.1:12948", bytes = "300kB", kind = "echo" }:wait { timeout = "30s" }
    assert.is_true(t:worst_stall() < 8)
    w:settle()
  end)
end)

describe("a session", function()
  it("uses even smaller datagrams where those of 1232 bytes are also lost", function()
    local w, client = tunnel { delay = "20ms", mtu = 700 }
    local app = w:host("client"):connect "127.0.0.1:12948"
    for _ = 1, 2 do app:echo(noise(w, 1290), { timeout = "30s" }) end
    assert.matches(SENTENCE:format(548, 548, 548), client:log(), 1, true)
  end)

  it("switches to smaller datagrams when the line's MTU falls during a transfer", function()
    local w, client = tunnel { delay = "20ms" }
    local t = w:transfer { from = "client", to = "127.0.0.1:12948", bytes = "3MB", kind = "echo" }
    w:run "200ms"
    w:link("client", "server"):set { mtu = 1300 }
    t:wait { timeout = "30s" }
    assert.matches(SENTENCE:format(1232, 1232, 1232), client:log(), 1, true)
    w:settle()
  end)

  it("does not mistake loss for a smaller MTU", function()
    for seed = 1, 6 do
      local w, client, server = tunnel({ delay = "40ms", loss = "20%", mtu = 1500 }, { seed = seed })
      local app = w:host("client"):connect "127.0.0.1:12948"
      for _ = 1, 20 do app:echo(noise(w, 1290), { timeout = "60s" }) end
      w:transfer { from = "client", to = "127.0.0.1:12948", bytes = "200kB", kind = "echo" }:wait { timeout = "120s" }
      for _, script in ipairs { client, server } do assert.is_nil(script:log():find("set --mtu", 1, true), "seed " .. seed) end
    end
  end)

  it("does not mistake padding, sent before its long packets can have arrived, for answers", function()
    local w, client, server = tunnel({ delay = "630ms" }, { v6 = true })
    local app = w:host("client"):connect "127.0.0.1:12948"
    app:write(noise(w, 3000))
    for _ = 1, 40 do
      app:write(noise(w, 20))
      w:run_for "50ms"
    end
    assert(app:read_exactly(3800, { timeout = "20s" }))
    for _, script in ipairs { client, server } do assert.is_nil(script:log():find("set --mtu", 1, true)) end
  end)

  it("sends its first packets again only as their timeouts end while the server has not answered", function()
    local w = tunnel { delay = "630ms" }
    local app = w:host("client"):connect "127.0.0.1:12948"
    app:write(noise(w, 3000))
    w:run "1200ms"
    assert.is_true(w:link("client", "server"):stats("client").sent_packets < 40)
  end)
end)

describe("downloads that fill the client's memory", function()
  local BYTES = 2000000

  --- n downloads of BYTES each, whose windows together are larger than the memory of the client's session.
  local function downloads(n)
    local w = sim.world { seed = 5 }
    w:host "client"
    w:host "server"
    w:link("client", "server", { delay = "1ms", rate = "1Gbit" })
    w:host("server"):serve { on = "127.0.0.1:8388", fn = function(conn)
      conn:read_exactly(1)
      conn:write(("z"):rep(BYTES), { timeout = "1h" })
      w:sleep "1h"
    end }
    local function side(name, ...)
      return w:host(name):run("kt " .. name, { args = { "--wire", "kcptun", "--key", "k", "--nocomp", "--streambuf", "4194304",
        "--smuxbuf", "16777216", "--maxbuffered", "8388608", ... } })
    end
    local server = side("server", "-l", ":29900", "-t", "127.0.0.1:8388")
    side("client", "-r", "server:29900", "-l", "127.0.0.1:12948")
    local apps = {}
    for i = 1, n do
      apps[i] = w:host("client"):connect "127.0.0.1:12948"
      apps[i]:write "x"
    end
    return w, server, apps
  end

  it("are not mistaken for a smaller MTU while nobody reads them, and arrive whole afterwards", function()
    local w, server, apps = downloads(8)
    w:run_for "4s"
    local whole = 0
    for _, app in ipairs(apps) do
      w:task(function()
        app:read_exactly(BYTES, { timeout = "10s" })
        whole = whole + 1
      end)
    end
    w:run_for "10s"
    assert.equal(8, whole)
    assert.equal(0, server:stats().counters.MTUReduced)
  end)

  it("are not mistaken for a smaller MTU while sixty are read slowly", function()
    local w, server, apps = downloads(60)
    local read = 0
    for _, app in ipairs(apps) do
      w:task(function()
        for _ = 1, 10 do
          read = read + #assert(app:read { timeout = "10s" })
          w:sleep "200ms"
        end
      end)
    end
    w:run_for "3s"
    assert.is_true(read > 60 * 10 * 1000)
    assert.equal(0, server:stats().counters.MTUReduced)
  end)
end)
