-- Mode auto over whole links, in virtual time: shares of a line, the queue it leaves, what it sizes by itself, and peers in other modes.
local sim = require "kt.sim"

local light = os.getenv "KT_SPEC_LIGHT"
local LONG = light and 8 or 15 -- seconds of a measurement

-- The first byte of a stream says where it goes.
local far_script = [[local kt = require "kt"
kt.accept { on = ":29900", wire = "kcptun", key = "k", %s }:serve(function(stream)
  local conn = kt.connect { to = stream:read(1) == "e" and "127.0.0.1:7" or "127.0.0.1:9" }
  if conn then kt.splice(stream, conn) end
end)]]

local near_script = [[local kt = require "kt"
local far = kt.link { remote = "10.0.0.2:29900", wire = "kcptun", key = "k", %s }
local other = kt.link { remote = "10.0.0.2:29900", wire = "kcptun", key = "k", %s }
local function forward(on, first, link)
  kt.listen { on = on }:serve(function(conn)
    local stream = (link or far):open()
    stream:write(first)
    kt.splice(conn, stream)
  end)
end
forward(":7", "e")
forward(":9", "s")
forward(":19", "s", other)
]]

-- A world with a line and two links over it, of which the second is used through port 19. opts: line, near and far (settings, as text), and
-- what else the near script does.
local function tunnel(opts)
  local near, far = opts.near or 'mode = "auto"', opts.far or opts.near or 'mode = "auto"'
  local w = sim.world {
    seed = opts.seed or 1,
    files = { ["far.lua"] = far_script:format(far), ["near.lua"] = near_script:format(near, near) .. (opts.also or "") },
  }
  w:host("near", { address = "10.0.0.1" })
  w:host("far", { address = "10.0.0.2" })
  local line = w:link("near", "far", opts.line)
  w:host("far"):serve { on = "127.0.0.1:7", kind = "echo" }
  w:host("far"):serve { on = "127.0.0.1:9", kind = "sink" }
  w:host("far"):run "far.lua"
  w:host("near"):run "near.lua"
  return w, line
end

local function bulk(w, port)
  return w:transfer { from = "near", to = "127.0.0.1:" .. (port or 9), bytes = "100MB", kind = "up" }
end

local function link_of(w) return w:host("near"):stats().links[1] end

-- Mbit/s of payload that arrive while the world runs for these seconds.
local function rate(w, transfer, seconds)
  local before = transfer.received
  w:run_for(seconds)
  return (transfer.received - before) * 8 / seconds / 1e6
end

-- 20 Mbit/s of IP packets; headers leave 94 % for payload.
local function line(extra)
  local l = { delay = "50ms", rate = "20Mbit" }
  for k, v in pairs(extra or {}) do l[k] = v end
  return l
end

describe("mode auto", function()
  for loss, least in pairs { [0] = 18.2, [0.01] = 18, [0.1] = 17 } do
    it(("carries %g of 20 Mbit/s at %g %% loss each way, from the second second on"):format(least, loss * 100), function()
      local w = tunnel { line = line { loss = loss } }
      local up = bulk(w)
      w:run "2s"
      local got = rate(w, up, LONG)
      assert.is_true(got >= least, got)
      w:close()
    end)
  end

  it("carries 17 of 20 Mbit/s where losses come in bursts of eight", function()
    local w = tunnel { line = line { burst = { enter = "0.7%", leave = "12.5%" } } }
    local up = bulk(w)
    w:run "3s"
    local got = rate(w, up, LONG)
    assert.is_true(got >= 17, got)
    w:close()
  end)

  it("leaves a queue of at most 20 ms, and echoes beside it wait no longer", function()
    local w = tunnel { line = line() }
    bulk(w)
    w:run "3s"
    local keys = w:keystrokes { from = "near", to = "127.0.0.1:7", every = "50ms", count = 200 }
    for _ = 1, 100 do
      w:run_for "100ms"
      local queue = link_of(w).srtt - 0.1
      assert.is_true(queue <= 0.02, queue)
    end
    w:run_for "1s"
    local times = keys:latencies()
    table.sort(times)
    assert.equal(200, #times)
    assert.is_true(times[198] <= 0.13, times[198])
    w:close()
  end)

  it("follows a line that becomes slower, and one that becomes faster", function()
    local w, l = tunnel { line = line() }
    local up = bulk(w)
    w:run "3s"
    l:set { rate = "5Mbit" }
    w:run_for "2s"
    local slow = rate(w, up, 3)
    assert.is_true(slow >= 4.3, slow)
    assert.is_true(link_of(w).srtt <= 0.14, link_of(w).srtt)
    l:set { rate = "20Mbit" }
    w:run_for "4s"
    local fast = rate(w, up, 3)
    assert.is_true(fast >= 17, fast)
    w:close()
  end)

  it("shares a line with another link in mode auto", function()
    local w = tunnel { line = line() }
    local first = bulk(w)
    w:run "5s"
    local second = bulk(w, 19)
    w:run_for "10s"
    local before = second.received
    local a = rate(w, first, LONG)
    local b = (second.received - before) * 8 / LONG / 1e6
    assert.is_true(a + b >= 18, a + b)
    assert.is_true(math.min(a, b) >= 0.3 * (a + b), math.min(a, b))
    w:close()
  end)

  it("never sends more than a stated bandwidth, headers included", function()
    for _, loss in ipairs { 0, 0.1 } do
      local w, l = tunnel { line = line { loss = loss }, near = 'mode = "auto", bandwidth = "8Mbit"' }
      local up = bulk(w)
      w:run "2s"
      local before = l:stats().sent_bytes
      local got = rate(w, up, 10)
      local sent = (l:stats().sent_bytes - before) * 8 / 10 / 1e6
      assert.is_true(sent <= 8.05, sent)
      assert.is_true(got >= 7.2 * (1 - loss) * (1 - loss / 2), got)
      w:close()
    end
  end)

  it("sizes its receive window by max_buffered, unless one is given", function()
    local function window(far)
      local w = tunnel { line = line(), far = far }
      bulk(w)
      w:run "2s"
      local wnd = link_of(w).rmt_wnd
      w:close()
      return wnd
    end
    assert.is_true(window 'mode = "auto"' > 10000)
    assert.is_true(window 'mode = "auto", max_buffered = "8MiB"' < 1500)
    assert.equal(300, window 'mode = "auto", kcp = { rcvwnd = 300 }')
  end)

  it("keeps to the window of a peer in another mode", function()
    local w = tunnel { line = line { rate = "100Mbit" }, far = 'mode = "fast", kcp = { rcvwnd = 256 }' }
    local up = bulk(w)
    for _ = 1, 50 do
      w:run_for "100ms"
      assert.is_true(link_of(w).inflight <= 256)
    end
    local got = rate(w, up, 3)
    assert.is_true(got >= 0.9 * 256 * 1298 * 8 / 0.1 / 1e6, got)
    w:close()
  end)

  it("sends no parity unless FEC was given, but for the first groups, from which a peer learns", function()
    local function parity(settings)
      local w = tunnel { line = line(), near = settings }
      bulk(w)
      w:run "5s"
      local n = w:host "far".scripts[1]:stats().counters.FECParityShards
      w:close()
      return n
    end
    local learnt = parity 'mode = "auto"'
    assert.is_true(learnt <= 30, learnt)
    assert.is_true(parity 'mode = "auto", fec = { data = 10, parity = 3 }' > 500)
  end)

  it("is no slower than mode fast against a peer whose window is short, and sends parity there once packets are lost", function()
    local function measured(near, loss)
      local w = tunnel { line = line { rate = "100Mbit", loss = loss }, near = near, far = 'mode = "fast", kcp = { rcvwnd = 512 }' }
      local up = bulk(w)
      w:run "3s"
      local got = rate(w, up, 6)
      local parity = w:host "far".scripts[1]:stats().counters.FECParityShards
      w:close()
      return got, parity
    end
    for _, loss in ipairs(light and { 0.1 } or { 0, 0.1 }) do
      local auto, parity = measured('mode = "auto"', loss)
      local fast = measured('mode = "fast", kcp = { sndwnd = 512 }', loss)
      assert.is_true(auto >= 0.95 * fast, ("%g %%: %.1f, mode fast %.1f"):format(loss * 100, auto, fast))
      assert.equal(loss > 0, parity > 1000)
    end
  end)

  it("can be chosen and left while a link is open", function()
    local w = tunnel { line = line { rate = "100Mbit" }, near = 'mode = "fast"', far = 'mode = "auto"', also = [[
      kt.spawn(function()
        kt.sleep "5s"
        far:set { mode = "auto" }
        kt.sleep "5s"
        far:set { mode = "fast" }
      end)]] }
    local up = bulk(w)
    w:run "2s"
    local fast = rate(w, up, 3)
    assert.is_true(fast < 15, fast) -- 128 packets a round trip
    w:run_for "3s"
    local auto = rate(w, up, 2)
    assert.is_true(auto > 60, auto)
    w:run_for "2s"
    local again = rate(w, up, 2)
    assert.is_true(again < 15, again)
    w:close()
  end)
end)
