-- kt.kcp in virtual time: what is on the wire, what gets through a bad network, and what a hostile peer can do.
local sim = require "kt.sim"

--- Runs the text as a task, with `x` for packets from hex; returns what it printed, its log, and the world.
local function run(text, time, options)
  local w = sim.world { seed = 1, files = { ["s.lua"] = [[
local kt = require "kt"
local x = function(text) return assert(kt.crypto.unhex((text:gsub("%s", "")))) end
local hex = kt.crypto.hex
local function none() end
kt.spawn(function()
]] .. text .. "\nend)" } }
  local script = w:host "a":run("s.lua", options)
  w:run_for(time or "10s")
  return script:output(), script:log(), w
end

-- The ends of a conversation over UDP. SEND and RECEIVE are filled in.
local SERVER = [[
local kt = require "kt"
local socket = kt.udp { on = ":4000" }
local talks = {}
local function serve(talk) RECEIVE end
kt.spawn(function()
  while true do
    local packet, from = socket:receive { timeout = "1h" }
    local talk = packet and talks[from]
    if packet and not talk then
      talk = assert(kt.kcp { conv = string.unpack("<I4", packet), stream = STREAM, mode = "fast3",
        output = function(data) socket:send(data, from) end })
      talks[from] = talk
      kt.spawn(serve, talk)
    end
    if packet then talk:input(packet) end
  end
end)]]
local CLIENT = [[
local kt = require "kt"
kt.spawn(function()
  local socket = assert(kt.udp { to = "server:4000" })
  local talk = assert(kt.kcp { conv = 7, stream = STREAM, mode = "fast3", output = function(data) socket:send(data) end })
  kt.spawn(function()
    for packet in function() return (socket:receive { timeout = "1h" }) end do talk:input(packet) end
  end)
  SEND
end)]]

local function both(names, line)
  local w = sim.world { seed = 3 }
  local server, client = w:host "server", w:host "client"
  w:link("server", "client", line)
  server:file("server.lua", (SERVER:gsub("%u%u+", names)))
  client:file("client.lua", (CLIENT:gsub("%u%u+", names)))
  local far, near = server:run "server.lua", client:run "client.lua"
  w:run_for "60s"
  assert.is_nil((far:log() .. near:log()):find "failed", far:log() .. near:log())
  return near:output(), far:output()
end

describe("kt.kcp", function()
  it("writes segments as ikcp: the header, and frg counting down over a message", function()
    local out = run [[
local talk = kt.kcp { conv = 0x11223344, mtu = 50, rcv_wnd = 300, output = function(packet) print(hex(packet)) end }
talk:send(("x"):rep(60))
talk:send "hello"
kt.sleep(0)]]
    local lines = {}
    for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
    local ts = lines[1]:sub(17, 24)
    local function push(frg, sn, data)
      return ("44332211%02x%02x%s%s%s%s%s%s"):format(81, frg, "2c01", ts, ("%02x000000"):format(sn), "00000000",
        ("%02x000000"):format(#data), (data:gsub(".", function(c) return ("%02x"):format(c:byte()) end)))
    end
    assert.same({ push(2, 0, ("x"):rep(26)), push(1, 1, ("x"):rep(26)), push(0, 2, ("x"):rep(8)), push(0, 3, "hello") },
      table.move(lines, 1, 4, 1, {}))
  end)

  it("reads segments of ikcp, acknowledges them with their ts, and answers a window probe", function()
    assert.equal([[
ab,cd
01000000 52 00 8000 d2040000 00000000 02000000 00000000
01000000 54 00 8000 00000000 00000000 02000000 00000000
]], (run([[
local talk = kt.kcp { conv = 1, output = function(p)
  print((hex(p):gsub("^(........)(..)(..)(....)(........)(........)(........)", "%1 %2 %3 %4 %5 %6 %7 ")))
end }
assert(talk:input(x "01000000 51 00 2000 d2040000 01000000 00000000 02000000 6364"))  -- sn 1: waits for sn 0
assert(talk:input(x "01000000 51 01 2000 d2040000 00000000 00000000 03000000 61622c"))
print(talk:recv())
kt.sleep "50ms"
assert(talk:input(x "01000000 53 00 2000 00000000 00000000 00000000 00000000"))
kt.sleep "50ms"]])))
  end)

  it("carries messages whole and in order over a line that loses, reorders and repeats", function()
    local near, far = both({
      STREAM = "false",
      SEND = [[
for i = 1, 200 do assert(talk:send(("%d:"):format(i) .. ("x"):rep(i * 37 % 3000))) end
assert(talk:flush { timeout = "30s" })
local s = talk:stats()
print(s.inflight, s.queued, s.segs_retrans > 0, s.srtt > 0.03 and s.srtt < 0.5, s.since_heard < 60)]],
      RECEIVE = [[
for i = 1, 200 do
  local text = assert(talk:recv { timeout = "30s" })
  assert(text == ("%d:"):format(i) .. ("x"):rep(i * 37 % 3000), i)
end
print "all"
kt.sleep "5s"]],
    }, { delay = "20ms", loss = "15%", jitter = "15ms", duplicate = "5%" })
    assert.equal("0\t0\ttrue\ttrue\ttrue\n", near)
    assert.equal("all\n", far)
  end)

  it("carries a stream of bytes", function()
    local near, far = both({
      STREAM = "true",
      SEND = [[
local sent = 0
for i = 1, 40 do
  assert(talk:send((tostring(i % 10)):rep(10007)))
  sent = sent + 10007
end
print(talk:flush(), sent)]],
      RECEIVE = [[
local got, hash = 0, {}
while got < 40 * 10007 do
  local data = assert(talk:recv { timeout = "30s" })
  got, hash[#hash + 1] = got + #data, data
end
local text = table.concat(hash)
for i = 1, 40 do assert(text:sub((i - 1) * 10007 + 1, i * 10007) == tostring(i % 10):rep(10007)) end
print(got)
kt.sleep "5s"]],
    }, { delay = "20ms", loss = "5%" })
    assert.equal("true\t400280\n", near)
    assert.equal("400280\n", far)
  end)

  it("is not disturbed by packets of others, nor by damaged ones, and counts them", function()
    assert.equal([[
protocol	kcp:input: not a packet of this conversation
hello
1003	true
protocol	kcp:recv: a message that does not fit the receive window
closed	false
]], (run [[
local one, two
one = kt.kcp { conv = 9, output = function(p) two:input(p) end }
two = kt.kcp { conv = 9, output = function(p) one:input(p) end }
local _, err = two:input(x "08000000 51 00 2000 d2040000 00000000 00000000 02000000 6162")
print(err.code, err)
two:input ""
two:input "short"
for i = 1, 1000 do two:input(kt.crypto.random(i % 200)) end
assert(one:send "hello")
print(two:recv())
print(two:stats().refused, one:flush())
two:input(x "09000000 51 fe 2000 d2040000 01000000 00000000 02000000 6162")
_, err = two:recv()
print(err.code, err)
one:close()
print(pcall(one.send, one, "x"))]]):gsub("false\ts.lua:.-closed\n", "closed\tfalse\n"))
  end)

  it("lets send wait for the window, and ends all waits when it is closed", function()
    assert.equal([[
timeout	kcp:send: no room in the send window within 1 s
limit	kcp:send: a message of 5505 bytes; at most 5504 are allowed
closed	kcp:recv: the conversation was closed
closed	kcp:send: the conversation was closed
closed	kcp:flush: the conversation was closed
]], (run([[
local talk = kt.kcp { conv = 1, snd_wnd = 4, output = none }
for _ = 1, 4 do assert(talk:send "x") end
local function say(_, err) print(err.code, err) end
say(talk:send("x", { timeout = "1s" }))
say(talk:send(("x"):rep(5505)))
kt.spawn(function() say(talk:recv()) end)
kt.spawn(function() say(talk:send "x") end)
kt.spawn(function() say(talk:flush()) end)
kt.sleep "1s"
talk:close()]]):gsub("no room in the send window.-\n", "no room in the send window within 1 s\n")))
  end)

  it("ends when its output function raises, and logs that", function()
    local out, log = run [[
local talk = kt.kcp { conv = 1, output = function() error "oops" end }
talk:send "x"
local _, err = talk:recv { timeout = "1s" }
print(err.code, err)
print(select(2, talk:input "x").code, tostring(talk))]]
    assert.equal("failed\tkcp:recv: the output function failed\nfailed\t<kcp, closed>\n", out)
    assert.equal(1, select(2, log:gsub("s.lua:%d+: oops", "")))
  end)

  it("belongs to a task, goes to another as an argument, and is closed and collected when it is forgotten", function()
    local out, log = run [[
local talk
kt.spawn(function() talk = kt.kcp { conv = 1, output = none } end):wait()
print(talk)
local given
kt.spawn(function()
  given = kt.kcp { conv = 1, output = none }
  kt.spawn(function(it) kt.sleep "1s" print(it) end, given)
end):wait()
print(given)
kt.sleep "2s"
print(given)
for _ = 1, 3 do kt.kcp { conv = 1, output = none } end
collectgarbage()]]
    assert.equal("<kcp, closed>\n<kcp>\n<kcp>\n<kcp, closed>\n", out)
    assert.equal(3, select(2, log:gsub("a kcp was dropped without :close%(%), in the task spawned at s.lua:5; closed it", "")))
  end)

  it("takes no more memory than its share of the script's, and at most 4096 are open", function()
    assert.equal([[
limit	kt.kcp: limit of 4096 conversations per script reached
memory	kcp:send: out of memory for packets
true	true
]], (run([[
local talks, err = {}, nil
for i = 1, 5000 do
  talks[i], err = kt.kcp { conv = i, snd_wnd = 4096, output = none }
  if not talks[i] then break end
end
print(err.code, err)
local text, sent = ("x"):rep(100000), 0
for _, talk in ipairs(talks) do
  local ok
  ok, err = talk:send(text, { timeout = 0 })
  if not ok then break end
  sent = sent + #text
end
print(err.code, err)
print(sent > 4e6, sent < 9e6)
for _, talk in ipairs(talks) do talk:close() end
assert(kt.kcp { conv = 1, output = none }:send(text))]], "10s", { memory = "32MiB" })))
  end)

  it("raises for wrong settings", function()
    assert.equal([[
kcp: 2 mistakes
  kcp.output: missing; expected a function
  kcp.mode: unknown value "turbo"; expected one of "normal", "fast", "fast2", "fast3"
kcp.interval: mode = "fast" sets it; give one or the other
kcp.conv: expected 0 to 4294967295, got -1
kcp:send: argument 1: is empty; KCP carries no empty messages
]], (run([[
local function fails(fn) print((select(2, pcall(fn)):gsub("s.lua:%d+: ", ""))) end
fails(function() kt.kcp { conv = 1, mode = "turbo" } end)
fails(function() kt.kcp { conv = 1, mode = "fast", interval = 10, output = none } end)
fails(function() kt.kcp { conv = -1, output = none } end)
fails(function() kt.kcp { conv = 1, interval = 10, output = none }:send "" end)]]):gsub("kt.kcp: 2", "kcp: 2")))
  end)
end)
