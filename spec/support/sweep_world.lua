--- The worlds of sweep_spec.lua: a random network, tunnels with random settings, random flows through them and random faults. All
--- randomness comes from the world (w:random), so a seed determines a world. Parts: sweep_settings, sweep_scripts, sweep_flows,
--- sweep_faults, sweep_hostile.
---
--- The invariants of every world:
---   - an attacker without the key who copies and replays packets (one of the faults) ends no session, receives at most three times the
---     bytes that it sent, and leaves no session with a long retransmission timeout;
---   - bytes arrive once and in order; a flow with a clean end is complete, unless a script on its way was killed or had to end early (the
---     kernel closes a dead process's conns cleanly, and kcptun's wire can end a stream only with a FIN);
---   - without harsh faults every flow is complete; reloads, changed settings and late or repeated packets are not harsh;
---   - once all faults are over, every flow ends, every tunnel carries a new one completely, beside others that are never read, and
---     datagrams come back;
---   - beside a hostile peer that has the key, each of these new flows takes at most BESIDE_HOSTILE seconds;
---   - then nothing is left: no conn, stream, task, socket or replaced script, and memory use is as before; no task of a script has failed,
---     no session ended because of what it received, no line carries more than heartbeats, checks and talk, and each script ends at once
---     on TERM.
local faults = require "sweep_faults"
local flows = require "sweep_flows"
local hostile = require "sweep_hostile"
local scripts = require "sweep_scripts"
local settings = require "sweep_settings"

local CALM = 30          -- seconds: all faults are over
local IDLE_MOST = 200    -- packets a second on a line whose flows are over. Measured over 150 worlds: at most 48.
local RTO_MOST = 5       -- seconds; where only an attacker delays packets by more than two seconds
local PATIENCE = "300s"  -- for flows to end after that
local BESIDE_HOSTILE = 60
local TARGET = "127.0.0.1:9000"
local HEADERS = { v4 = 28, v6 = 48 } -- bytes of IP and UDP headers, which count for the line's MTU

local sweep_world = {}

-- ---- the network ----

local function build_far(w, d, net, i)
  local far = { name = "far" .. i, reverse = d.one_in(3), both = settings.common(d), v6 = d.one_in(4), datagram = settings.MTU_MOST }
  far.host = w:host(far.name)
  if d.one_in(3) then far.datagram = d.between(settings.mtu_least(far.both), settings.MTU_MOST) end
  far.settings = settings.own(d, far.both, far.datagram)
  if d.one_in(3) then far.settings.wire = "auto" end -- takes both wires, of which its clients speak one
  net.native = net.native or far.both.wire ~= nil
  far.settings.on = ":29900"
  far.besieged = not far.reverse and d.one_in(5) -- calls back go to the newest link, which would be the hostile peer's
  if far.besieged then far.settings.max_buffered = hostile.BUFFERED end
  if far.besieged and far.settings.smux then far.settings.smux.buffer = 4 << 20 end
  far.address = { far.host:addresses()[far.v6 and 2 or 1] }
  w:name(far.name .. ".example", far.address)
  function far.text() return scripts.far(far) end
  return far
end

-- Sometimes the line's MTU is just what its ends send. Packets are not damaged under the null cipher, where only UDP's checksum protects
-- them.
local function build_tunnel(w, d, net, near, far)
  local ills = settings.ills(d, not net.quiet)
  ills.back = d.one_in(2) and settings.ills(d, not net.quiet) or nil
  local tunnel = { far = far, reverse = far.reverse, datagram = far.datagram, weight = d.between(1, 3) }
  tunnel.mtu = far.datagram + HEADERS[far.v6 and "v6" or "v4"]
  if not d.one_in(3) then tunnel.mtu = math.max(tunnel.mtu, 1500) end
  ills.mtu = tunnel.mtu
  if not net.quiet and far.both.crypt ~= "null" and d.one_in(4) then
    ills.corrupt = d.share(0.03)
    tunnel.corrupt, net.corrupt = true, true
  end
  tunnel.link = w:link(near.name, far.name, ills)
  net.bursty = net.bursty or ills.burst ~= nil or ills.back ~= nil and ills.back.burst ~= nil
  tunnel.near = settings.own(d, far.both, far.datagram)
  tunnel.near.remote = far.name .. ".example:29900"
  if not far.both.wire then
    tunnel.near.sessions = d.between(1, 2)
    if d.one_in(8) then tunnel.near.expire = "5s" end
  end
  local back = ills.back or ills
  net.late = net.late or settings.is_slow(ills, back)
  if ills.rate or back.rate then
    tunnel.narrow, far.narrow = true, true
    settings.patient(tunnel.near)
    settings.patient(far.settings)
  end
  return tunnel
end

local function build_near(w, d, net, i)
  local near = { name = "near" .. i, tunnels = {}, talks = net.talks }
  near.host = w:host(near.name)
  near.nat = d.one_in(3)
  if near.nat then near.host:nat { public = "198.51.100." .. i, timeout = d.pick { 0, 30 }, open = d.one_in(2) } end
  for k, far in ipairs(net.fars) do
    near.tunnels[k] = build_tunnel(w, d, net, near, far)
    table.insert(net.tunnels, near.tunnels[k])
    table.insert(net.ways, { near, "127.0.0.1:" .. 1000 + k, near, far })
  end
  if #net.fars > 1 and not d.one_in(3) then
    local policy = d.pick(scripts.policies)
    near.pool = { policy = policy, settings = settings.pool(d, scripts.steady[policy]) }
    table.insert(net.ways, { near, "127.0.0.1:1000", near, table.unpack(net.fars) })
  end
  function near.text() return scripts.near(near) end
  return near
end

local function build(w, d)
  local net = { nears = {}, fars = {}, tunnels = {}, ways = {}, hosts = {}, quiet = d.one_in(4), talks = d.one_in(3) }
  for i = 1, d.between(1, 2) do net.fars[i] = build_far(w, d, net, i) end
  for i = 1, d.one_in(4) and 2 or 1 do net.nears[i] = build_near(w, d, net, i) end
  for _, far in ipairs(net.fars) do
    far.talks = net.talks
    table.insert(net.hosts, far)
    if far.reverse then table.insert(net.ways, { far, "127.0.0.1:2000", far, back = true, table.unpack(net.nears) }) end
  end
  for _, near in ipairs(net.nears) do table.insert(net.hosts, near) end
  for _, h in ipairs(net.hosts) do
    h.lives = {} -- its scripts so far
    h.crashes, h.away = 0, 0 -- away: links removed from its pool
    if not net.quiet and d.one_in(6) then h.reload = { old = "drain", timeout = "2s" } end
  end
  return net
end

-- ---- judgment of scripts ----

local MISTAKES = { "task failed", "malformed", "smux version", "unknown smux", "traceback" }
-- Counters that must stay 0; those of NONE_WHOLE unless packets are damaged on their way.
local NONE = { "TaskErrors", "StreamsNow" }
local NONE_WHOLE = { "KCPInErrors", "SessionsFailed", "InCsumErrors" }
-- Counters that a hostile peer raises.
local OF_HOSTILE = { InCsumErrors = true, KCPInErrors = true, SessionsFailed = true, FECErrs = true }
-- Counters that must stay 0 in quiet worlds: packets of a restarted peer do not fit into FEC groups from before.
local NONE_QUIET = { "FECErrs", "SessionsRestarted" }
-- ... and in worlds where no line loses or delays only large packets for a while.
local NONE_LARGE = { "MTUReduced" }

local NONE_WINDOWED = { "StreamsCut" }

local function listen_to(script)
  local log = script:log()
  for _, words in ipairs(MISTAKES) do
    local at = log:find(words, 1, true)
    if at then error(("%s says: %s"):format(script.path, log:sub(1, at):match "[^\n]*$" .. log:sub(at + 1, at + 1000)), 0) end
  end
end

local function task_errors(script)
  local usage = script:is_running() and script:stats()
  if usage and usage.counters.TaskErrors > 0 then
    error(("%s: %d of its tasks failed: %s"):format(script.path, usage.counters.TaskErrors, script:log():sub(-600)), 0)
  end
end

-- With smux 2 a stalled reader does not block others, so no stream is cut.
local function windowed(h)
  for _, tunnel in ipairs(h.tunnels or {}) do
    if tunnel.far.both.smux_version < 2 then return false end
  end
  return h.tunnels ~= nil or h.both.smux_version == 2
end

local function count(net, h, script)
  local counters = script:stats().counters
  for _, names in ipairs { NONE, not net.corrupt and NONE_WHOLE or {}, net.quiet and NONE_QUIET or {},
    not net.small and NONE_LARGE or {}, windowed(h) and NONE_WINDOWED or {} } do
    for _, name in ipairs(names) do
      if counters[name] ~= 0 and not (h.besieged and OF_HOSTILE[name]) then error(("%s: %s is %d, not 0"):format(h.name, name, counters[name]), 0) end
    end
  end
end

-- How many bytes a script's state may hold beyond those after its start, both without garbage. Over 5,400 worlds,
-- one came to more than 20 kB without links of peers (23.7 of 569 kB, which more conns did not raise), and none to more than 25 with them.
-- After a hostile peer, kt keeps some hundred coroutines for further conns.
local function memory_bound(h) return (h.reverse and 35000 or 30000) + (h.besieged and 600000 or 0) end

-- Objects left after all flows. Sessions stay, for the next flow.
local function leftovers(net)
  local out = {}
  local function note(h, what, n, want) table.insert(out, ("%s has %d %s, not %d"):format(h.name, n, what, want)) end
  for _, h in ipairs(net.hosts) do
    local usage = h.host:stats()
    -- The spec's server, and the script's listeners.
    local sockets = 2 + (h.settings and 1 + (h.reverse and 1 or 0) + (h.talks and 1 or 0) or #h.tunnels + (h.pool and 1 or 0))
    for _, link in ipairs(usage.links) do
      if link.streams > 0 then note(h, "streams in " .. link.what .. " " .. link.name, link.streams, 0) end
      if not h.settings then sockets = sockets + link.sessions end
    end
    if usage.conns > 0 then note(h, "conns and streams", usage.conns, 0) end
    if usage.apps > 0 then note(h, "apps", usage.apps, 0) end
    if usage.tasks ~= h.baseline.tasks then note(h, "tasks", usage.tasks, h.baseline.tasks) end
    -- A talker may be between two sockets.
    local talkers = not h.settings and h.talks and #h.tunnels or 0
    if usage.sockets > sockets + talkers or usage.sockets < sockets then note(h, "sockets", usage.sockets, sockets + talkers) end
    for _, script in ipairs(h.host.scripts) do
      local replaced = script:is_running() and script:stats().replaced or 0
      if replaced > 0 then note(h, "replaced scripts", replaced, 0) end
    end
  end
  return out
end

local function told(h, text)
  local said = scripts.tell(h, text)
  return tonumber(said) or error(("%s ran: %s, and answered: %s"):format(h.name, text, tostring(said)), 0)
end

-- Bytes that the script's state holds, without garbage. Not asked for over a conn, because packets must be the same in every build.
local function memory_of(h)
  scripts.tell(h, "collect()")
  return h.host:stats().memory
end

-- Checks that datagrams come back.
local function hear(w, net)
  for _, near in ipairs(net.talks and net.nears or {}) do
    local before, deadline = told(near, "return heard"), w:now() + 60
    repeat
      w:run_for "2s"
      if w:now() > deadline then error(near.name .. ": no datagram has come back for 60 s", 0) end
    until told(near, "return heard") > before
  end
end

-- Checks that lines carry little once what was sent to readers that have stopped has arrived.
local function idle(w, net)
  local SECONDS, deadline = 5, w:now() + 60
  local function sent(link) return link:stats(link.a).sent_packets + link:stats(link.b).sent_packets end
  repeat
    local before, busy = {}, nil
    for i, tunnel in ipairs(net.tunnels) do before[i] = sent(tunnel.link) end
    w:run_for(SECONDS .. "s")
    for i, tunnel in ipairs(net.tunnels) do
      local n = (sent(tunnel.link) - before[i]) // SECONDS
      if n > IDLE_MOST then busy = ("%s carries %d packets a second with no flows"):format(tostring(tunnel.link), n) end
    end
    if busy and w:now() > deadline then error(busy, 0) end
  until not busy
end

-- Ends all scripts with TERM, and checks that they exit with 0 and leave nothing open.
local function finish(w, net)
  local ending = {}
  for _, h in ipairs(net.hosts) do
    for _, script in ipairs(h.host.scripts) do
      if script:is_running() then
        table.insert(ending, script)
        script:signal "TERM"
      end
    end
  end
  pcall(w.run_until, w, function()
    for _, script in ipairs(ending) do
      if script:is_running() then return false end
    end
    for _, h in ipairs(net.hosts) do
      if h.host:stats().sockets > 1 then return false end -- one is the spec's server
    end
    return true
  end, { timeout = "10s" })
  for _, script in ipairs(ending) do
    if script.exit_code ~= 0 then error(("%s exited with %s after a TERM"):format(script.path, script.exit_code), 0) end
  end
  for _, h in ipairs(net.hosts) do
    local sockets = h.host:stats().sockets
    if sockets ~= 1 then error(("%s has ended with %d sockets open; expected 1, the spec's"):format(h.name, sockets), 0) end
  end
end

-- Checks that an attacker's copies caused neither long timeouts nor amplification.
local function judge_attacker(net)
  if not net.attacker then return end
  net.attacker:check()
  if net.late then return end
  for _, near in ipairs(net.nears) do
    local rto = told(near, [[
      local worst = 0
      for i = 1, #links do
        local rto = links[i]:stats().rto or 0
        if rto > worst then worst = rto end
      end
      return worst]])
    if rto > RTO_MOST then error(("%s has a retransmission timeout of %g s"):format(near.name, rto), 0) end
  end
end

-- ---- the run ----

-- Flows in progress, through a host or all of them, may now end early; cleanly, if the host was killed.
local function disturber(all)
  return function(how, h, only_back)
    for _, flow in ipairs(all) do
      local meets = h == nil
      for i = 3, #flow.way do meets = meets or flow.way[i] == h end
      if meets and not (flow.over and flow.up.rx.ended) and (flow.way.back or not only_back) then
        flow.disturbed = flow.disturbed or how
        flow.faulted = how
        if h then flow.cut_short = true end
      end
    end
  end
end

local function note_lives(h)
  for _, script in ipairs(h.host.scripts) do
    if h.lives[#h.lives] ~= script then table.insert(h.lives, script) end
  end
end

-- Checks a script that is about to be killed.
local function bury(h)
  note_lives(h)
  for _, script in ipairs(h.host.scripts) do task_errors(script) end
end

local function all_over(all)
  return function()
    for _, flow in ipairs(all) do
      if not flows.over(flow) then return false end
    end
    return true
  end
end

-- In some worlds, along each way: conns that never read. With smux 1 they may be reset.
local function stall(w, d, net)
  local conns = {}
  if not d.one_in(3) then return conns end
  for _, way in ipairs(not net.bursty and net.ways or {}) do
    for _ = 1, way.back and 0 or d.between(0, 4) do conns[#conns + 1] = flows.unread(way) end
  end
  w:run_for "5s"
  return conns
end

local function besieged(way)
  for i = 3, #way do
    if way[i].besieged then return true end
  end
  return false
end

-- Checks that a new flow along each way succeeds after all faults, beside readers that have stopped.
local function probe(w, d, net, all)
  local unread = stall(w, d, net)
  local relieve = hostile.start(w, d, net)
  for _, way in ipairs(net.ways) do
    local began, deadline, flow = w:now(), w:now() + 60
    repeat
      flow = flows.plan(d, #all + 1, way)
      flow.up, flow.down = flows.direction(2 * flow.id, 3000), flows.direction(2 * flow.id + 1, 3000)
      flow.up.chunk, flow.down.chunk, flow.disturbed = 3000, 3000, nil
      all[flow.id] = flow
      flows.start(w, flow)
      w:run_until(all_over(all), { timeout = PATIENCE })
      -- On the way back a link exists only after the near host has connected, and a dead one may not have been noticed yet.
      local again = way.back and not flows.complete(flow) and w:now() < deadline
      if again then w:run_for "2s" end
    until not again
    flows.judge(flow)
    local took = w:now() - began
    if besieged(way) and took > BESIDE_HOSTILE then
      error(("%s took %.1f s beside a hostile peer"):format(flow.tell(), took), 0)
    end
  end
  relieve()
  for _, conn in ipairs(unread) do conn:close() end
end

-- Restores all lines, whatever their state.
local function calm(w, net)
  w:at(CALM, function()
    for _, tunnel in ipairs(net.tunnels) do
      tunnel.link:heal()
      local well = { loss = "1%", corrupt = 0, burst = { enter = 0, leave = 1, loss = 0 }, mtu = tunnel.mtu, rate = "8Mbit",
        queue = { time = "500ms" } }
      tunnel.link:set { there = well, back = well }
    end
  end)
end

-- FNV-1a over units of eight bytes.
local function hash(h, text)
  local whole = #text - #text % 8
  for i = 1, whole, 8 do h = (h ~ ("<i8"):unpack(text, i)) * 0x100000001b3 end
  for i = whole + 1, #text do h = (h ~ text:byte(i)) * 0x100000001b3 end
  return h
end

-- A hash of everything that happened: packets, and what scripts have logged and printed.
local function fingerprint(w, net)
  local h = 0xcbf29ce484222325
  for _, host in ipairs(net.hosts) do
    note_lives(host)
    for _, script in ipairs(host.lives) do h = hash(hash(h, script:log()), script:output()) end
  end
  return ("%s %016x"):format(w:fingerprint(), h)
end

--- For sim.sweep: builds and runs the world of w's seed, raises what is wrong with it, and returns its fingerprint.
function sweep_world.run(w)
  local d = settings.dice(w)
  local net = build(w, d)
  local all = {}
  local function boot(h)
    local usage = h.host:run(h.name .. ".lua"):stats()
    h.baseline = h.baseline or { tasks = usage.tasks }
  end
  local function serve(h) h.server = h.host:serve { on = TARGET, fn = flows.serve(w, all) } end
  for _, h in ipairs(net.hosts) do
    h.host:file(h.name .. ".lua", h.text())
    serve(h)
    boot(h)
  end
  for _, h in ipairs(net.hosts) do h.baseline.memory = memory_of(h) end
  for i = 1, d.between(2, 8) do
    local flow = flows.plan(d, i, d.pick(net.ways))
    all[i] = flow
    if net.bursty then flow.disturbed, flow.faulted = "bursts of losses", true end -- one may last longer than dead_after
    w:at(flow.start + 0.1, function() flows.start(w, flow) end)
  end
  faults.plan { w = w, d = d, net = net, hosts = net.hosts, disturb = disturber(all), boot = boot, serve = serve, bury = bury }
  calm(w, net)

  w:run(CALM + 1)
  w:run_until(all_over(all), { timeout = PATIENCE })
  for _, flow in ipairs(all) do flows.judge(flow) end
  probe(w, d, net, all)
  hear(w, net)
  judge_attacker(net)
  local left
  pcall(w.run_until, w, function()
    left = leftovers(net)
    return #left == 0
  end, { timeout = PATIENCE })
  if #left > 0 then error("left after the end: " .. table.concat(left, "; "), 0) end
  for _, h in ipairs(net.hosts) do
    local memory = memory_of(h) - h.baseline.memory
    if memory > memory_bound(h) then error(("%s holds %d bytes more than at its start"):format(h.name, memory), 0) end
    note_lives(h)
    for _, script in ipairs(h.lives) do listen_to(script) end
    for _, script in ipairs(h.host.scripts) do
      if script:is_running() then
        task_errors(script)
        count(net, h, script)
      end
    end
  end
  idle(w, net)
  finish(w, net)
  return fingerprint(w, net)
end

return sweep_world
