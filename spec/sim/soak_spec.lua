-- Random worlds: hosts, lines, conns and datagrams under random faults. In any case, a conn delivers the written bytes
-- in order, up to where it ends, and ends with a reason; nothing is left open; and the same seed gives the same run.
-- SOAK=2000 runs 2000 seeds; SOAK_FROM is the first one.
local bytes = require "bytes"
local spec_io = require "spec_io"
local spec_sim = require "spec_sim"

local MS, S = 1000, 1000000
local NOISE = bytes.noise(1 << 18, 77)

local function world_of(seed, trace)
  math.randomseed(seed)
  local rnd = math.random
  local w = spec_sim.new { seed = seed, tcp_buffer = ({ 4096, 65536, 262144 })[rnd(3)] }
  if trace then w:trace() end
  local hosts, alive, ios, flows = {}, {}, {}, {}
  local log = {}

  local function boot(i)
    local light = w:process(hosts[i], "p")
    local io = spec_io.new(light, w)
    ios[#ios + 1] = io
    local me = { io = io, light = light }
    alive[i] = me
    me.listener = assert(io:listen(":80", function(conn)
      -- The first eight bytes say which flow it is.
      local head
      local flow
      local function read()
        local piece = conn:peek()
        if not flow then
          if #piece < 8 then
            if conn:eof() then conn:close() end
            return
          end
          head = piece:sub(1, 8)
          flow = flows[tonumber(head)]
          flow.accepted = me
          conn:consume(8)
          piece = conn:peek()
          if flow.reset_at == 0 then
            flow.over = "reset there"
            conn:reset()
            return
          end
        end
        if flow.lazy and rnd(3) == 1 then piece = piece:sub(1, rnd(1, math.max(1, #piece))) end
        if #piece > 0 then
          assert(flow.data:sub(flow.got + 1, flow.got + #piece) == piece, "flow " .. head .. " is damaged")
          flow.got = flow.got + #piece
          conn:consume(#piece)
        end
        if flow.reset_at and flow.got >= flow.reset_at then
          flow.over = "reset there"
          conn:reset()
        elseif conn:eof() then
          flow.over = "end"
          conn:write "thanks"
          conn:close()
        elseif #conn:peek() > 0 then
          io:timer(io:now() + 1 * MS, function() if not flow.over then read() end end)
        end
      end
      conn:listen { readable = read, closed = function(name)
        if flow and not flow.over then flow.over = name end
        conn:close()
      end }
      read()
    end))
    me.udp = assert(io:udp({ bind = "0.0.0.0:53" }, { batch = function(list)
      for _, d in ipairs(list) do log[#log + 1] = w:now() .. " " .. #d[1] end
    end }))
  end

  local n = rnd(2, 4)
  for i = 1, n do
    hosts[i] = w:host("h" .. i)
    if rnd(4) == 1 then w:nat(hosts[i], "203.0.113." .. i, rnd(2) == 1 and 30 * S or 0) end
    boot(i)
  end
  for i = 1, n do
    for j = i + 1, n do
      local function line()
        return { delay_us = rnd(1, 80 * MS), jitter_us = rnd(0, 20 * MS), loss = rnd() * 0.2, duplicate = rnd() * 0.1, reorder = rnd() * 0.1,
          corrupt = rnd() * 0.1, rate_bps = rnd(2) == 1 and rnd(200000, 100000000) or 0, queue_packets = rnd(0, 50) }
      end
      w:link(hosts[i], hosts[j], line(), line())
    end
  end

  local function send(flow)
    local me = alive[flow.from]
    if not me then return end
    local to = flow.from == flow.to and "127.0.0.1:80" or w:addr(hosts[flow.to]) .. ":80"
    me.io:connect(to, function(conn, name)
      if not conn then
        flow.over = name
        return
      end
      local out, at, ended = ("%08d"):format(flow.id) .. flow.data, 1, false
      local function go()
        while not ended and at <= #out do
          local taken = conn:write(out:sub(at, at + 9999))
          at = at + taken
          if taken < 10000 and at <= #out then return end
        end
        if not ended and at > #out then
          ended = true
          if flow.close then conn:close() else conn:shutdown() end
        end
      end
      conn:listen {
        writable = go,
        readable = function()
          conn:consume(#conn:peek())
          if conn:eof() then
            ended = true
            conn:close()
          end
        end,
        closed = function(code)
          flow.broken = code
          ended = true
          conn:close()
        end,
      }
      go()
    end)
  end

  for i = 1, rnd(1, 12) do
    local size = rnd(3) == 1 and rnd(0, 200000) or rnd(0, 3000)
    local flow = { id = i, from = rnd(n), to = rnd(n), got = 0, data = NOISE:sub(rnd(1, 50000)):sub(1, size), lazy = rnd(3) == 1, close = rnd(2) == 1 }
    if rnd(8) == 1 then flow.reset_at = rnd(0, size) end
    flows[i] = flow
    w:at(rnd(0, 5 * S), function() send(flow) end)
  end
  for _ = 1, rnd(0, 30) do
    local from, to, len = rnd(n), rnd(n), rnd(0, 1400)
    w:at(rnd(0, 8 * S), function()
      if alive[from] then alive[from].udp:send(NOISE:sub(1, len), w:addr(hosts[to]) .. ":53") end
    end)
  end

  local function crash(i)
    w:crash(hosts[i])
    alive[i] = nil
    w:at(w:now() + rnd(1, 5 * S), function()
      w:restart(hosts[i])
      boot(i)
    end)
  end
  local faults = {
    function(i, j, back)
      if i == j then return end
      w[rnd(2) == 1 and "cut" or "hold"](w, hosts[i], hosts[j])
      w:at(back, function() w:heal(hosts[i], hosts[j]) end)
    end,
    function(i) if alive[i] then crash(i) end end,
    function(i)
      if not alive[i] then return end
      w:kill(alive[i].light)
      for _, flow in ipairs(flows) do
        if flow.from == i then flow.killed = true end -- its kernel ends it midway, as if it had sent everything
      end
      boot(i)
    end,
    function(i, _, back)
      w:slow(hosts[i], rnd(1000, 1000000))
      w:at(back, function() w:slow(hosts[i], 0) end)
    end,
    function(i) w:short(hosts[i], rnd(0, 2000)) end,
    function(i) w:full(hosts[i], rnd(1, 2 * S)) end,
    function(i) w:rebind(hosts[i]) end,
    function(i) w:jump(hosts[i], rnd(-100 * S, 100 * S)) end,
  }
  for _ = 1, rnd(0, 6) do
    local fault, i, j, at = faults[rnd(#faults)], rnd(n), rnd(n), rnd(0, 10 * S)
    w:at(at, function() fault(i, j, at + rnd(1, 20 * S)) end)
  end

  -- An error raised by io:check comes from a callback.
  local how = w:run(3000 * S, function()
    for _, io in ipairs(ios) do io:check() end
  end)
  local reasons = {}
  for i, flow in ipairs(flows) do
    local complete = flow.over == "end" and flow.got == #flow.data
    reasons[i] = flow.from .. ">" .. flow.to .. " " .. tostring(flow.over or flow.broken or "its process died") .. " " .. flow.got
    assert(flow.over ~= "end" or complete or flow.killed, "flow " .. i .. " ended short: " .. reasons[i])
  end
  for i = 1, n do
    local me = alive[i]
    me.listener:close()
    me.udp:close()
  end
  w:run(w:now() + 3000 * S)
  local open = 0
  for i = 1, n do open = open + w:open(hosts[i]) end
  for _, io in ipairs(ios) do io:free() end
  local text = w:traced() .. table.concat(log, "\n") .. table.concat(reasons, "\n")
  w:free()
  return { how = how, open = open, text = text, reasons = reasons }
end

describe("random worlds", function()
  local from = tonumber(os.getenv "SOAK_FROM") or 1
  local count = tonumber(os.getenv "SOAK") or (os.getenv "KT_SPEC_LIGHT" and 60 or 300)

  it("deliver the written bytes or a reason, and leave nothing behind", function()
    local ended, others = 0, 0
    for seed = from, from + count - 1 do
      local ok, r = pcall(world_of, seed)
      assert(ok, ("SOAK=1 SOAK_FROM=%d: %s"):format(seed, tostring(r)))
      assert.equal("quiet", r.how, "seed " .. seed)
      assert.equal(0, r.open, "seed " .. seed .. ": sockets left")
      for _, reason in ipairs(r.reasons) do
        if reason:find " end " then ended = ended + 1 else others = others + 1 end
      end
    end
    assert.is_true(ended > others and others > 0, ended .. " ended, " .. others .. " did not")
  end)

  it("repeat exactly for the same seed", function()
    for seed = from, from + math.min(count, 50) - 1 do
      local a, b = world_of(seed, true), world_of(seed, true)
      assert.is_true(a.text == b.text, "SOAK=1 SOAK_FROM=" .. seed .. ": two runs differ")
    end
  end)
end)
