--- Interprets the figures of `kt doctor`: a function from facts to checks, each { name, status, text, advice }. status is "ok", "note" (good to
--- know), "finding" (something to change, which advice says), or "unknown" (it could not be measured). Pure.
local verdict = {}

verdict.LOSS = 0.01     -- share
verdict.QUEUE = 0.050   -- seconds that the round trip grows under load
verdict.CLOCK = 30      -- seconds
verdict.CLOCK_MAX = 120 -- what kt's wire refuses (docs/wire.md, 4.2)
verdict.DROPS = "answers, and ends each session at once"
--- The codes of an err that mean this: "protocol" if the peer is a kt, which shows what it speaks before it ends the session.
verdict.DROPPED = { restarted = true, protocol = true }
verdict.COMPARE = "--smuxver (kcptun before 2025-11 uses 1), --nocomp, --QPP and --tuncrypt with the server's"
local SUSPECT = 0.01    -- share of packets that more load loses
local DIFFERENCE = 0.002 -- likewise, in a round
local PACKETS = 100     -- that say something about a round
local CERTAIN = 5       -- standard deviations: chance in less than one of a million
local RANKS = 3         -- likewise, of a rank test
local GROWN = 0.003     -- seconds of round trip that no policer adds
local STALL = 0.020     -- seconds that a busy receiver may be late
local SOCKBUF = 4 << 20 -- bytes of a socket's buffers by default
local UNLIMITED = (1 << 30) - 1 -- bytes: more than anybody sets, so net.core.rmem_max does not apply
local BUFFER = 212992   -- bytes: Linux's limit unless it is raised
local LATE = 0.01       -- share
local BASE = 1200       -- bytes that every path must carry

local function ms(seconds) return seconds < 0.0995 and ("%.1f ms"):format(seconds * 1e3) or ("%.0f ms"):format(seconds * 1e3) end
local function percent(share) return ("%.2g%%"):format(share * 100) end
local function mbit(rate) return (rate < 1.25e6 and "%.2f Mbit/s" or rate < 1.25e7 and "%.1f Mbit/s" or "%.0f Mbit/s"):format(rate * 8 / 1e6) end

local function size(bytes)
  if bytes % (1 << 20) == 0 then return ("%d MiB"):format(bytes >> 20) end
  return bytes % 1024 == 0 and ("%d KiB"):format(bytes >> 10) or ("%d bytes"):format(bytes)
end

-- The next power of two.
local function rounded(bytes)
  local n = 64 * 1024
  while n < bytes do n = n * 2 end
  return n
end

local way = { up = "to the server", down = "back" }

local function addresses(facts, add)
  local host = (facts.remote or ""):match "^%[?(.-)%]?:[^:]*$"
  local remove = host and not host:find "^[%d.]+$" and not host:find ":" and ", or remove the address from the name" or ""
  for _, a in ipairs(facts.addresses) do
    local family = a.at:find "^%[" and "IPv6" or "IPv4"
    if a.rtt then
      add("address", "ok", ("%s (%s) answers"):format(a.at, family))
    elseif a.refused then
      add("address", "finding", ("%s (%s) refuses: nothing listens on this UDP port there"):format(a.at, family),
        ("start the server on %s%s"):format(a.at, remove))
    elseif verdict.DROPPED[a.code] then
      add("address", "finding", ("%s (%s) %s"):format(a.at, family, verdict.DROPS), "compare " .. verdict.COMPARE)
    elseif a.code == "auth" then
      local clock = a.error:find("clock", 1, true)
      add("address", "finding", ("%s (%s) turns this client away: %s"):format(a.at, family, a.error),
        clock and "set the clocks at both ends, for example with NTP" or "give both ends the same key and wire, and look at the server's log")
    else
      add("address", "finding", ("%s (%s) is silent: %s"):format(a.at, family, a.error),
        ("let UDP to %s through firewalls, %scompare keys%s"):format(a.at, remove == "" and "and " or "", remove))
    end
  end
end

local function ratio(counts) return counts.sent > 0 and counts.lost / counts.sent or 0 end

-- The advice if sending more than `rate` does harm.
local function limit_advice(name, rate)
  return ("set --bandwidth %.0fkbit at the %s, and lower it until this check passes"):format(rate * 8 * 0.9 / 1000, name == "up" and "client" or "server")
end

-- Whether two shares lost differ by more than chance explains, in a test of two proportions.
local function certain(less, more)
  local all = (less.lost + more.lost) / (less.sent + more.sent)
  return ratio(more) - ratio(less) >= CERTAIN * (all * (1 - all) * (1 / less.sent + 1 / more.sent)) ^ 0.5
end

--- Whether a transfer lost so much more than the idle path that loss may depend on the rate.
function verdict.suspicious(facts, name)
  local t, idle = facts[name], facts.train and (name == "up" and facts.train.there or facts.train.back)
  return t ~= nil and t.counts ~= nil and idle ~= nil and ratio(t.counts) > 2 * idle + SUSPECT
end

-- Whether the path loses large packets that it would not lose if they were small.
local function sizes(facts, add, name)
  local large, small = facts.train[name], facts.small and facts.small[name]
  if not (small and math.min(large.sent, small.sent) >= PACKETS) then return end
  if ratio(large) <= 2 * ratio(small) + SUSPECT or not certain(small, large) then return end
  add("size " .. name, "finding", ("%s of packets of 1,100 bytes %s are lost, and %s of those of 120 sent in between: loss depends on size"):format(
    percent(ratio(large)), way[name], percent(ratio(small))),
    "look for a radio link or a tunnel with a smaller MTU on the way; on kcptun's wire try --mtu 600 at both ends")
end

-- Packets sent 20 ms apart show only what is late by more; those sent back to back show the rest.
local function order(facts, add, name)
  local field = name == "up" and "late_there" or "late_back"
  local late, burst = facts.train[field], facts.bursts and facts.bursts[field]
  if not late and not burst then return end
  late = math.max(late or 0, burst or 0)
  add("order " .. name, late >= LATE and "note" or "ok", ("%s of packets %s%s arrive after later ones%s%s"):format(percent(late), way[name],
    burst and ", in bursts," or "", late >= LATE and "; kt allows for that" or "", burst and "" or "; displacements under 20 ms are not seen"))
end

local function loss(facts, add)
  local train = facts.train
  if not train then return end
  for _, side in ipairs { { "up", train.there }, { "down", train.back } } do
    local name, share = table.unpack(side)
    if not share then
      add("loss " .. name, "unknown", "no datagram came back")
    elseif share >= verdict.LOSS then
      add("loss " .. name, "finding", ("%s of packets %s are lost on an idle path"):format(percent(share), way[name]),
        "kt retransmits lost packets, but each loss costs a round trip: try another network, port or server; on kcptun's wire raise --parityshard")
    else
      add("loss " .. name, "ok", ("%s of packets %s are lost"):format(percent(share), way[name]))
    end
    order(facts, add, name)
    sizes(facts, add, name)
  end
  local r = train.rtt
  if r then add("rtt", "ok", ("%s; jitter %s, at most %s"):format(ms(r.min), ms(r.mdev), ms(r.max))) end
end

-- How far the values of one list are above those of another: a rank test (Mann and Whitney's), in standard deviations. Unlike a count of packets, it
-- does not take a few bursts of loss for many losses.
local function above(more, less)
  local all, wins, ties, n, m = {}, 0, 0, #more, #less
  for _, x in ipairs(more) do
    for _, y in ipairs(less) do wins = wins + (x > y and 1 or x == y and 0.5 or 0) end
  end
  for _, list in ipairs { more, less } do
    for _, x in ipairs(list) do all[x] = (all[x] or 0) + 1 end
  end
  for _, count in pairs(all) do ties = ties + count ^ 3 - count end
  local variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
  return variance > 0 and (wins - n * m / 2) / variance ^ 0.5 or 0
end

-- Compares the two rates of kt.cli.doctor's rounds. Returns the shares lost { half, full }, and by how much the round trip grows. Nothing if the
-- figures leave a doubt: too few packets, two rounds that show no difference, or one that chance may explain.
local function depends(rounds)
  local weak, blocks, sums, grown = 0, { half = {}, full = {} }, { half = { sent = 0, lost = 0 }, full = { sent = 0, lost = 0 } }, 0
  for _, round in ipairs(rounds) do
    if math.min(round.half.sent, round.full.sent) < PACKETS then return nil end
    if ratio(round.full) <= 2 * ratio(round.half) + DIFFERENCE then weak = weak + 1 end
    for name, sum in pairs(sums) do sum.sent, sum.lost = sum.sent + round[name].sent, sum.lost + round[name].lost end
    for name, list in pairs(blocks) do table.move(round[name].blocks, 1, #round[name].blocks, #list + 1, list) end
    grown = grown + (round.full.srtt - round.half.srtt) / #rounds
  end
  local half, full = ratio(sums.half), ratio(sums.full)
  if weak > 1 or full <= 2 * half + SUSPECT or not certain(sums.half, sums.full) or above(blocks.full, blocks.half) < RANKS then return nil end
  return { half = half, full = full, grown = grown }
end

-- A receiver that is late by this much loses what its socket's buffer does not hold, which looks like a policer.
local function too_small(limit, rate) return math.min(limit or BUFFER, SOCKBUF) < rate * STALL end

local function policing(facts, add, name)
  local t = facts[name]
  if not t.counts then
    return add("policing " .. name, "unknown", "the server does not count its packets: it is an older kt")
  elseif t.counts.sent < PACKETS then
    return nil
  elseif not t.rounds then
    local lost = ("%s of packets %s are lost"):format(percent(ratio(t.counts)), way[name])
    if verdict.suspicious(facts, name) then return add("policing " .. name, "unknown", lost .. " at the full rate; lower ones were not tried") end
    return add("policing " .. name, "ok", lost .. " at the full rate, no more than on the idle path")
  end
  local found = depends(t.rounds)
  if not found then
    return add("policing " .. name, "unknown", ("%s of packets %s are lost at the full rate; that does not clearly depend on the rate"):format(
      percent(ratio(t.counts)), way[name]))
  end
  local text = ("at %s %s %s of packets are lost, at half of that %s"):format(mbit(t.rate), way[name], percent(found.full), percent(found.half))
  local limit = name == "up" and facts.hello and facts.hello.rmem_max or name == "down" and facts.rmem_max or nil
  if too_small(limit, t.rate) then
    return add("policing " .. name, "unknown", ("%s; perhaps in the socket buffer of the %s, which is small for this rate"):format(text,
      name == "up" and "server" or "client"))
  end
  local jitter = facts.train and facts.train.rtt and facts.train.rtt.mdev or 0
  if found.grown > math.max(GROWN, jitter) then
    return add("policing " .. name, "note", ("%s, and round trips grow by %s: a short queue overflows, with this or with other traffic; if nothing else "
      .. "uses the path, %s"):format(text, ms(found.grown), limit_advice(name, t.rate)))
  end
  return add("policing " .. name, "finding", text .. ", and round trips do not grow: a policer, or a queue of very few packets, drops what exceeds a rate",
    limit_advice(name, t.rate))
end

local function speed(facts, add)
  for _, name in ipairs { "up", "down" } do
    local t = facts[name]
    if t and t.error then
      add("speed " .. name, "unknown", t.error)
    elseif t then
      add("speed " .. name, "ok", ("%s %s"):format(mbit(t.rate), way[name]))
      local grown = t.rtt and facts.rtt and t.rtt.median - facts.rtt
      if grown and grown > verdict.QUEUE then
        add("queue " .. name, "finding", ("under load %s the round trip grows from %s to %s"):format(way[name], ms(facts.rtt), ms(t.rtt.median)),
          "a queue fills: " .. limit_advice(name, t.rate))
      end
      policing(facts, add, name)
    end
  end
end

local function mtu(facts, add)
  if not facts.mtu then return end
  local six = facts.at:find "^%["
  local full, overhead = six and 1452 or 1472, six and 48 or 28
  if facts.mtu >= full then return add("mtu", "ok", ("%d bytes of UDP payload pass"):format(facts.mtu)) end
  add("mtu", "note", ("the largest packets found to pass have %d bytes of UDP payload (IP packets of %d)%s; on kcptun's wire set --mtu %d"):format(
    facts.mtu, facts.mtu + overhead, facts.mtu <= BASE and ", the least that kt needs" or "", facts.mtu))
end

-- A limit of a socket's buffer against what is in flight at the measured rate.
local function buffer(add, where, key, limit, transfer, rtt)
  if not (transfer and transfer.rate and rtt) then return end
  if not limit then return add("buffers", "unknown", ("%s: net.core.%s cannot be read there"):format(where, key)) end
  local product = transfer.rate * rtt
  local need = rounded(product)
  local needed = ("; %s is needed for %s at %s"):format(size(need), mbit(transfer.rate), ms(rtt))
  local sockbuf = need > SOCKBUF and ("--sockbuf %dMiB"):format(need >> 20)
  if limit >= UNLIMITED then
    return add("buffers", sockbuf and "note" or "ok", ("%s: root may exceed net.core.%s%s"):format(where, key,
      sockbuf and needed .. ": set " .. sockbuf .. " there" or ""))
  end
  local text = ("%s: net.core.%s is %.0f"):format(where, key, limit)
  if limit >= product then return add("buffers", "ok", text) end
  add("buffers", "finding", text .. needed, ("at the %s: sysctl -w net.core.%s=%d%s"):format(where, key, need, sockbuf and " and " .. sockbuf or ""))
end

local function buffers(facts, add)
  buffer(add, "client", "rmem_max", facts.rmem_max, facts.down, facts.rtt)
  buffer(add, "client", "wmem_max", facts.wmem_max, facts.up, facts.rtt)
  local hello = facts.hello or {}
  buffer(add, "server", "rmem_max", hello.rmem_max, facts.up, facts.rtt)
  buffer(add, "server", "wmem_max", hello.wmem_max, facts.down, facts.rtt)
end

local function clock(facts, add)
  local offset = facts.offset
  if not offset then return end
  local text = ("the server's clock is %.1f s %s this one's"):format(math.abs(offset), offset < 0 and "behind" or "ahead of")
  if math.abs(offset) < verdict.CLOCK then return add("clock", "ok", text) end
  add("clock", "finding", text, ("set the clocks at both ends, for example with NTP: kt refuses links beyond %d s"):format(verdict.CLOCK_MAX))
end

-- The IP address and the port of "ip:port".
local function parts(at)
  if at then return at:match "^%[?(.-)%]?:(%d+)$" end
end

--- Whether a NAT is between this machine and the server.
function verdict.translated(facts)
  local seen = parts(facts.hello and facts.hello.peer)
  return seen ~= nil and facts.local_ip ~= nil and seen ~= facts.local_ip
end

-- Whether a mapping of the NAT depends on where the packets go.
local function mappings(facts, add)
  local m = facts.mapping
  if not m then
    add("nat type", "unknown", "whether a mapping depends on the destination shows only with a second address of the server's, or a range of its "
      .. "ports, that answers")
  elseif m[1] == m[2] and m.by == "address" then
    add("nat type", "ok", ("a socket is %s to both %s and %s: its mapping does not depend on the destination"):format(m[1], m.to[1], m.to[2]))
  elseif m[1] == m[2] then
    add("nat type", "ok", ("a socket is %s to both %s and %s: its mapping does not depend on the port; a second address would tell more"):format(m[1],
      m.to[1], m.to[2]))
  else
    add("nat type", "note", ("a socket is %s to %s and %s to %s: a mapping for each destination (symmetric); kt works with it, but only a machine "
      .. "that was sent to can answer"):format(m[1], m.to[1], m[2], m.to[2]))
  end
end

local function nat(facts, add)
  local seen, port = parts(facts.hello and facts.hello.peer)
  local own, own_port = facts.local_ip, select(2, parts(facts.local_addr))
  if not (seen and own) then return end
  if not verdict.translated(facts) then
    add("nat", "ok", ("none: the server sees this machine's own address, %s"):format(own))
  else
    add("nat", "note", ("the server sees %s, this machine has %s%s"):format(seen, own, own_port and port == own_port and "; ports stay the same"
      or own_port and ("; the port %s becomes %s"):format(own_port, port) or ""))
    mappings(facts, add)
    if not facts.nat then add("nat lifetime", "unknown", "not measured: --nat 60 does so, in 60 s") end
  end
  local n = facts.nat
  if not n then return end
  if not n.dies then
    if n.lives then add("nat lifetime", "ok", ("a mapping lives for %d s of silence or more"):format(n.lives)) end
  elseif n.dies <= n.keepalive then
    add("nat lifetime", "finding", ("a mapping is gone after %d s of silence%s, and kt keeps silent for %d s"):format(n.dies,
      n.lives and (", but not after %d s"):format(n.lives) or "", n.keepalive), ("set --keepalive %d"):format(math.max(1, (n.lives or n.dies // 2) // 2)))
  else
    add("nat lifetime", "ok", ("a mapping lives for %d to %d s of silence; kt sends after %d s"):format(n.lives or 0, n.dies, n.keepalive))
  end
end

-- Adds the checks that are unknown because the server does not help, and why.
local function unhelped(facts, add)
  local kcptun = facts.wire == "kcptun"
  local function unknown(name, text) add(name, "unknown", text) end
  unknown("clock", kcptun and "kcptun's wire does not carry the server's clock; it needs no clocks that agree" or "the server does not tell its clock")
  unknown("loss", kcptun and "kcptun's wire has no echo, and retransmission hides loss and order"
    or "the server sends no datagrams back, so loss and order cannot be seen")
  unknown("speed", "the server neither takes nor sends test bytes, so bandwidth, queues and policing cannot be measured; load the tunnel, and see kt top")
  unknown("mtu", kcptun and "kcptun's wire does not probe sizes: packets have --mtu bytes; lower it if large transfers stall and small ones work"
    or "kt's wire finds the largest packets by itself, but only while it carries something")
  unknown("buffers", "whether they suffice depends on the bandwidth")
  unknown("nat", ("the server does not tell the address that it sees%s"):format(facts.local_ip and "; this machine has " .. facts.local_ip or ""))
end

--- The checks of what was measured. facts: addresses { at, rtt, error, refused }, and of the address that was used: at, wire ("kt" or "kcptun"),
--- rtt (s), hello, offset (s), train, small, bursts, up, down (kt.cli.probe), mtu, rmem_max, wmem_max, local_ip, local_addr
--- (of the link), mapping (of a NAT: two public addresses, to, by), nat { lives, dies, keepalive }. All but
--- addresses may be missing.
function verdict.checks(facts)
  local checks = {}
  local function add(name, status, text, advice) checks[#checks + 1] = { name = name, status = status, text = text, advice = advice } end
  addresses(facts, add)
  if not facts.at then return checks end
  if facts.hello then
    add("server", "ok", ("kt %s, which takes the key"):format(facts.hello.version or "?"))
  elseif facts.wire == "kcptun" then
    add("server", "note", "speaks kcptun's wire and takes the key; that wire has no means to tell its version")
  else
    add("server", "note", ("takes the key, but does not help: %s"):format(facts.why))
  end
  if facts.smux then
    add("smux", "finding", ("the server speaks smux %d, and this client was to speak another version"):format(facts.smux),
      ("at the client: --smuxver %d"):format(facts.smux))
  end
  if not facts.hello then unhelped(facts, add) end
  clock(facts, add)
  if not facts.train and facts.rtt then add("rtt", "ok", ms(facts.rtt)) end
  loss(facts, add)
  speed(facts, add)
  mtu(facts, add)
  buffers(facts, add)
  nat(facts, add)
  return checks
end

return verdict
