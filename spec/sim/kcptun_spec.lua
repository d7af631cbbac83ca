-- kcptun's link and acceptor on two simulated hosts: whole transfers over bad lines, and repeatable runs.
local bytes = require "bytes"
local spec_link = require "spec_link"
local spec_sim = require "spec_sim"

local MIB = 1 << 20
local S = 1000000

-- Moves n bytes from a client to a server; gives the world, what arrived, and the time it took in µs.
local function transfer(opts)
  local w = spec_sim.new { seed = opts.seed }
  local near, far = assert(w:host "near"), assert(w:host "far")
  assert(w:link(near, far, opts.line))
  if opts.trace then w:trace() end
  local here, there = spec_link.new(w:process(near, "client")), spec_link.new(w:process(far, "server"))
  local settings = { key = "k", crypt = "salsa20", mode = "fast3", sndwnd = 1024, rcvwnd = 1024, tuncrypt = opts.tuncrypt }
  for k, v in pairs(opts.settings or {}) do settings[k] = v end
  settings.at = ":29900"
  local acceptor = assert(there:accept(settings))
  settings.at = w:addr(far) .. ":29900"
  local link = assert(here:link(settings))
  local opening = assert(link:open())
  local data, sent, got, out, into = bytes.noise(opts.chunk or MIB, 5), 0, {}, nil, nil
  local received = 0
  local function step()
    out = out or opening:stream()
    into = into or acceptor:next()
    while out and sent < opts.n do
      local at = sent % #data
      local taken = out:write(data:sub(at + 1, math.min(#data, at + 65536, at + opts.n - sent)))
      sent = sent + taken
      if taken == 0 then break end
    end
    if into then
      local piece = into:read()
      if #piece > 0 then
        received = received + #piece
        got[#got + 1] = piece
      end
    end
    return received >= opts.n
  end
  if opts.faults then opts.faults(w, near, far) end
  local how, _, text = w:run((opts.limit or 600) * S, step)
  local took, stats, trace = w:now(), w:stats(near, far), w:traced()
  local expected = data:rep(opts.n // #data + 1):sub(1, opts.n)
  here:free()
  there:free()
  local left = w:open(near) + w:open(far)
  w:free()
  return { how = how or text, exact = table.concat(got) == expected, took = took, stats = stats, trace = trace, left = left }
end

describe("kcptun on a simulated line", function()
  it("moves 10 MB over 40 ms and 5 % loss, to the byte, in little real time", function()
    local before = os.clock()
    local r = transfer { seed = 7, n = 10 * MIB, line = { delay_us = 40000, loss = 0.05, rate_bps = 100e6 } }
    local spent = os.clock() - before
    assert.equal("done", r.how)
    assert.is_true(r.exact)
    assert.equal(0, r.left)
    local share = r.stats.lost.loss / r.stats.sent_pkts
    assert.is_true(share > 0.04 and share < 0.06, share)
    assert.is_true(r.took > 1 * S and r.took < 60 * S, r.took)
    if not os.getenv "KT_SPEC_LIGHT" then assert.is_true(spent < 5, "took " .. spent .. " s of processor time") end
  end)

  it("simulates ten minutes of keystrokes beside a 10 MB transfer in less than a second", function()
    local w = spec_sim.new { seed = 1 }
    local near, far = w:host "near", w:host "far"
    assert(w:link(near, far, { delay_us = 40000, loss = 0.05, rate_bps = 100e6 }))
    local here, there = spec_link.new(w:process(near, "client")), spec_link.new(w:process(far, "server"))
    local settings = { key = "k", crypt = "aes", mode = "fast3", sndwnd = 1024, rcvwnd = 1024, at = ":29900" }
    local acceptor = assert(there:accept(settings))
    settings.at = w:addr(far) .. ":29900"
    local link = assert(here:link(settings))
    local bulk, keys = link:open(), link:open()
    local out, typing, sent, typed, streams, received = nil, nil, 0, 0, {}, 0
    local data, n = ("x"):rep(65536), 10 * MIB
    local function press()
      if typing then typed = typed + typing:write "k" end
      if w:now() < 599 * S then w:at(w:now() + 100000, press) end
    end
    press()
    local before = os.clock()
    assert.equal("time", w:run(600 * S, function()
      out, typing = out or bulk:stream(), typing or keys:stream()
      streams[#streams + 1] = acceptor:next()
      while out and sent < n do
        local taken = out:write(data)
        sent = sent + taken
        if taken == 0 then break end
      end
      for _, stream in ipairs(streams) do received = received + #stream:read() end
    end))
    local spent = os.clock() - before
    assert.equal(sent + typed, received)
    assert.is_true(typed > 5900 and sent >= n)
    here:free()
    there:free()
    w:free()
    if not os.getenv "KT_SPEC_LIGHT" then assert.is_true(spent < 1, "took " .. spent .. " s of processor time") end
  end)

  it("gives the same trace with every cipher, FEC, snappy and tuncrypt", function()
    for _, crypt in ipairs { "aes", "aes-128-gcm", "sm4", "twofish", "none", "null" } do
      local settings = { crypt = crypt, datashard = 10, parityshard = 3, compress = true }
      local line = { delay_us = 20000, loss = 0.02 }
      local a = transfer { seed = 3, n = 300000, line = line, settings = settings, trace = true, tuncrypt = true }
      local b = transfer { seed = 3, n = 300000, line = line, settings = settings, trace = true, tuncrypt = true }
      assert.is_true(a.exact and #a.trace > 3000, crypt)
      assert.is_true(a.trace == b.trace, crypt .. ": two runs differ")
    end
  end)

  it("survives an outage shorter than dead_after", function()
    local r = transfer {
      seed = 1, n = 4 * MIB, line = { delay_us = 30000, rate_bps = 20e6 },
      faults = function(w, near, far)
        w:at(500000, function() w:cut(near, far); w:cut(far, near) end)
        w:at(3500000, function() w:heal(near, far); w:heal(far, near) end)
      end,
    }
    assert.equal("done", r.how)
    assert.is_true(r.exact)
    assert.is_true(r.took > 3500000)
    assert.is_true(r.stats.lost.cut > 0)
  end)
end)
