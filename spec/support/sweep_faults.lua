--- The faults in sweep_world.lua's worlds. Each fault restores what it took away, before the time at which all faults are over.
---
--- A gentle fault must not end any flow; quiet worlds have only gentle ones. Other faults disturb flows, which may then end early, with a
--- reason. Those that end a script before its conns may make the end look clean.
local attacker = require "attacker"
local scripts = require "sweep_scripts"
local settings = require "sweep_settings"

local faults = {}

-- Which packets a rule affects: a name, and a function of the packet and its number.
local LARGE = { "large packets", function(packet) return packet.size > 300 end }
local PACKETS = {
  { "small packets", function(packet) return packet.size < 120 end },
  LARGE,
  { "every second packet", function(_, n) return n % 2 == 0 end },
  { "every tenth packet", function(_, n) return n % 10 == 0 end },
  { "runs of packets", function(_, n) return n % 64 < 16 end },
}

--- Two lists of kinds of faults, harsh and gentle: function(lasts) → text, function.
--- world = { w, d, net, hosts, disturb, boot, serve }.
local function kinds(world)
  local w, d, net, disturb = world.w, world.d, world.net, world.disturb

  -- Runs fn while no other fault is busy with the host; waits until then.
  local function alone(h, fn, ...)
    while h.busy do w:sleep(0.05) end
    h.busy = true
    fn(...)
    h.busy = false
  end

  local function running(h)
    if not h.host:is_up() then return nil end
    for _, script in ipairs(h.host.scripts) do
      if script:is_running() then return script end
    end
  end

  local function start_again(h, after)
    w:sleep(after)
    while not h.host:is_up() do w:sleep(0.1) end
    disturb("a new start", h)
    alone(h, world.boot, h)
  end

  -- A tunnel, and a direction of it.
  local function one_way()
    local tunnel = d.pick(net.tunnels)
    local from, to = tunnel.link.a, tunnel.link.b
    if d.one_in(2) then from, to = to, from end
    return tunnel, from, to
  end

  local function rule(lasts, said, which)
    local _, from, to = one_way()
    return ("%s from %s to %s %s"):format(which[1], from, to, said.text), function()
      local n = 0
      local made = w:rule { from = from, to = to, fn = function(packet)
        n = n + 1
        return which[2](packet, n) and said.verdict or nil
      end }
      w:sleep(lasts)
      made:remove()
    end
  end

  local function reload(h, lasts, text, fn)
    return ("%s at %s"):format(text, h.name), function()
      if not running(h) then return end
      alone(h, fn)
      w:sleep(lasts / 3)
    end
  end

  -- A conn back from a far host may use a link of the replaced script, because that host does not know yet that it has ended.
  local function reloaded(h)
    if h.reload then disturb("a reload that gives conns two seconds", h) end
    if h.tunnels then disturb("a reload of who calls back", h, true) end
  end

  local function hup(h, times)
    for _ = 1, times do
      local script = running(h)
      if script then script:signal "HUP" end
      w:sleep(0.25) -- reloads are at least 0.2 s apart
    end
  end

  local harsh, gentle = {}, {}

  -- ---- lines ----

  local function outage(how)
    return function(lasts)
      local tunnel, from = one_way()
      if d.one_in(2) then from = nil end
      return ("%s of %s%s"):format(how, tostring(tunnel.link), from and " from " .. from or ""), function()
        if how == "hold" then net.late = true end
        tunnel.link[how](tunnel.link, from)
        w:sleep(lasts)
        tunnel.link:heal()
      end
    end
  end
  table.insert(harsh, outage "cut")
  table.insert(harsh, outage "hold")

  table.insert(harsh, function(lasts)
    local tunnel, mtu = d.pick(net.tunnels), d.between(300, 1000)
    return ("%s takes packets of %d bytes at most"):format(tostring(tunnel.link), mtu), function()
      net.small = true
      tunnel.link:set { mtu = mtu }
      w:sleep(lasts)
      tunnel.link:set { mtu = tunnel.mtu }
    end
  end)
  table.insert(harsh, function()
    local tunnel = d.pick(net.tunnels)
    local o = { rate = d.pick { 5000, 20000, 10000000 }, queue = { time = "400ms" }, delay = d.between(0, 800) / 1000, jitter = d.between(0, 100) / 1000 }
    return ("%s changes to %s"):format(tostring(tunnel.link), settings.literal(o)), function()
      net.late = true
      net.small = net.small or o.rate == 5000 -- 2000 bytes fit the queue: mostly large packets are lost
      tunnel.link:set(o)
    end
  end)
  table.insert(gentle, function()
    local tunnel, o = d.pick(net.tunnels), settings.ills(d, false)
    local side = d.pick { "there", "back" }
    o.rate = o.rate or d.one_in(2) and 200000 or nil
    if not tunnel.narrow then o.rate, o.queue = nil, nil end -- its ends may have a short dead_after
    net.late = net.late or settings.is_slow(o, o)
    return ("%s changes to %s"):format(tostring(tunnel.link), settings.literal { [side] = o }), function() tunnel.link:set { [side] = o } end
  end)

  -- ---- single packets ----

  table.insert(harsh, function(lasts)
    local said = d.pick {
      { text = "get lost", verdict = "drop" },
      { text = "come late", verdict = { delay = d.between(500, 3000) / 1000 } },
      { text = "come four times", verdict = { copies = 3 } },
      { text = "come twice, and late", verdict = { copies = 1, delay = "900ms" } },
    }
    local which, dropped = d.pick(PACKETS), said.verdict == "drop"
    local late = not dropped and said.verdict.delay ~= nil
    net.late = net.late or late
    net.small = net.small or which == LARGE and (dropped or late)
    return rule(lasts, said, which)
  end)
  table.insert(gentle, function(lasts)
    if d.one_in(3) then return rule(lasts, { text = "get lost", verdict = "drop" }, PACKETS[4]) end
    local said = d.pick {
      { text = "come late", verdict = { delay = d.between(10, 250) / 1000 } },
      { text = "come twice", verdict = { copies = 1 } },
    }
    return rule(lasts, said, d.pick(PACKETS))
  end)

  -- Copies by someone without the key. Only of the tunnel's datagrams, as scripts send their own on the same line.
  table.insert(gentle, function(lasts)
    local tunnel, from, to = one_way()
    local every, late, kept = d.pick { 1, 2, 10 }, d.pick { 0, 0.002, 0.3, 5 }, d.pick { 1, 30, 300 }
    local own = to == tunnel.link.b and d.one_in(2) -- clients accept datagrams only from their server's address
    net.attacker = net.attacker or attacker.new(w)
    net.attacker:near(tunnel.link.a)
    net.attacker:near(tunnel.link.b)
    local text = ("an attacker copies datagrams from %s to %s, 1 in %d, %g s late, from %s address, then sends all again")
    return text:format(from, to, every, late, own and "another" or "its"), function()
      local on, copied = true, {}
      net.attacker:watch(from, to, function(datagram, n)
        if not on or n % every ~= 0 or not (datagram.to .. datagram.from):find(":29900", 1, true) then return end
        if #copied < kept then table.insert(copied, datagram) end
        w:sleep(late)
        net.attacker:send(datagram, own and 4000 + n % 5 or datagram.from)
      end)
      w:sleep(lasts)
      on = false
      for i, datagram in ipairs(copied) do net.attacker:send(datagram, own and 4000 + i % 5 or datagram.from) end
    end
  end)

  -- ---- scripts ----

  table.insert(harsh, function(lasts)
    local h = d.pick(world.hosts)
    return "kill the script of " .. h.name, function()
      local script = running(h)
      if not script then return end
      disturb("a kill", h)
      world.bury(h)
      script:kill()
      start_again(h, lasts / 3)
    end
  end)
  local termed = {}
  table.insert(harsh, function(lasts)
    local h = d.pick(world.hosts)
    return "end the script of " .. h.name, function()
      local script = running(h)
      if not script then return end
      local life = h.crashes -- after a crash the same script runs again, and has had no TERM
      script:signal "TERM" -- a second TERM ends it at once
      if termed[script] == life then return end
      termed[script] = life
      disturb("an end in good order", h)
      local until_then = w:now() + 7 -- 5 s to finish, then up to 1 s for resets to arrive
      while script:is_running() and h.crashes == life do
        if w:now() > until_then then error(("the script of %s is still running 7 s after a TERM"):format(h.name), 0) end
        w:sleep(0.1)
      end
      if h.crashes ~= life or not script.exit_code then return end -- crashed or killed in the meantime
      if script.exit_code ~= 0 then error(("the script of %s ended with code %s after a TERM"):format(h.name, script.exit_code), 0) end
      start_again(h, lasts / 3)
    end
  end)
  table.insert(gentle, function(lasts)
    local h, times = d.pick(world.hosts), d.between(1, 3)
    return reload(h, lasts, "reload", function()
      reloaded(h)
      hup(h, times)
    end)
  end)
  table.insert(gentle, function(lasts)
    local h, text = d.pick(world.hosts), d.pick(scripts.broken)
    return reload(h, lasts, "reload of a broken script", function()
      h.host:file(h.name .. ".lua", text)
      hup(h, 1)
      h.host:file(h.name .. ".lua", h.text())
    end)
  end)
  table.insert(gentle, function(lasts)
    local h = d.pick(world.hosts)
    local others = {}
    local function other(of, both, datagram)
      local o = settings.own(d, both, datagram)
      return of.narrow and settings.patient(o) or o
    end
    for i, tunnel in ipairs(h.tunnels or {}) do others[i] = other(tunnel, tunnel.far.both, tunnel.datagram) end
    if h.settings then
      others[1] = other(h, h.both, h.datagram)
      others[1].wire = h.settings.wire
    end
    return reload(h, lasts, "reload with other settings", function()
      for i, o in ipairs(others) do
        local which = h.settings or h.tunnels[i].near
        for name, value in pairs(o) do which[name] = value end
      end
      reloaded(h)
      h.host:file(h.name .. ".lua", h.text())
      hup(h, 1)
    end)
  end)
  local function told(h, text)
    return h.name .. " runs: " .. text, function() scripts.tell(h, text) end
  end
  table.insert(gentle, function()
    local h = d.pick(net.nears)
    local i = d.between(1, #h.tunnels)
    local change = settings.change(d, h.tunnels[i].far.both)
    if h.tunnels[i].narrow then settings.patient(change) end
    return told(h, ("links[%d]:set %s"):format(i, settings.literal(change)))
  end)
  table.insert(gentle, function(lasts)
    local h, most, other = d.pick(world.hosts), d.pick { 15000, 100000 }, d.pick { 0, 15000, 100000 }
    local text, fn = told(h, ("limit(%d, %d)"):format(most, other))
    return text, function()
      fn()
      w:sleep(lasts)
      scripts.tell(h, "limit(0, 0)")
    end
  end)
  table.insert(gentle, function(lasts)
    local h = d.pick(net.nears)
    if not h.pool then return told(h, "limit(0, 0)") end
    local i = d.between(1, #h.tunnels)
    local text, fn = told(h, ("leave(%d)"):format(i))
    return text, function()
      if h.away >= #h.tunnels - 1 then return end -- a pool without links refuses every open
      h.away = h.away + 1
      fn()
      w:sleep(lasts)
      scripts.tell(h, ("enter(%d)"):format(i))
      h.away = h.away - 1
    end
  end)

  -- ---- hosts ----

  table.insert(harsh, function(lasts)
    local h = d.pick(world.hosts)
    return "crash " .. h.name, function()
      if not h.host:is_up() then return end
      alone(h, function()
        disturb("a crash", h)
        world.bury(h)
        h.host:crash()
        h.crashes = h.crashes + 1
        w:sleep(lasts / 3)
        disturb("a restart", h)
        h.host:restart()
      end)
    end
  end)
  table.insert(harsh, function(lasts)
    local h, rate = d.pick(world.hosts), d.pick { 2000, 30000, 300000 }
    return "slow reader " .. h.name, function()
      h.host:slow_reader(rate)
      w:sleep(lasts)
      h.host:slow_reader()
    end
  end)
  table.insert(harsh, function(lasts)
    local h, most = d.pick(world.hosts), d.between(1, 2000)
    return ("io of %d bytes at %s"):format(most, h.name), function()
      h.host:short_io(most)
      w:sleep(lasts)
      h.host:short_io()
    end
  end)
  table.insert(harsh, function(lasts)
    local h = d.pick(world.hosts)
    return "full socket buffers at " .. h.name, function() h.host:udp_full(math.min(lasts, 3)) end
  end)
  table.insert(harsh, function(lasts)
    local far, nowhere = d.pick(net.fars), d.one_in(2)
    return "the name of " .. far.name .. (nowhere and " leads nowhere" or " fails"), function()
      w:name(far.name .. ".example", not nowhere and far.address, { fail = not nowhere })
      w:sleep(lasts)
      w:name(far.name .. ".example", far.address)
    end
  end)
  table.insert(harsh, function()
    local near = d.pick(net.nears)
    return "rebinding of " .. near.name, function() if near.nat then near.host:nat_rebind() end end
  end)
  table.insert(harsh, function()
    local near, n = d.pick(net.nears), d.between(1, 250)
    return ("%s moves to 10.7.%d.1"):format(near.name, n), function()
      if not near.nat and near.host:is_up() then near.host:move { ("10.7.%d.1"):format(n), ("fd00:7::%x"):format(n) } end
    end
  end)
  table.insert(harsh, function(lasts)
    local near, n = d.pick(net.nears), d.between(1, 250)
    local text = "outage of all lines of %s, which " .. (near.nat and "has another port after it" or "moves to 10.7.%d.2 in it")
    return text:format(near.name, n), function()
      for _, tunnel in ipairs(near.tunnels) do tunnel.link:cut() end
      w:sleep(lasts)
      if near.nat then
        near.host:nat_rebind()
      elseif near.host:is_up() then
        near.host:move { ("10.7.%d.2"):format(n), ("fd00:7::2:%x"):format(n) }
      end
      for _, tunnel in ipairs(near.tunnels) do tunnel.link:heal() end
    end
  end)
  table.insert(gentle, function()
    -- Ends of kt's own wire refuse each other if their clocks are two minutes apart.
    local h, by = d.pick(world.hosts), d.between(-5000, 5000) // (net.native and 1000 or 1)
    return ("the clock of %s jumps by %d s"):format(h.name, by), function() h.host:clock_jump(by) end
  end)
  table.insert(harsh, function(lasts)
    local h = d.pick(world.hosts)
    return "the target behind " .. h.name .. " is down", function()
      if h.closed then return end
      h.closed = true
      h.server:close()
      w:sleep(lasts)
      while not h.host:is_up() do w:sleep(0.1) end
      world.serve(h)
      h.closed = false
    end
  end)
  return harsh, gentle
end

--- Plans the world's faults. world = { w, d, net, hosts, disturb(how, host): flows in progress may now end early; boot(h); bury(h): called
--- before a script of h is killed; serve(h) }.
function faults.plan(world)
  local w, d = world.w, world.d
  local harsh, gentle = kinds(world)
  for _ = 1, d.between(world.net.quiet and 0 or 1, world.net.quiet and 5 or 7) do
    local mild = world.net.quiet or d.one_in(3)
    local at, lasts = 0.1 + d.seconds(15), d.seconds(d.pick { 1, 6, 14 })
    local text, fn = d.pick(mild and gentle or harsh)(lasts)
    w:fault(at, ("%s for %g s"):format(text, lasts), function()
      if not mild then world.disturb(text) end
      fn()
    end)
  end
end

return faults
