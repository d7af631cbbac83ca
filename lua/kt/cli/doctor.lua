--- kt doctor: measures a path step by step. Returns a function that gathers the facts that kt.cli.verdict judges.
local kt = require "kt"
local probe = require "kt.cli.probe"
local reflector = require "kt.cli.reflector"
local verdict = require "kt.cli.verdict"

local ADDRESSES_MAX = 8
local EVERY = 0.02 -- seconds between datagrams
local BURSTS, BURST, BURST_EVERY = 30, 10, 0.05 -- of datagrams sent back to back, which show reordering; seconds between them
local ROUNDS = 4   -- pairs of transfers that compare two rates
local ROUND = 2    -- seconds of each, or more if the rate is low:
local ROUND_MAX = 8
local PACKETS = 200 -- in the second half of each
local NAT_STEPS = { 10, 15, 20, 30, 45, 60, 90, 110 } -- seconds of silence

-- Tries an address: { at, rtt, smux (if the peer speaks another version than this end) } or { at, error, code, refused }; and its link.
local function try(dial, at)
  local link = dial(at)
  local rtt, err = probe.reach(link, 2)
  local refused = not rtt and probe.refused(at) -- only now: the server logs a datagram that does not authenticate
  if not rtt and not refused and not verdict.DROPPED[err.code] then rtt, err = probe.reach(link, 6) end
  if rtt then return { at = at, rtt = rtt }, link end
  link:close()
  if verdict.DROPPED[err.code] then
    local other, its, version = probe.other_smux(dial, at)
    if other then return { at = at, rtt = its, smux = version }, other end
  end
  return { at = at, error = tostring(err):gsub("^link:probe: ", ""):gsub("^%S+:%d+: ", ""), code = err.code, refused = refused or nil }
end

-- Tries all addresses at once; returns what came of each, in their order, and the first that answered with its link.
local function try_all(dial, list)
  local tasks, tried, first, link = {}, {}, nil, nil
  for i = 1, math.min(#list, ADDRESSES_MAX) do tasks[i] = kt.spawn(try, dial, list[i]) end
  for i, task in ipairs(tasks) do
    local result, its = task:wait { timeout = 20 }
    tried[i] = result or { at = list[i], error = tostring(its) }
    if its and result then
      if first then its:close() else first, link = result, its end
    end
  end
  return tried, first, link
end

-- How long a mapping of a NAT lives without a packet: a link of its own for each time, all at once. Returns the longest time that it outlived
-- and the shortest that it did not.
local function lifetime(dial, at, most, keepalive)
  local tasks, lives, dies = {}, nil, nil
  for i, seconds in ipairs(NAT_STEPS) do
    if seconds > most then break end
    tasks[i] = kt.spawn(function()
      local link <close> = dial(at, { keepalive = 0 })
      return probe.survives(link, seconds)
    end)
  end
  for i, task in ipairs(tasks) do
    local alive = task:wait { timeout = most + 60 }
    if alive then lives = NAT_STEPS[i] end
    if alive == false then dies = dies or NAT_STEPS[i] end
  end
  if lives and dies and lives > dies then dies = nil end -- a datagram was lost, not the mapping
  return { lives = lives, dies = dies, keepalive = keepalive }
end

-- Two addresses of the server to compare a NAT's mappings by: its own and another of the same family that answers, or two ports of its range.
-- Returns them, and what differs: "address" or "port"; nil if there is only one.
local function destinations(facts)
  local function family(at) return at:find "^%[" and 6 or 4 end
  local host, low, high = facts.at:match "^(.*):(%d+)%-(%d+)$"
  local function single(at) return (at:gsub("%-%d+$", "")) end
  for _, other in ipairs(facts.addresses) do
    if other.rtt and other.at ~= facts.at and family(other.at) == family(facts.at) then return { single(facts.at), single(other.at) }, "address" end
  end
  if low and low ~= high then return { host .. ":" .. low, host .. ":" .. high }, "port" end
  return nil
end

-- A NAT's mapping of one socket: { [1], [2] (the public addresses), to (the addresses sent to), by }; nil if it cannot be found out.
local function mapping(dial, facts)
  local to, by = destinations(facts)
  local seen = to and probe.mappings(dial, to)
  if not seen then return nil end
  seen.to, seen.by = to, by
  return seen
end

-- Two trains at the same time, of large and of small datagrams, which take turns.
local function trains(link, opts)
  local small = kt.spawn(function()
    kt.sleep(EVERY / 2)
    return probe.train(link, { count = opts.count, every = opts.every, wait = opts.wait, size = probe.SMALL })
  end)
  return probe.train(link, opts), (small:wait { timeout = 10 })
end

-- Alternates between half of a rate and as much as the path carries, and counts what is lost at each: pairs { half, full }, each { sent, lost,
-- srtt }. Loss that comes and goes by itself seldom follows this pattern.
local function alternate(link, way, rate)
  local rounds, seconds = {}, math.min(math.max(ROUND, 2 * PACKETS * probe.SIZE / (rate / 2)), ROUND_MAX) // 1
  for i = 1, ROUNDS do
    local half = probe.transfer(link, way, seconds, { rate = rate / 2 })
    local full = half and probe.transfer(link, way, seconds)
    if not (full and half.counts and full.counts) then return nil end
    rounds[i] = { half = half.counts, full = full.counts }
  end
  return rounds
end

--- Measures. dial(at, more): makes a link, with more settings. own: { count, seconds, nat, keepalive }. step(text, facts so far): called before each step.
--- Returns the facts, or nil and an err if the name does not resolve.
return function(remote, dial, own, step)
  local list, err = probe.addresses(remote)
  if not list then return nil, err end
  step(("trying %s"):format(table.concat(list, ", ")))
  local facts = { remote = remote }
  facts.rmem_max, facts.wmem_max = reflector.limits()
  local first, link
  facts.addresses, first, link = try_all(dial, list)
  if not first then return facts end
  facts.at, facts.rtt, facts.smux, facts.local_ip = first.at, first.rtt, first.smux, probe.local_ip(first.at)
  local asked = kt.wall()
  local stream, hello = probe.hello(link)
  if not stream then
    facts.wire, facts.why = hello.code == "unsupported" and "kcptun" or "kt", tostring(hello)
    for _ = 1, 5 do facts.rtt = math.min(facts.rtt, link:probe { timeout = 3 } or facts.rtt) end
    return facts
  end
  facts.wire, facts.hello, facts.local_addr = "kt", hello, stream.local_addr
  if hello.wall then facts.offset = hello.wall - (asked + kt.wall()) / 2 end
  stream:close()
  if verdict.translated(facts) then facts.mapping = mapping(dial, facts) end
  step("measuring loss and round trips", facts)
  local wait = math.max(1, 4 * facts.rtt)
  facts.train, facts.small = trains(link, { count = own.count, every = EVERY, wait = wait })
  if facts.train.rtt then facts.rtt = facts.train.rtt.min end
  facts.bursts = probe.train(link, { count = BURSTS * BURST, burst = BURST, every = BURST_EVERY, wait = wait })
  if own.seconds > 0 then
    for _, way in ipairs { "up", "down" } do
      step("measuring bandwidth " .. way, facts)
      local t, wrong = probe.transfer(link, way, own.seconds)
      facts[way] = t or { error = tostring(wrong) }
      if t and verdict.suspicious(facts, way) then
        step(("measuring whether loss %s depends on the rate"):format(way), facts)
        t.rounds = alternate(link, way, t.rate)
      end
    end
    facts.mtu = link:stats().mtu
  end
  if own.nat > 0 then
    step(("measuring how long a NAT keeps its mapping, up to %d s"):format(own.nat), facts)
    facts.nat = lifetime(dial, facts.at, own.nat, own.keepalive)
  end
  return facts
end
