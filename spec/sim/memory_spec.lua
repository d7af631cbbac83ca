-- Memory of conns whose streams take nothing, in virtual time. Settings bound the memory of streams (limits_spec.lua); conns must
-- not add to it: bytes that a stream does not take stay in the kernel, which makes the writer wait.
local sim = require "kt.sim"

local STREAMS, BUDGET = 100, 4 << 20
local KERNEL = (64 + 4) << 10 -- bytes that wait in the kernel: written and not sent; received and not read

--- Runs kt server with this --maxbuffered and these flags, in front of a target, which is described as for host:serve.
local function server(w, budget, target, ...)
  target.on = "127.0.0.1:8388"
  w:host("server"):serve(target)
  return w:host("server"):run("kt server", { args = { "-l", ":29900", "-t", target.on, "--key", "k", "--maxbuffered", tostring(budget), ... } })
end

--- Runs kt client on a host of this name, with these flags. Returns its line to the server.
local function client(w, name, line, ...)
  w:host(name):run("kt client", { args = { "-r", "server:29900", "-l", "127.0.0.1:12948", "--key", "k", ... } })
  return w:link(name, "server", line)
end

--- Runs a tunnel whose streams have writers at one end, and cuts its line before they write all they can. Returns how much more was
--- taken than the kernel holds.
local function clog(down, settings)
  local w, taken = sim.world { tcp_buffer = "4KiB" }, 0
  local function blast(conn)
    w:sleep "1s"
    while conn:write(("x"):rep(1024), { timeout = "1h" }) do taken = taken + 1024 end
  end
  server(w, BUDGET, { fn = function(conn)
    conn:read_exactly(1)
    if down then blast(conn) end
    w:sleep "1h"
  end }, table.unpack(settings))
  local line = client(w, "client", { delay = "5ms" }, "--maxbuffered", tostring(BUDGET), table.unpack(settings))
  for _ = 1, STREAMS do
    local app = w:host("client"):connect "127.0.0.1:12948"
    app:write "x"
    if not down then w:task(function() blast(app) end) end
  end
  w:run_for "900ms"
  line:cut()
  w:run_for "3s"
  assert.is_true(taken > STREAMS * (KERNEL - 4096))
  return taken - STREAMS * KERNEL
end

local wires = {
  ["kcptun's wire with smux 2"] = { "--wire", "kcptun" },
  ["kcptun's wire with smux 1"] = { "--wire", "kcptun", "--smuxver", "1" },
  ["kt's wire"] = { "--wire", "kt" },
}

for wire, settings in pairs(wires) do
  for what, down in pairs { downloads = true, uploads = false } do
    it("clogged " .. what .. " over " .. wire .. " take no memory but that of streams", function()
      assert.is_true(clog(down, settings) < BUDGET)
    end)
  end
end

--- A target that sends without end, once it has been asked.
local function send_without_end(conn)
  conn:read_exactly(1)
  while conn:write(("x"):rep(8192), { timeout = "1h" }) do end
end

it("clogged downloads of many links on kt's wire share --maxbuffered", function()
  local w, taken, streams = sim.world { tcp_buffer = "4KiB" }, 0, 0
  local far = server(w, 1 << 20, { fn = function(conn)
    conn:read_exactly(1)
    w:sleep "1s"
    while conn:write(("x"):rep(1024), { timeout = "1h" }) do taken = taken + 1024 end
  end }, "--wire", "kt")
  local lines = {}
  for i = 1, 6 do
    local name = "client" .. i
    lines[i] = client(w, name, { delay = "5ms" }, "--wire", "kt")
    for _ = 1, 10 do
      streams = streams + 1
      w:host(name):connect "127.0.0.1:12948":write "x"
    end
  end
  w:run_for "900ms"
  for _, line in ipairs(lines) do line:cut() end
  w:run_for "3s"
  assert.is_true(taken - streams * KERNEL < (1 << 20) + streams * 9216)
  assert.is_true(far:stats().counters.BytesHeld > 1 << 19)
end)

it("uploads of many links on kt's wire that nobody reads share --maxbuffered, and an upload that is read still moves", function()
  local LINKS, STREAMS_EACH, budget = 6, 6, 2 << 20
  local w = sim.world { tcp_buffer = "4KiB" }
  local read = 0
  local far = server(w, budget, { fn = function(conn)
    if conn:read_exactly(1) == "x" then w:sleep "1h" end
    while true do
      local data = conn:read { timeout = "1h" }
      if not data then break end
      read = read + #data
    end
  end }, "--wire", "kt")
  local function upload(host, first)
    local app = w:host(host):connect "127.0.0.1:12948"
    app:write(first)
    w:task(function() while app:write(("y"):rep(8192), { timeout = "1h" }) do end end)
  end
  for i = 1, LINKS + 1 do
    local name = "client" .. i
    client(w, name, { delay = "20ms", rate = "50Mbit" }, "--wire", "kt")
    if i <= LINKS then for _ = 1, STREAMS_EACH do upload(name, "x") end end
  end
  w:run_for "3s"
  upload("client" .. LINKS + 1, "r")
  w:run_for "1s"
  local before = read
  w:run_for "2s"
  assert.is_true((read - before) / 2 > 16 * 1024 / 0.04 / 2, ("%d bytes a second"):format((read - before) // 2))
  local held = far:stats().counters.BytesHeld
  assert.is_true(held > budget // 2 and held < budget + (LINKS + 1) * 18432, held)
end)

it("a link on kt's wire may have as many streams as half of seven eighths of --maxbuffered pay for, with a block each; the rest waits", function()
  local w = sim.world {}
  local far = server(w, 1 << 20, { kind = "echo" }, "--wire", "kt")
  client(w, "client", { delay = "5ms" }, "--wire", "kt")
  local apps, answered = {}, 0
  for i = 1, 46 do
    apps[i] = w:host("client"):connect "127.0.0.1:12948"
    if apps[i]:try_echo("hello", { timeout = "5s" }) then answered = answered + 1 end
  end
  assert.equal((1 << 20) // 8 * 7 // 2 // (5120 + 9216), answered)
  assert.equal(0, far:stats().counters.StreamsRefused)
  local why = "32 streams open; further ones wait %(the remaining memory is for other links; raise max_buffered %(%-%-maxbuffered%)%)"
  assert.equal(1, select(2, far:log("wait"):gsub(why, "")))
  for i = 1, 20 do apps[i]:close() end
  for i = 33, 46 do assert.equal("hello", (apps[i]:read_exactly(5, { timeout = "2s" }))) end
  w:host("client"):connect("127.0.0.1:12948"):echo "hello"
end)

it("warns at start of a max_streams above the default that max_buffered does not pay for on kt's wire", function()
  local w = sim.world {}
  local function said(host, run, args)
    return w:host(host):run(run, { args = args }):log():match "max_streams of [^\n]*"
  end
  local function by_server(...) return said("s" .. select("#", ...), "kt server", { "-l", ":29900", "-t", "127.0.0.1:1", "--key", "k", ... }) end
  assert.equal("max_streams of 20000 cannot be reached on kt's wire; raise max_buffered (--maxbuffered) to 625MiB",
    by_server("--maxstreams", "20000"))
  assert.is_nil(by_server("--maxstreams", "20000", "--maxbuffered", "625MiB"))
  assert.is_nil(by_server("--maxbuffered", "8MiB", "--mode", "fast", "--nocomp"))
  local near = w:host "near"
  near:file("near.lua", 'local kt = require "kt" kt.link { remote = "s2:29900", key = "k", max_streams = 20000, stay = true }:serve(print)')
  assert.matches("max_streams of 20000 cannot be reached on kt's wire; raise max_buffered (--maxbuffered) to 274MiB",
    near:run("near.lua"):log(), 1, true)
end)

it("a link on kt's wire whose downloads are not read leaves half of --maxbuffered to others", function()
  local w, budget = sim.world { tcp_buffer = "4KiB" }, 4 << 20
  local far = server(w, budget, { fn = send_without_end }, "--wire", "kt")
  local apps = {}
  local function download(name, n)
    for _ = 1, n do
      local app = w:host(name):connect "127.0.0.1:12948"
      app:write "x"
      apps[#apps + 1] = app
    end
  end
  local lines = {}
  for _, name in ipairs { "greedy", "other" } do
    lines[name] = client(w, name, { delay = "20ms", rate = "50Mbit" }, "--wire", "kt")
  end
  download("greedy", 60)
  w:run_for "200ms"
  lines.greedy:cut()
  w:run_for "3s"
  local held = far:stats().counters.BytesHeld
  assert.is_true(held > budget // 3 and held < budget * 5 // 8, held)
  download("other", 1)
  local from, got = w:now(), 0
  while got < 1 << 20 do got = got + #apps[#apps]:read { timeout = "5s" } end
  assert.is_true(w:now() - from < 1)
end)

it("links on kt's wire that do not fit --maxbuffered are refused and counted, which is logged once, until others end", function()
  local w = sim.world { files = { ["links.lua"] = [[
    local kt = require "kt"
    local made = {}
    kt.spawn(function()
      for i = 1, 40 do
        made[i] = kt.link { remote = "server:29900", wire = "kt", key = "k" }
        kt.spawn(function()
          local stream = made[i]:open { timeout = "1s" }
          if stream then stream:close() end
        end)
      end
      kt.sleep "10s"
      for i = 1, 40 do made[i]:close() end
      kt.sleep "1h"
    end)]] } }
  local far = server(w, 1 << 20, { kind = "echo" }, "--wire", "kt")
  w:link(w:host "client", "server", { delay = "5ms" })
  w:host("client"):run "links.lua"
  w:run_for "3s"
  local counters = far:stats().counters
  assert.equal((1 << 20) // (16384 + 18432), counters.CurrEstab)
  assert.is_true(counters.SessionsRefused >= 40 - counters.CurrEstab)
  assert.equal(1, select(2, far:log("refus"):gsub("30 links open; refusing new ones %(the open ones need the remaining memory", "")))
  w:run_for "10s"
  client(w, "late", { delay = "5ms" }, "--wire", "kt")
  w:host("late"):connect("127.0.0.1:12948"):echo "hello"
end)

it("links of both wires share --maxbuffered: of what one leaves, the other takes half", function()
  local w, budget = sim.world { tcp_buffer = "4KiB" }, 4 << 20
  local far = server(w, budget, { fn = send_without_end }, "--nocomp")
  local function held() return far:stats().counters.BytesHeld end
  for i, wire in ipairs { "kt", "kcptun" } do
    local line = client(w, wire, { delay = "20ms", rate = "50Mbit" }, "--wire", wire, "--nocomp")
    for _ = 1, 60 do w:host(wire):connect "127.0.0.1:12948":write "x" end
    w:run_for "200ms"
    line:cut()
    w:run_for "3s"
    assert.is_true(held() > budget * 2 * i // 5 - (i - 1) * budget // 4, held())
  end
  assert.is_true(held() < budget * 4 // 5, held())
end)
