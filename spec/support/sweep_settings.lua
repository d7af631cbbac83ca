--- Random choices, lines and settings of tunnels for sweep_world.lua's worlds. All randomness comes from the world (w:random), drawn in the
--- same order on every machine, so a seed determines a world.
local settings = {}

--- Ways to draw random values from the world.
function settings.dice(w)
  local d = {}
  function d.one_in(n) return w:random(n) == 1 end
  function d.pick(list) return list[w:random(#list)] end
  function d.between(a, b) return w:random(a, b) end
  function d.share(most) return w:random() * most end
  function d.seconds(most) return w:random(0, math.floor(most * 1000)) / 1000 end
  return d
end

-- ---- tunnels ----

local CIPHERS = { "aes", "aes-128", "aes-192", "aes-128-gcm", "salsa20", "blowfish", "twofish", "cast5", "3des", "tea", "xtea", "xor", "sm4",
  "none", "null" }
local MODES = { "normal", "fast", "fast2", "fast3", "manual", "default", "auto" }
local MTUS = { 400, 900, 1350, 1400 }
settings.MTU_MOST = 1400
local NATIVE_KEY = "YSBrZXkgb2YgdGhlIHN3ZWVwJ3MsIDMyIGJ5dGVzLi4=" -- a passphrase takes 0.1 s to become a key

--- The smallest that the largest datagram of a wire may be.
function settings.mtu_least(both) return both.wire and 1200 or 400 end

--- Settings that must be the same at both ends: of kt's own wire, or of kcptun's.
function settings.common(d)
  if d.one_in(2) then return { wire = "kt", key = NATIVE_KEY, smux_version = 2 } end -- as smux 2: no stream waits for another
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

local function fitting(mtus, most)
  local out = {}
  for _, mtu in ipairs(mtus) do
    if mtu <= most then out[#out + 1] = mtu end
  end
  return out
end

local function manual(d, kcp)
  kcp.nodelay, kcp.interval, kcp.resend, kcp.nc = d.one_in(2), d.between(10, 60), d.between(0, 3), d.one_in(2)
end

local function native(d, both, datagram)
  local s = { wire = both.wire, key = both.key, mtu = d.pick { 1200, datagram }, keepalive = d.pick { "1s", "5s", "20s" } }
  s.suspect_after, s.survive = d.pick { "3s", "5s" }, d.pick { "10s", "30s", "60s" }
  s.max_streams, s.max_buffered = d.pick { 64, 4096 }, d.pick { 4 << 20, 1 << 26 }
  if d.one_in(6) then s.bandwidth = d.pick { 50000, 500000 } end
  return s
end

--- Settings of one end. datagram: the largest size of its datagrams, in bytes.
function settings.own(d, both, datagram)
  if both.wire then return native(d, both, datagram) end
  local s = { wire = "kcptun" }
  for k, v in pairs(both) do s[k] = v end
  s.smux_version = nil
  s.mode = d.pick(MODES)
  s.kcp = { mtu = d.pick(fitting(MTUS, datagram)), sndwnd = d.pick { 8, 32, 128, 1024 }, rcvwnd = d.pick { 32, 33, 64, 127, 512, 1024 },
    acknodelay = d.one_in(2) }
  if s.mode == "manual" then manual(d, s.kcp) end
  local stream_buffer = d.pick { 8192, 65536, 1 << 20 }
  s.smux = { version = both.smux_version, stream_buffer = stream_buffer, buffer = math.max(stream_buffer, d.pick { 65536, 1 << 20, 4 << 20 }),
    frame = d.pick { 512, 4096, 8192, 32768 }, keepalive = d.pick { "1s", "3s", "10s" } }
  s.suspect_after, s.dead_after = d.pick { "3s", "5s" }, d.pick { "3s", "5s", "10s", "30s" }
  if d.one_in(6) then s.rate = d.pick { 50000, 500000 } end
  return s
end

--- Settings for link:set while the link is up.
function settings.change(d, both)
  local s = {}
  if both.wire then
    if d.one_in(2) then s.bandwidth = d.pick { 0, 40000, 400000 } end
    if d.one_in(3) then s.keepalive = d.pick { "1s", "0s", "10s" } end
    if d.one_in(3) then s.suspect_after = d.pick { "3s", "4s" } end
    return s
  end
  if d.one_in(2) then s.mode = d.pick(MODES) end
  if d.one_in(2) or s.mode == "manual" then s.kcp = { sndwnd = d.pick { 8, 64, 512 }, rcvwnd = d.pick { 32, 128, 600 } } end
  if s.mode == "manual" then manual(d, s.kcp) end
  if d.one_in(3) then s.fec = d.one_in(3) and "off" or { data = d.between(1, 12), parity = d.between(1, 4) } end
  if s.fec == "off" then s.fec = false end
  if d.one_in(2) then s.rate = d.pick { 0, 40000, 400000 } end
  if d.one_in(3) then s.suspect_after, s.dead_after = d.pick { "3s", "4s" }, d.pick { "4s", "8s" } end
  return s
end

--- Settings for kt.pool, without links and policy.
function settings.pool(d, steady)
  local s = { retries = d.between(0, 2) }
  s.check = not d.one_in(6) and { every = d.pick { "300ms", "1s", "3s" }, timeout = d.pick { "400ms", "2s" }, fall = d.between(1, 3), rise = d.between(1, 2) }
    or false
  if steady and d.one_in(2) then s.hold = d.pick { "0s", "2s", "20s" } end
  return s
end

-- ---- lines ----

--- Delay, loss and the like of a line. harsh: as bad as what people report.
function settings.ills(d, harsh)
  local o = { delay = d.between(0, 120) / 1000, jitter = d.between(0, 15) / 1000, loss = d.share(harsh and 0.15 or 0.03) }
  if d.one_in(3) then o.duplicate = d.share(0.05) end
  if d.one_in(3) then o.reorder = d.share(0.1) end
  if harsh and d.one_in(8) then o.loss, o.reorder = d.share(0.5), d.share(0.2) end
  if harsh and d.one_in(3) then o.burst = { enter = d.share(0.01), leave = 0.1 + d.share(0.4) } end
  if d.one_in(2) then
    o.rate = d.pick { 30000, 100000, 1000000, 10000000 }
    o.queue = d.pick { { packets = 20 }, { time = "200ms" }, { bytes = "64kB" } }
  end
  return o
end

-- Seconds that a packet may wait in a line's queue.
local function wait_of(o)
  if not o.rate then return 0 end
  local queue = o.queue or { packets = 1000 }
  if queue.time then return tonumber(queue.time:match "^(%d+)ms$") / 1000 end
  return (queue.packets and queue.packets * 1500 or 64000) / o.rate
end

--- Whether a round trip takes more than a second while the queues, there and back, are full.
function settings.is_slow(there, back) return wait_of(there) + wait_of(back) > 1 end

--- Gives one end of a narrow line the default dead_after, or a long survive: the queue of such a line, full of one session's packets, delays or drops
--- another's for seconds; with a short dead_after the peer would be taken for dead.
function settings.patient(s)
  if s.dead_after then s.dead_after = "30s" end
  if s.survive then s.survive = "60s" end
  return s
end

-- ---- as Lua writes it ----

local function key_of(k) return math.type(k) and ("[%d]"):format(k) or k end

--- A value as Lua source, with sorted keys.
function settings.literal(v)
  if type(v) ~= "table" then return ("%q"):format(v) end
  local keys, out = {}, {}
  for k in pairs(v) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, k in ipairs(keys) do out[i] = key_of(k) .. " = " .. settings.literal(v[k]) end
  return "{ " .. table.concat(out, ", ") .. " }"
end

return settings
