--- The worlds of sim_sweep_spec.lua: a random network, tunnels with random settings over it, random flows through them and random
--- faults. All chance is the world's own (w:random), so a seed is a world.
---
--- What must hold, whatever happens:
---   - bytes arrive once and in order; a flow whose end is clean is complete, unless something on its way was killed in its midst
---     (a kernel ends a dead process's conns as if it had said all, and kcptun's wire has no other end for a stream than a FIN);
---   - where nothing was done to anyone, every flow is complete;
---   - once all is well again, every flow ends, and every tunnel carries a new one whole;
---   - then nothing is left: no conn, stream, task or socket, and memory is as it was; and no script has logged a failure of its own.
local core = require "kt.sim.core"

local FOREVER = { timeout = "10000s" }
local CALM = 30          -- seconds: all faults are over
local PATIENCE = "300s"  -- for flows to end then
local TARGET = "127.0.0.1:9000"

local sweep_world = {}

-- ---- chance ----

local function dice(w)
  local d = {}
  function d.one_in(n) return w:random(n) == 1 end
  function d.pick(list) return list[w:random(#list)] end
  function d.between(a, b) return w:random(a, b) end
  function d.share(most) return w:random() * most end
  function d.seconds(most) return w:random(0, math.floor(most * 1000)) / 1000 end
  return d
end

-- ---- settings ----

local CIPHERS = { "aes", "aes-128", "aes-192", "aes-128-gcm", "salsa20", "blowfish", "twofish", "cast5", "3des", "tea", "xtea", "xor", "sm4",
  "none", "null" }
local MODES = { "normal", "fast", "fast2", "fast3", "manual", "default" }

-- What both ends have to agree on.
local function common(d)
  return {
    key = "a key of the sweep's",
    crypt = d.pick(CIPHERS),
    fec = not d.one_in(3) and { data = d.between(1, 12), parity = d.between(1, 4) } or false,
    compress = d.one_in(2),
    qpp = d.one_in(4) and { pads = d.pick { 1, 7, 61 } } or false,
    tuncrypt = d.one_in(4),
    smux_version = d.between(1, 2),
  }
end

-- What each end has of its own.
local function own(d, both)
  local s = {}
  for k, v in pairs(both) do s[k] = v end
  s.smux_version = nil
  s.mode = d.pick(MODES)
  s.kcp = { mtu = d.pick { 400, 900, 1350, 1400 }, sndwnd = d.pick { 8, 32, 128, 1024 }, rcvwnd = d.pick { 32, 33, 64, 127, 512, 1024 },
    acknodelay = d.one_in(2) }
  if s.mode == "manual" then
    s.kcp.nodelay, s.kcp.interval, s.kcp.resend, s.kcp.nc = d.one_in(2), d.between(10, 60), d.between(0, 3), d.one_in(2)
  end
  local stream_buffer = d.pick { 8192, 65536, 1 << 20 }
  s.smux = { version = both.smux_version, stream_buffer = stream_buffer, buffer = math.max(stream_buffer, d.pick { 65536, 1 << 20, 4 << 20 }),
    frame = d.pick { 512, 4096, 8192, 32768 }, keepalive = d.pick { "1s", "3s", "10s" } }
  s.dead_after = d.pick { "3s", "5s", "10s" }
  if d.one_in(6) then s.rate = d.pick { 50000, 500000 } end
  return s
end

local function literal(v)
  if type(v) ~= "table" then return ("%q"):format(v) end
  local keys, out = {}, {}
  for k in pairs(v) do keys[#keys + 1] = k end
  table.sort(keys)
  for i, k in ipairs(keys) do out[i] = k .. " = " .. literal(v[k]) end
  return "{ " .. table.concat(out, ", ") .. " }"
end

-- ---- the scripts ----

local PRELUDE = [[
local kt = require "kt"
local function carry(listener, from)
  listener:serve(function(conn)
    local stream, err = from():open { timeout = "5s" }
    if not stream then return conn:reset(err) end
    kt.splice(conn, stream, { idle = "60s" })
  end)
end
local function lead(from)
  from:serve(function(stream)
    local conn, err = kt.connect { to = "127.0.0.1:9000", timeout = "5s" }
    if not conn then return stream:reset(err) end
    kt.splice(stream, conn, { idle = "60s" })
  end)
end
]]

-- Near hosts listen on 127.0.0.1:1001 and so on, a port for each far host, and on 1000 for all of them together; far hosts on 2000 for the
-- way back, to whoever came last.
local function near_script(near)
  local out = { PRELUDE, "local links = {}\n" }
  for i, tunnel in ipairs(near.tunnels) do
    table.insert(out, ("links[%d] = kt.link %s\ncarry(kt.listen { on = '127.0.0.1:%d' }, function() return links[%d] end)\n"):format(
      i, literal(tunnel.near), 1000 + i, i))
    if tunnel.reverse then table.insert(out, ("lead(links[%d])\n"):format(i)) end
  end
  if near.pool then
    table.insert(out, ("local pool = kt.pool { links = links, policy = %q }\ncarry(kt.listen { on = '127.0.0.1:1000' }, function() return pool end)\n")
      :format(near.pool))
  end
  return table.concat(out)
end

local function far_script(far)
  local out = { PRELUDE, ("local acceptor = kt.accept %s\nlead(acceptor)\n"):format(literal(far.settings)) }
  if far.reverse then
    table.insert(out, [[
local last
local nobody = { open = function() return nil end }
acceptor:on("link", function(link) last = link end)
kt.listen { on = "127.0.0.1:2000" }:serve(function(conn)
  local stream, err = (last or nobody):open { timeout = "5s" }
  if not stream then return conn:reset(last and err) end
  kt.splice(conn, stream, { idle = "60s" })
end)
]])
  end
  return table.concat(out)
end

-- ---- the network ----

local function ills(d, harsh)
  local o = { delay = d.between(0, 120) / 1000, jitter = d.between(0, 15) / 1000, loss = d.share(harsh and 0.15 or 0.03) }
  if d.one_in(3) then o.duplicate = d.share(0.05) end
  if d.one_in(3) then o.reorder = d.share(0.1) end
  if harsh and d.one_in(3) then o.burst = { enter = d.share(0.01), leave = 0.1 + d.share(0.4) } end
  if d.one_in(2) then
    o.rate = d.pick { 30000, 100000, 1000000, 10000000 }
    o.queue = d.pick { { packets = 20 }, { time = "200ms" }, { bytes = "64kB" } }
  end
  return o
end

local function build(w, d)
  local net = { nears = {}, fars = {}, tunnels = {}, ways = {}, quiet = d.one_in(4) }
  for i = 1, d.between(1, 2) do net.fars[i] = { name = "far" .. i, reverse = d.one_in(3), both = common(d) } end
  for i = 1, d.one_in(4) and 2 or 1 do net.nears[i] = { name = "near" .. i, tunnels = {} } end
  for i, far in ipairs(net.fars) do
    far.host = w:host(far.name)
    far.settings = own(d, far.both)
    far.settings.on = ":29900"
    w:name(far.name .. ".example", far.name)
    far.index = i
  end
  for i, near in ipairs(net.nears) do
    near.host = w:host(near.name)
    near.nat = d.one_in(3)
    if near.nat then near.host:nat { public = "198.51.100." .. i, timeout = d.pick { 0, 30 }, open = d.one_in(2) } end
    if #net.fars > 1 and d.one_in(2) then near.pool = d.pick { "first", "round_robin", "least_loaded", "lowest_rtt", "hash" } end
    for k, far in ipairs(net.fars) do
      local there = ills(d, not net.quiet)
      there.back = d.one_in(2) and ills(d, not net.quiet) or nil
      -- Where nothing but the sum of a null cipher's plain bytes protects them, nobody damages them.
      if not net.quiet and far.both.crypt ~= "null" and d.one_in(4) then there.corrupt = d.share(0.03) end
      local tunnel = { link = w:link(near.name, far.name, there), near = own(d, far.both), reverse = far.reverse }
      tunnel.near.remote = far.name .. ".example:29900"
      tunnel.near.sessions = d.between(1, 2)
      if d.one_in(8) then tunnel.near.expire = "5s" end
      near.tunnels[k] = tunnel
      table.insert(net.tunnels, tunnel)
      table.insert(net.ways, { near, "127.0.0.1:" .. 1000 + k, near, far })
    end
    if near.pool then table.insert(net.ways, { near, "127.0.0.1:1000", near, table.unpack(net.fars) }) end
  end
  for _, far in ipairs(net.fars) do
    if far.reverse then table.insert(net.ways, { far, "127.0.0.1:2000", far, back = true, table.unpack(net.nears) }) end
  end
  return net
end

-- ---- flows ----

-- One direction: what it is to carry; what was sent, and whether that was all there will be; what came, and how it ended.
local function direction(seed, bytes) return { seed = seed, bytes = bytes, tx = { sent = 0 }, rx = { got = 0 } } end

local function plan(d, id, way)
  local function size()
    return d.pick { 0, 1, d.between(2, 500), d.between(500, 8000), d.between(8000, 60000), d.between(8000, 60000), d.between(60000, 300000) }
  end
  local flow = { id = id, from = way[1], to = way[2], way = way, up = direction(2 * id, size()), down = direction(2 * id + 1, size()),
    answers = d.one_in(2), start = d.seconds(12) }
  if way.back then flow.start = flow.start + 5 end -- somebody has to have called
  flow.up.chunk, flow.down.chunk = d.pick { 1000, 16384, 65536 }, d.pick { 1000, 16384, 65536 }
  for _, dir in ipairs { flow.up, flow.down } do
    if d.one_in(8) then dir.slow = { at_most = d.pick { 700, 5000 }, pause = d.between(5, 60) / 1000 } end
    if d.one_in(10) then
      dir.abort = { at = d.between(0, dir.bytes), how = d.pick { "reset", "close" } }
      flow.disturbed = "it was to be aborted"
    end
  end
  function flow.tell() return ("flow %d from %s by %s"):format(id, flow.from.name, flow.to) end
  return flow
end

local function send_all(conn, dir, tx)
  while tx.sent < dir.bytes do
    local n = math.min(dir.chunk, dir.bytes - tx.sent)
    if dir.abort then
      if tx.sent >= dir.abort.at then return conn[dir.abort.how](conn) end
      n = math.min(n, dir.abort.at - tx.sent)
    end
    if not conn:write(core.bytes(dir.seed, tx.sent, n), FOREVER) then return end
    tx.sent = tx.sent + n
  end
  conn:shutdown()
end

local function send(conn, dir, tx)
  send_all(conn, dir, tx)
  tx.over = true
end

local function receive(w, flow, conn, dir, rx)
  while true do
    local data, err = conn:read(dir.slow and dir.slow.at_most or 1 << 20, FOREVER)
    if not data then
      rx.ended = err.code
      return
    end
    local wrong = core.differ(dir.seed, rx.got, data)
    if wrong then error(("%s: byte %d is not the one that was sent"):format(flow.tell(), wrong), 0) end
    rx.got = rx.got + #data
    if dir.slow then w:sleep(dir.slow.pause) end
  end
end

-- A stream whose session died before its peer was heard of it is opened anew in the next: then it may come twice, and what counts is
-- what came last.
local function serve(w, flows)
  return function(conn)
    local head = conn:read_exactly(8, FOREVER)
    local flow = head and flows[tonumber(head)]
    if not flow then return end
    if flow.served and not flow.disturbed then error(flow.tell() .. ": it came twice, and nothing was done to it", 0) end
    flow.served = true
    local tx, rx = { sent = 0 }, { got = 0 }
    flow.down.tx, flow.up.rx = tx, rx
    if not flow.answers then w:task(send, conn, flow.down, tx) end
    receive(w, flow, conn, flow.up, rx)
    if flow.answers then send(conn, flow.down, tx) end
    while not tx.over do w:sleep(0.05) end
  end
end

local function start(w, flow)
  if not flow.from.host:is_up() then
    flow.over = "its host was down"
    return
  end
  local conn, err = flow.from.host:try_connect(flow.to)
  if not conn then
    flow.over = "no conn: " .. tostring(err)
    return
  end
  w:task(function()
    if conn:write(("%08d"):format(flow.id), FOREVER) then send_all(conn, flow.up, flow.up.tx) end
    flow.up.tx.over = true
  end)
  receive(w, flow, conn, flow.down, flow.down.rx)
  while not flow.up.tx.over do w:sleep(0.05) end
  conn:close()
  flow.over = "it ended"
end

-- Whether both of its ends know that it is over.
local function over(flow) return flow.over and (not flow.served or flow.up.rx.ended) end

-- ---- faults ----

-- A fault is whole: what it takes away it gives back, by the time at which all is to be well.
local function faults(w, d, net, flows, boot)
  local hosts = {}
  for _, h in ipairs(net.nears) do table.insert(hosts, h) end
  for _, h in ipairs(net.fars) do table.insert(hosts, h) end

  -- Whoever has bytes on their way through that host may see them end in their midst.
  local function disturb(how, h)
    for _, flow in ipairs(flows) do
      local meets = h == nil
      for i = 3, #flow.way do meets = meets or flow.way[i] == h end
      if meets and not (flow.over and flow.up.rx.ended) then
        flow.disturbed = flow.disturbed or how
        if h then flow.cut_short = true end
      end
    end
  end

  local kinds = {
    function(text, lasts)
      local tunnel, how = d.pick(net.tunnels), text.how
      return how .. " " .. tostring(tunnel.link), function()
        tunnel.link[how](tunnel.link, text.from and tunnel.link[text.from] or nil)
        w:sleep(lasts)
        tunnel.link:heal()
      end
    end,
    function(_, lasts)
      local h = d.pick(hosts)
      return "crash " .. h.name, function()
        if not h.host:is_up() then return end
        disturb("a crash", h)
        h.host:crash()
        w:sleep(lasts / 3)
        disturb("a restart", h)
        h.host:restart()
      end
    end,
    function(_, lasts)
      local h = d.pick(hosts)
      return "kill the script of " .. h.name, function()
        for _, script in ipairs(h.host.scripts) do
          if script:is_running() and h.host:is_up() then
            disturb("a kill", h)
            script:kill()
            w:sleep(lasts / 3)
            while not h.host:is_up() do w:sleep(0.1) end
            disturb("a new start", h)
            return boot(h)
          end
        end
      end
    end,
    function(_, lasts)
      local h, rate = d.pick(hosts), d.pick { 2000, 30000, 300000 }
      return "slow reader " .. h.name, function()
        h.host:slow_reader(rate)
        w:sleep(lasts)
        h.host:slow_reader()
      end
    end,
    function(_, lasts)
      local h, most = d.pick(hosts), d.between(1, 2000)
      return ("io of %d bytes at %s"):format(most, h.name), function()
        h.host:short_io(most)
        w:sleep(lasts)
        h.host:short_io()
      end
    end,
    function(_, lasts)
      local h = d.pick(hosts)
      return "full socket buffers at " .. h.name, function() h.host:udp_full(math.min(lasts, 3)) end
    end,
    function(_, lasts)
      local far = d.pick(net.fars)
      local other = d.one_in(2)
      return "the name of " .. far.name .. (other and " leads nowhere" or " fails"), function()
        if other then w:name(far.name .. ".example", false) else w:name(far.name .. ".example", far.name, { fail = true }) end
        w:sleep(lasts)
        w:name(far.name .. ".example", far.name)
      end
    end,
    function()
      local near = d.pick(net.nears)
      return "rebinding of " .. near.name, function() if near.nat then near.host:nat_rebind() end end
    end,
    function()
      local h, by = d.pick(hosts), d.between(-5000, 5000)
      return ("the clock of %s jumps by %d s"):format(h.name, by), function() h.host:clock_jump(by) end
    end,
    function(_, lasts)
      local h = d.pick(hosts)
      return "nobody answers behind " .. h.name, function()
        if h.closed then return end
        h.closed = true
        h.server:close()
        w:sleep(lasts)
        while not h.host:is_up() do w:sleep(0.1) end
        h.server = h.host:serve { on = TARGET, fn = serve(w, flows) }
        h.closed = false
      end
    end,
  }
  for _ = 1, net.quiet and 0 or d.between(1, 7) do
    local at, lasts, from = d.seconds(15), d.seconds(d.pick { 1, 6, 14 }), d.pick { false, "a", "b" }
    local text, fn = d.pick(kinds)({ how = d.pick { "cut", "hold" }, from = from }, lasts)
    w:fault(at, ("%s for %g s"):format(text, lasts), function()
      disturb(text)
      fn()
    end)
  end
  -- However it looks now: all is to be well.
  w:at(CALM, function()
    for _, tunnel in ipairs(net.tunnels) do
      tunnel.link:heal()
      tunnel.link:set { loss = "1%", corrupt = 0, burst = { enter = 0, leave = 1, loss = 0 } }
    end
  end)
end

-- ---- judgment ----

local function complete(dir) return dir.rx.ended == "eof" and dir.rx.got == dir.bytes end

local function judge(flow)
  -- What one end of a flow breaks off the other may see as a clean end.
  local clean = not (flow.cut_short or flow.up.abort or flow.down.abort) and flow.up.rx.ended == "eof" and flow.down.rx.ended == "eof"
  for _, name in ipairs { "up", "down" } do
    local dir = flow[name]
    local tx, rx = dir.tx, dir.rx
    local wrong = rx.got > tx.sent and "more than was sent" or clean and not complete(dir) and "a clean end in the midst"
      or not flow.disturbed and not complete(dir) and "and nothing was done to it"
    if wrong then
      error(("%s, %s: %d of %d bytes came, %d were written; it ended with %s: %s"):format(flow.tell(), name, rx.got, dir.bytes, tx.sent,
        tostring(rx.ended or flow.over), wrong), 0)
    end
  end
end

local MISTAKES = { "task failed", "malformed", "smux version", "where smux", "unknown smux", "traceback" }

local function listen_to(script)
  local log = script:log()
  for _, words in ipairs(MISTAKES) do
    local at = log:find(words, 1, true)
    if at then error(("%s says: %s"):format(script.path, log:sub(at > 80 and at - 80 or 1):match "[^\n]*\n?[^\n]*"), 0) end
  end
end

-- A new flow by each way, now that all is well.
local function probe(w, d, net, flows)
  local probes = {}
  for _, way in ipairs(net.ways) do
    -- On the way back there is somebody only once somebody has called.
    local flow = plan(d, #flows + 1, way)
    flow.up, flow.down = direction(2 * flow.id, 3000), direction(2 * flow.id + 1, 3000)
    flow.up.chunk, flow.down.chunk, flow.disturbed = 3000, 3000, nil
    flows[flow.id] = flow
    table.insert(probes, flow)
    start(w, flow)
  end
  return probes
end

local function all_over(flows)
  return function()
    for _, flow in ipairs(flows) do
      if not over(flow) then return false end
    end
    return true
  end
end

-- What is left when everybody has gone. Sessions stay: they are there for whoever comes next.
local function leftovers(hosts)
  local out = {}
  local function note(h, what, n, want) table.insert(out, ("%s has %d %s, not %d"):format(h.name, n, what, want)) end
  for _, h in ipairs(hosts) do
    local usage = h.host:stats()
    local sockets = h.settings and (h.reverse and 3 or 2) or 1 + #h.tunnels + (h.pool and 1 or 0)
    for _, link in ipairs(usage.links) do
      if link.streams > 0 then note(h, "streams in " .. link.what .. " " .. link.name, link.streams, 0) end
      if not h.settings then sockets = sockets + link.sessions end
    end
    if usage.conns > 0 then note(h, "conns and streams", usage.conns, 0) end
    if usage.apps > 0 then note(h, "apps", usage.apps, 0) end
    if usage.tasks > h.baseline.tasks then note(h, "tasks", usage.tasks, h.baseline.tasks) end
    if usage.sockets > sockets then note(h, "sockets", usage.sockets, sockets) end
    if usage.memory > h.baseline.memory + 300000 then note(h, "bytes of memory", usage.memory, h.baseline.memory) end
  end
  return out
end

--- For sim.sweep: builds the world of w's seed, lets it happen, and raises what is wrong with it.
function sweep_world.run(w)
  local d = dice(w)
  local net = build(w, d)
  local flows, hosts = {}, {}
  local function boot(h)
    local script = h.host:run(h.name .. ".lua")
    local usage = script:stats()
    h.baseline = h.baseline or { tasks = usage.tasks, memory = usage.memory }
  end
  for _, group in ipairs { net.fars, net.nears } do
    for _, h in ipairs(group) do
      table.insert(hosts, h)
      h.host:file(h.name .. ".lua", h.settings and far_script(h) or near_script(h))
      h.server = h.host:serve { on = TARGET, fn = serve(w, flows) }
      boot(h)
    end
  end
  for i = 1, d.between(2, 8) do
    local flow = plan(d, i, d.pick(net.ways))
    flows[i] = flow
    w:at(flow.start, function() start(w, flow) end)
  end
  faults(w, d, net, flows, boot)

  w:run(CALM + 1)
  w:run_until(all_over(flows), { timeout = PATIENCE })
  for _, flow in ipairs(flows) do judge(flow) end
  local probes = probe(w, d, net, flows)
  w:run_until(all_over(flows), { timeout = PATIENCE })
  for _, flow in ipairs(probes) do judge(flow) end
  local left
  pcall(w.run_until, w, function()
    left = leftovers(hosts)
    return #left == 0
  end, { timeout = PATIENCE })
  if #left > 0 then error("all is over, but " .. table.concat(left, "; "), 0) end
  for _, h in ipairs(hosts) do
    for _, script in ipairs(h.host.scripts) do listen_to(script) end
  end
end

return sweep_world
