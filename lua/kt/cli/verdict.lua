--- What the figures of `kt doctor` mean: a function from facts to checks, each { name, status, text, advice }. status is "ok", "note" (good to
--- know), "finding" (something to change, which advice says), or "unknown" (it could not be measured). Pure.
local verdict = {}

verdict.LOSS = 0.01     -- share
verdict.QUEUE = 0.050   -- seconds that the round trip grows under load
verdict.CLOCK = 30      -- seconds
verdict.CLOCK_MAX = 120 -- what kt's wire refuses (docs/wire.md, 4.2)
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

local function loss(facts, add)
  local train = facts.train
  if not train then return end
  for _, side in ipairs { { "up", train.there, train.late_there }, { "down", train.back, train.late_back } } do
    local name, share, late = table.unpack(side)
    if not share then
      add("loss " .. name, "unknown", "no datagram came back")
    elseif share >= verdict.LOSS then
      add("loss " .. name, "finding", ("%s of packets %s are lost on an idle path"):format(percent(share), way[name]),
        "kt sends again what is lost, but each loss costs a round trip: try another network, port or server; on kcptun's wire raise --parityshard")
    else
      add("loss " .. name, "ok", ("%s of packets %s are lost"):format(percent(share), way[name]))
    end
    if late and late >= LATE then
      add("order " .. name, "note", ("%s of packets %s arrive after later ones; kt allows for that"):format(percent(late), way[name]))
    end
  end
  local r = train.rtt
  if r then add("rtt", "ok", ("%s; jitter %s, at most %s"):format(ms(r.min), ms(r.mdev), ms(r.max))) end
end

local function speed(facts, add)
  for _, name in ipairs { "up", "down" } do
    local t = facts[name]
    if t and t.error then
      add("speed " .. name, "unknown", t.error)
    elseif t then
      add("speed " .. name, "ok", ("%s %s"):format(mbit(t.rate), way[name]))
      local advice = ("set --bandwidth %.0fkbit at the %s, and lower it until that ends"):format(t.rate * 8 * 0.9 / 1000,
        name == "up" and "client" or "server")
      local grown = t.rtt and facts.rtt and t.rtt.median - facts.rtt
      if grown and grown > verdict.QUEUE then
        add("queue " .. name, "finding", ("under load %s the round trip grows from %s to %s"):format(way[name], ms(facts.rtt), ms(t.rtt.median)),
          "a queue fills: " .. advice)
      end
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
  local text = ("%s: net.core.%s is %.0f"):format(where, key, limit)
  if limit >= product then return add("buffers", "ok", text) end
  local need = rounded(product)
  add("buffers", "finding", ("%s; %s is needed for %s at %s"):format(text, size(need), mbit(transfer.rate), ms(rtt)),
    ("at the %s: sysctl -w net.core.%s=%d%s"):format(where, key, need, need > 4 << 20 and (" and --sockbuf %dMiB"):format(need >> 20) or ""))
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

local function nat(facts, add)
  local seen, own = facts.hello and facts.hello.peer and facts.hello.peer:match "^%[?(.-)%]?:%d+$", facts.local_ip
  if not (seen and own) then return end
  if seen == own then
    add("nat", "ok", ("none: the server sees this machine's own address, %s"):format(own))
  else
    add("nat", "note", ("the server sees %s, this machine has %s"):format(seen, own))
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

--- The checks of what was measured. facts: addresses { at, rtt, error, refused }, and of the address that was used: at, wire ("kt" or "kcptun"),
--- rtt (s), hello, offset (s), train, up, down (kt.cli.probe), mtu, rmem_max, wmem_max, local_ip, nat { lives, dies, keepalive }. All but
--- addresses may be missing.
function verdict.checks(facts)
  local checks = {}
  local function add(name, status, text, advice) checks[#checks + 1] = { name = name, status = status, text = text, advice = advice } end
  addresses(facts, add)
  if not facts.at then return checks end
  if facts.hello then
    add("server", "ok", ("kt %s, which takes the key"):format(facts.hello.version or "?"))
  elseif facts.wire == "kcptun" then
    add("server", "note", "speaks kcptun's wire and takes the key; it offers no echo and no bandwidth test, so loss, speed, MTU and NAT stay unknown")
  else
    add("server", "note", ("takes the key, but does not help: %s; loss, speed and NAT stay unknown"):format(facts.why))
  end
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
