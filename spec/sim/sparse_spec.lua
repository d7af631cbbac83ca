-- Sparse traffic, a keystroke at a time, over lines that lose packets and bring old ones: FEC must not make it slower, and
-- old datagrams must not delay it.
local sim = require "kt.sim"

local far = [[local kt = require "kt"
kt.accept { on = ":29900", wire = "kcptun", key = "k", mode = %q, fec = %s }:serve(function(stream)
  local conn = kt.connect { to = "127.0.0.1:8388" }
  if conn then kt.splice(stream, conn) end
end)]]

local near = [[local kt = require "kt"
local far = kt.link { remote = "10.0.0.2:29900", wire = "kcptun", key = "k", mode = %q, fec = %s }
kt.listen { on = ":12948" }:serve(function(conn) kt.splice(conn, far:open()) end)]]

-- Echoes, one at a time, with a pause after each: the seconds that each took, the longest RTO at the near end, and how many
-- datagrams the far end sent.
local function echoes(opts)
  local fec = opts.fec and "{ data = 10, parity = 3 }" or "false"
  local w = sim.world {
    seed = opts.seed,
    files = { ["far.lua"] = far:format(opts.mode, fec), ["near.lua"] = near:format(opts.mode, fec) },
  }
  w:host("near", { address = "10.0.0.1" })
  w:host("far", { address = "10.0.0.2" })
  local line = w:link("near", "far", opts.line)
  w:host("far"):serve { on = "127.0.0.1:8388", kind = "echo" }
  w:host("far"):run "far.lua"
  w:host("near"):run "near.lua"
  local app, times, rto = w:host("near"):connect "127.0.0.1:12948", {}, 0
  if opts.before then opts.before(w, line, app) end
  for i = 1, opts.n do
    times[i] = app:echo(("x"):rep(40), { timeout = "60s" }).time
    w:run_for(opts.pause)
    for _, link in ipairs(w:host("near"):stats().links) do rto = math.max(rto, link.rto) end
  end
  local answers = line:stats(w:host "far").sent_packets
  w:close()
  return times, rto, answers
end

local function percentile(times, share)
  table.sort(times)
  return times[math.ceil(share * #times)]
end

describe("an echo over a line that loses 10 % each way", function()
  local function measured(mode, pause, fec)
    local all = {}
    for seed = 1, 6 do
      local times = echoes { seed = seed, mode = mode, fec = fec, pause = pause, n = 200, line = { delay = "50ms", loss = "10%" } }
      table.move(times, 1, #times, #all + 1, all)
    end
    return percentile(all, 0.95), percentile(all, 0.99)
  end

  for _, mode in ipairs { "normal", "fast", "fast2", "fast3" } do
    for _, pause in ipairs { "20ms", "700ms" } do
      it(("takes no longer with FEC than without: mode %s, %s apart"):format(mode, pause), function()
        local plain95, plain99 = measured(mode, pause, false)
        local fec95, fec99 = measured(mode, pause, true)
        assert.is_true(fec95 <= plain95 * 1.05, ("p95 %.3f s with FEC, %.3f s without"):format(fec95, plain95))
        assert.is_true(fec99 <= plain99 * 1.05, ("p99 %.3f s with FEC, %.3f s without"):format(fec99, plain99))
      end)
    end
  end
end)

describe("old datagrams, 30 s late or replayed by an attacker without the key,", function()
  for _, fec in ipairs { false, true } do
    it("do not change the RTO or the echoes, " .. (fec and "with" or "without") .. " FEC", function()
      local times, rto = echoes {
        seed = 1, mode = "fast", fec = fec, pause = "200ms", n = 400,
        line = { delay = "50ms", loss = "2%", duplicate = "20%", reorder = "10%", reorder_by = "30s" },
      }
      assert.is_true(rto < 0.5, ("an RTO of %.1f s"):format(rto))
      assert.is_true(percentile(times, 1) < 3, ("an echo of %.1f s"):format(percentile(times, 1)))
    end)
  end
end)

describe("an answer", function()
  it("leaves in one datagram with the acknowledgement of its request", function()
    local _, _, sent = echoes { seed = 1, mode = "fast", fec = false, pause = "200ms", n = 50, line = { delay = "50ms" } }
    assert.is_true(sent >= 50 and sent <= 60, sent .. " datagrams for 50 answers")
  end)
end)

describe("echoes after the line has held everything for 9 s", function()
  for _, fec in ipairs { false, true } do
    it("do not wait for the timeout that this made, " .. (fec and "with" or "without") .. " FEC", function()
      local all = {}
      for seed = 1, 20 do
        local times = echoes {
          seed = seed, mode = "fast2", fec = fec, pause = "20ms", n = 20, line = { delay = "10ms", loss = "8%" },
          before = function(w, line, app)
            app:echo "hello"
            line:hold()
            app:send(("x"):rep(40))
            w:run_for "9s"
            line:heal()
            app:read(40)
          end,
        }
        table.move(times, 1, #times, #all + 1, all)
      end
      assert.is_true(percentile(all, 0.99) < 3, ("p99 %.1f s"):format(percentile(all, 0.99)))
    end)
  end
end)
