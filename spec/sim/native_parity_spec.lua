-- Parity of kt's own wire (docs/wire.md, 6.4) between two scripts, in virtual time: what it brings, and when there is none.
local sim = require "kt.sim"

local KEY = "YSBrZXkgb2YgdGhlIHN3ZWVwJ3MsIDMyIGJ5dGVzLi4="

local far_script = [[
local kt = require "kt"
local peers = kt.accept { on = ":29900", wire = "kt", key = kt.secret_file "key", parity = %s }
peers:on("flow", function(flow)
  local out <close> = kt.connect { udp = flow.target }
  kt.splice(flow, out)
end)
peers:serve(function(stream)
  local conn <close> = assert(kt.connect { to = "127.0.0.1:9" })
  kt.splice(stream, conn)
end)]]

local near_script = [[
local kt = require "kt"
local far = kt.link { remote = "far:29900", wire = "kt", key = kt.secret_file "key", %s }
kt.listen { on = ":1" }:serve(function(conn)
  local stream <close> = assert(far:open())
  kt.splice(conn, stream)
end)
kt.listen { udp = "127.0.0.1:53" }:serve(function(flow)
  local out <close> = assert(far:flow { to = "127.0.0.1:5300", %s })
  kt.splice(flow, out)
end)
kt.spawn(function()
  while true do
    kt.sleep "1s"
    local s = far:stats()
    print(("lost %%.4f"):format(s.segs_retrans / s.segs_out))
  end
end)]]

--- line: without its delay, 50 ms, and its rate, 50 Mbit/s. opts: parity of the far end, settings of the link, options of the flow.
local function tunnel(line, opts)
  opts = opts or {}
  local w = sim.world { seed = opts.seed or 3, files = { key = KEY, ["far.lua"] = far_script:format(opts.parity ~= false),
    ["near.lua"] = near_script:format(opts.link or "", opts.flow or "") } }
  line.delay, line.rate = line.delay or "50ms", line.rate or "50Mbit"
  w:host "near"
  w:host "far"
  w:link("near", "far", line)
  local t = { w = w, far = w:host("far"):run "far.lua", near = w:host("near"):run "near.lua" }
  function t.sent() return t.near:stats().counters.FECParityOut end
  function t.rebuilt() return t.far:stats().counters.FECRecovered end
  return t
end

local function percentile(list, share)
  table.sort(list)
  return list[math.ceil(share * #list)]
end

--- Writes `size` bytes every `every` seconds; returns how long those of the last two thirds took, in ms.
local function drip(t, size, every, seconds)
  local w, at, arrived, got, took = t.w, {}, {}, 0, {}
  w:host("far"):serve { on = "127.0.0.1:9", fn = function(conn)
    while true do
      local data = conn:read()
      if not data then return end
      got = got + #data
      while (#arrived + 1) * size <= got do arrived[#arrived + 1] = w:now() end
    end
  end }
  local n = seconds // every
  w:task(function()
    local conn = w:host("near"):connect "127.0.0.1:1"
    for i = 1, n do
      at[i] = w:now()
      conn:write(("x"):rep(size))
      w:sleep(every)
    end
  end)
  w:run_for(seconds + 2)
  assert.equal(n, #arrived)
  for i = n // 3, n do took[#took + 1] = (arrived[i] - at[i]) * 1000 end
  return took
end

--- Sends a datagram every `every` seconds; returns the share of the last two thirds that is missing, and how long the others took, in ms.
local function datagrams(t, size, every, seconds)
  local w, at, took = t.w, {}, {}
  local n = seconds // every
  w:host("far"):serve { udp = "127.0.0.1:5300", fn = function(data)
    local i = tonumber(data:match "^%d+")
    if i > n // 3 then took[#took + 1] = (w:now() - at[i]) * 1000 end
  end }
  w:run_for "1s"
  w:task(function()
    local socket = w:host("near"):udp {}
    for i = 1, n do
      at[i] = w:now()
      socket:send(("%d:"):format(i) .. ("."):rep(size), "127.0.0.1:53")
      w:sleep(every)
    end
  end)
  w:run_for(seconds + 2)
  local all = n - n // 3
  return (all - #took) / all, took
end

describe("parity of a stream", function()
  it("brings what an application writes now and then through 5 % of loss without waiting for it to be sent again", function()
    local without = tunnel({ loss = "5%" }, { parity = false })
    local with = tunnel { loss = "5%" }
    local before, after = drip(without, 6000, 0.01, 6), drip(with, 6000, 0.01, 6)
    assert.is_true(percentile(before, 0.5) > 120, percentile(before, 0.5))
    assert.is_true(percentile(after, 0.5) < 65, percentile(after, 0.5))
    assert.is_true(percentile(before, 0.99) > 220, percentile(before, 0.99))
    assert.is_true(percentile(after, 0.99) < 90, percentile(after, 0.99))
    assert.equal(0, without.sent()) -- the far end does not say that it knows parity
    assert.is_true(with.rebuilt() > 40, with.rebuilt())
    assert.is_true(with.sent() < 0.4 * 6 * 480, with.sent())
    local lost = tonumber(with.near:output():match ".*lost ([%d.]+)") -- what is rebuilt still counts as lost where it was sent
    assert.is_true(lost > 0.035 and lost < 0.065, lost)
  end)

  it("costs the receiver no memory once none has come for 10 s, although the peer is silent", function()
    local t = tunnel { loss = "5%" }
    drip(t, 6000, 0.01, 6)
    t.w:link("near", "far"):cut()
    local before = t.far:stats().counters.BytesHeld
    t.w:run_for "11s"
    local freed = before - t.far:stats().counters.BytesHeld
    assert.is_true(freed >= 256 * 1024, freed)
  end)

  it("helps where two or three packets are lost in a row", function()
    local burst = { enter = 0.01, leave = 0.4 }
    local without, with = tunnel({ burst = burst }, { link = "parity = false" }), tunnel { burst = burst }
    local before, after = drip(without, 6000, 0.01, 6), drip(with, 6000, 0.01, 6)
    assert.is_true(percentile(after, 0.9) < percentile(before, 0.9) - 50, percentile(after, 0.9))
    assert.equal(0, without.sent())
  end)

  it("is none on a clean path, also one that reorders", function()
    for _, line in ipairs { {}, { jitter = "5ms", reorder = "5%" } } do
      local t = tunnel(line)
      drip(t, 6000, 0.01, 3)
      assert.equal(0, t.sent())
    end
  end)

  it("is next to none where the stream fills the line, or the rate that the script allows", function()
    local cases = { { { loss = "10%", rate = "10Mbit" } }, { { loss = "10%" }, { link = 'rate = "8Mbit"' } } }
    for _, case in ipairs(cases) do
      local t = tunnel(table.unpack(case))
      t.w:host("far"):serve { on = "127.0.0.1:9", kind = "sink" }
      local up = t.w:transfer { from = "near", to = "127.0.0.1:1", kind = "up", bytes = "4MB" }
      up:wait()
      assert.is_true(t.sent() < 100, t.sent())
    end
  end)
end)

describe("a flow with fec", function()
  it("loses next to nothing at 5 % of loss, for a fraction of its bytes", function()
    local t = tunnel({ loss = "5%" }, { flow = "fec = true" })
    local missing, took = datagrams(t, 1000, 0.005, 6)
    assert.is_true(missing <= 0.005, missing)
    assert.is_true(percentile(took, 0.99) < 110, percentile(took, 0.99))
    assert.is_true(t.sent() < 0.5 * 6 / 0.005, t.sent())
    missing = datagrams(tunnel { loss = "5%" }, 1000, 0.005, 6)
    assert.is_true(missing > 0.03, missing)
  end)

  it("is protected beside a stream that fills the line, which is not", function()
    local t = tunnel({ loss = "5%", rate = "8Mbit" }, { flow = "fec = true" })
    t.w:host("far"):serve { on = "127.0.0.1:9", kind = "sink" }
    t.w:transfer { from = "near", to = "127.0.0.1:1", kind = "up", bytes = "12MB" }
    local missing = datagrams(t, 100, 0.02, 8)
    assert.is_true(missing <= 0.01, missing)
    assert.is_true(t.sent() < 2 * 8 / 0.02 + 100, t.sent())
  end)

  it("loses what it lost with a peer that does not know parity", function()
    local t = tunnel({ loss = "5%" }, { flow = "fec = true", parity = false })
    assert.is_true(datagrams(t, 1000, 0.01, 6) > 0.02)
    assert.equal(0, t.sent())
  end)
end)
