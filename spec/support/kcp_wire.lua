-- KCP packets for specs: segments to bytes and back, and two engines joined by a lossy path.
local spec_kcp = require "spec_kcp"

local wire = { PUSH = 81, ACK = 82, WASK = 83, WINS = 84, CONV = 0x11223344 }

local LAYOUT = "<I4BBI2I4I4I4I4"

--- The bytes of one segment; missing fields are 0 (wnd: 512). len: the length that the header claims, if not the real one.
function wire.segment(cmd, f)
  f = f or {}
  local data = f.data or ""
  local function u32(v) return (v or 0) & 0xffffffff end
  return LAYOUT:pack(f.conv or wire.CONV, cmd, f.frg or 0, f.wnd or 512, u32(f.ts), u32(f.sn), u32(f.una),
    f.len or #data) .. data
end

--- The segments of a packet, as tables.
function wire.parse(packet)
  local list, at = {}, 1
  while at <= #packet do
    local s, len = {}
    s.conv, s.cmd, s.frg, s.wnd, s.ts, s.sn, s.una, len, at = LAYOUT:unpack(packet, at)
    s.data = packet:sub(at, at + len - 1)
    assert(#s.data == len, "a segment's length lies")
    at = at + len
    list[#list + 1] = s
  end
  return list
end

--- All segments of all packets, in order; only those with this cmd if one is given.
function wire.segments(packets, cmd)
  local list = {}
  for _, packet in ipairs(packets) do
    for _, s in ipairs(wire.parse(packet)) do
      if not cmd or s.cmd == cmd then list[#list + 1] = s end
    end
  end
  return list
end

--- The sn of all segments with this cmd.
function wire.sns(packets, cmd)
  local list = {}
  for _, s in ipairs(wire.segments(packets, cmd)) do list[#list + 1] = s.sn end
  return list
end

--- A repeatable random number in [0, 1).
function wire.random(seed)
  local x = seed * 2654435769 + 88172645463325252
  return function()
    x = x ~ (x << 13)
    x = x ~ (x >> 7)
    x = x ~ (x << 17)
    return (x >> 11) / 2 ^ 53
  end
end

--- Carries the bytes a_sends from a to b and b_sends from b to a, over a path with `loss`, `dup` (probabilities), `delay_ms` and
--- `jitter_ms`, in steps of a millisecond, until all bytes have arrived and are acknowledged. `read(now_ms, end)` may return how many bytes
--- an end reads now. Returns what each end got, and the time in ms.
function wire.converse(a, b, a_sends, b_sends, path)
  local random = wire.random(path.seed or 1)
  local due_at = {} -- packets by the ms at which they arrive
  local ends = {
    { engine = a, sends = a_sends, sent = 0, got = {}, n = 0, want = #b_sends },
    { engine = b, sends = b_sends, sent = 0, got = {}, n = 0, want = #a_sends },
  }
  local function post(now, to, packet)
    if random() < path.loss then return end
    local copies = random() < path.dup and 2 or 1
    for _ = 1, copies do
      local at = now + 1 + path.delay_ms + math.floor(random() * path.jitter_ms)
      due_at[at] = due_at[at] or {}
      table.insert(due_at[at], { to = to, packet = packet })
    end
  end
  for now = 0, path.limit_ms do
    for _, p in ipairs(due_at[now] or {}) do
      local ok, err = ends[p.to].engine:input(p.packet, now * 1000)
      assert(ok, err)
    end
    due_at[now] = nil
    local done = true
    for i, this in ipairs(ends) do
      local e = this.engine
      local bytes = e:read(path.read and path.read(now, i))
      if #bytes > 0 then
        this.got[#this.got + 1] = bytes
        this.n = this.n + #bytes
      end
      if this.sent < #this.sends then this.sent = this.sent + e:write(this.sends:sub(this.sent + 1, this.sent + 65536)) end
      local at = e:due(now * 1000)
      if at and at <= now * 1000 then
        for _, packet in ipairs(e:flush(now * 1000)) do post(now, 3 - i, packet) end
      end
      if this.sent < #this.sends or this.n < this.want or e:unacked() then done = false end
    end
    if done then return table.concat(ends[1].got), table.concat(ends[2].got), now end
  end
  error(("not done after %d ms: %d of %d and %d of %d bytes"):format(path.limit_ms, ends[1].n, ends[1].want, ends[2].n,
    ends[2].want))
end

--- An engine with these settings, otherwise the binding's defaults; raises on failure.
function wire.engine(settings)
  return assert(spec_kcp.new(settings or {}))
end

--- An ACK of the transmission at this time (µs).
function wire.ack(sn, sent_us, una) return wire.segment(wire.ACK, { sn = sn, ts = sent_us // 1000, una = una }) end

--- An engine that has sent n segments at time 0.
function wire.sent(n, settings)
  local e = wire.engine(settings)
  e:write(("x"):rep(n * e:mss()))
  assert(#wire.segments(e:flush(0)) == n)
  return e
end

return wire
