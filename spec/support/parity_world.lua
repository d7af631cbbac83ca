-- A tunnel of two scripts on kt's own wire, in virtual time, and traffic that parity (docs/wire.md, 6.4) can help: for
-- spec/sim/native_parity_spec.lua and bench/parity.
--
--   local t = parity_world.tunnel({ loss = "5%", delay = "50ms", rate = "100Mbit" }, { seed = 1 })
--   local took, missing = parity_world.writes(t, 6000, 0.01, 6, 2)
local sim = require "kt.sim"

local parity_world = {}

local KEY = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4="

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
local far = kt.link { remote = "10.0.0.2:29900", wire = "kt", key = kt.secret_file "key", %s }
kt.listen { on = ":1" }:serve(function(conn)
  local stream <close> = assert(far:open())
  kt.splice(conn, stream)
end)
kt.listen { udp = "127.0.0.1:53" }:serve(function(flow)
  local out <close> = assert(far:flow { to = "127.0.0.1:5300", %s })
  kt.splice(flow, out)
end)
]]

--- Runs the scripts at both ends of a line. opts: seed; parity: of the far end (true); link: settings of the link; flow: options of the flow;
--- near: further lines of the near script, which has the link as `far`. Returns the world `w`, the scripts `near` and `far`, sent() and
--- rebuilt(): packets of parity, and packets rebuilt from them.
function parity_world.tunnel(line, opts)
  local near = near_script:format(opts.link or "", opts.flow or "") .. (opts.near or "")
  local w = sim.world { seed = opts.seed, files = { key = KEY, ["far.lua"] = far_script:format(opts.parity ~= false), ["near.lua"] = near } }
  w:host("near", { address = "10.0.0.1" })
  w:host("far", { address = "10.0.0.2" })
  w:link("near", "far", line)
  local t = { w = w, far = w:host("far"):run "far.lua", near = w:host("near"):run "near.lua" }
  function t.sent() return t.near:stats().counters.FECParityOut end
  function t.rebuilt() return t.far:stats().counters.FECRecovered end
  return t
end

--- Sends with send(i) every `every` seconds, for `seconds`; each sets arrived[i] to when it has arrived. Returns how long those took that
--- were sent after the first `warm` seconds, in ms, and the share of them that is missing.
local function send_regularly(w, arrived, send, every, seconds, warm)
  local at, took, sent, from = {}, {}, 0, w:now()
  w:task(function()
    while w:now() < from + seconds do
      at[#at + 1] = w:now()
      send(#at)
      w:sleep(every)
    end
  end)
  w:run_for(seconds + 2)
  for i, time in ipairs(at) do
    if time > from + warm then
      sent = sent + 1
      if arrived[i] then took[#took + 1] = (arrived[i] - time) * 1000 end
    end
  end
  return took, (sent - #took) / sent
end

--- Writes `size` bytes to a stream every `every` seconds, for `seconds`. Returns how long until the last byte of each write had arrived, in
--- ms, and the share that is missing; without the writes of the first `warm` seconds.
function parity_world.writes(t, size, every, seconds, warm)
  local w, arrived, got, conn = t.w, {}, 0, nil
  w:host("far"):serve { on = "127.0.0.1:9", fn = function(peer)
    while true do
      local data = peer:read()
      if not data then return end
      got = got + #data
      while (#arrived + 1) * size <= got do arrived[#arrived + 1] = w:now() end
    end
  end }
  return send_regularly(w, arrived, function()
    conn = conn or w:host("near"):connect "127.0.0.1:1"
    conn:write(("x"):rep(size))
  end, every, seconds, warm)
end

--- The same with datagrams of `size` bytes. They begin after 0.5 s, when the link is up.
function parity_world.datagrams(t, size, every, seconds, warm)
  local w, arrived, socket = t.w, {}, nil
  w:host("far"):serve { udp = "127.0.0.1:5300", fn = function(data) arrived[tonumber(data:match "^%d+")] = w:now() end }
  w:run_for(0.5)
  return send_regularly(w, arrived, function(i)
    socket = socket or w:host("near"):udp {}
    local head = i .. ":"
    socket:send(head .. ("."):rep(size - #head), "127.0.0.1:53")
  end, every, seconds, warm)
end

function parity_world.percentile(list, share)
  table.sort(list)
  return list[math.max(1, math.ceil(share * #list))] or 0
end

return parity_world
