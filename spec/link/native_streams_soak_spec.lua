-- Streams of kt's own wire over channels that lose, reorder and copy packets: every byte arrives once and in order, every
-- stream ends as its user wanted, and nothing is left. A failure names its seed.
local streams = require "spec_native_streams"

local LIGHT = os.getenv("KT_SPEC_LIGHT") == "1"
local WORLDS = LIGHT and 12 or 60
local MS, S, KIB = 1000, 1000000, 1024
local random = math.random

local function check(ok, seed, what)
  if not ok then error(("%s, seed %d"):format(what, seed), 2) end
end

local function ends()
  local min = random(1, 16) * KIB
  local most = random(3, 40)
  return { max_streams = most, most_streams = most * random(1, 4), min_stream_data = min, max_stream_data = min + random(0, 100) * KIB,
    max_data = random(4, 300) * KIB, memory = random(300, 2000) * KIB, max_window = random(16, 2000) * KIB,
    send_memory = random(16, 2000) * KIB }
end

--- One side of a stream. how: "end" writes all and shuts down, "close" writes all and closes, "reset" and "cut" do so at a
--- random time; a slow one reads in steps.
local function user(s, world)
  local how = ({ "end", "end", "end", "close", "cut", "reset" })[random(6)]
  local total = random() < 0.2 and random(0, 10) or random(0, random() < 0.1 and 500000 or 30000)
  local u = { s = s, how = how, total = total, until_ = world:now() + random(0, 3000) * MS }
  s:source(total)
  if random() < 0.8 then s:sink() else u.slow = random(100, 20000) end
  return u
end

local function read_slowly(u, seed)
  local text = u.s:read(u.slow)
  u.read = (u.read or 0) + #text
  for i = 1, #text, 97 do -- the pattern of sources
    local offset = u.read - #text + i - 1
    check(text:byte(i) == ((offset * 31) ~ (offset >> 7) ~ (offset >> 15)) & 255, seed, "wrong byte")
  end
end

describe("streams", function()
  it("bring every byte through any channel, and leave nothing", function()
    for seed = 1, WORLDS do
      math.randomseed(seed)
      local w = streams.world { seed = seed, rtt = random(1, 200) * MS, jitter = random(0, 1) * random(0, 100) * MS,
        loss = random() < 0.3 and 0 or random() * 0.3, copies = random() * 0.1, probes = random() * 0.2,
        rate = random() < 0.5 and 0 or random(300, 5000), window = random(4, 500), mtu = random(200, 1400),
        client = ends(), server = ends() }
      local users, begun = {}, 0
      local waiting = {} -- by name: the opener's side, until the other is accepted
      local complete, reset = 0, 0
      local function add(s, name)
        local u = user(s, w)
        u.name = name
        users[#users + 1] = u
        return u
      end
      local function open() return w:facts("client").streams + w:facts("server").streams end
      while begun < 60 or #users > 0 or open() > 0 do
        if begun < 60 and random() < 0.5 then
          begun = begun + 1
          local e = random() < 0.7 and "client" or "server"
          local name = e .. begun
          local s = w:open(e, { name = name, priority = random(0, 7), weight = random(1, 256) })
          waiting[name] = add(s, name)
        end
        w:run(random(1, 100) * MS)
        for _, e in ipairs { "client", "server" } do
          local t = w:accepted(e)
          while t do
            local name = t:opened().name
            local u = add(t, name)
            u.peer, waiting[name].peer = waiting[name], u
            t = w:accepted(e)
          end
        end
        for i = #users, 1, -1 do
          local u = users[i]
          local s = u.s
          if u.slow then read_slowly(u, seed) end
          local moved = u.slow and (u.read or 0) or s:moved()
          local closed = s:events():match "closed:(%w+)"
          local done = false
          if closed then
            check(closed == "reset", seed, "closed: " .. closed)
            local abrupt = u.peer and u.peer.how ~= "end"
            check(abrupt, seed, "broke, and nobody broke it")
            if s:why() and u.peer.how == "cut" then check(moved <= u.peer.s:wrote(), seed, "too much") end
            s:close()
            reset, done = reset + 1, true
          elseif s:eof() then
            local p = u.peer
            check(moved == p.s:wrote(), seed, ("%d of %d bytes"):format(moved, p.s:wrote()))
            check(p.how ~= "end" or moved == p.total, seed, "an early end")
            if s:wrote() == u.total or s:gone() then
              s:close()
              complete, done = complete + 1, true
            end
          elseif w:now() > u.until_ and u.how ~= "end" and (u.how ~= "close" or s:wrote() == u.total) then
            if u.how == "close" then s:close() elseif u.how == "cut" then s:cut("timeout") else s:reset("canceled", "enough") end
            done = true
          end
          if done then
            u.gone = true
            table.remove(users, i)
          end
        end
        check(w:now() < 4000 * S, seed, open() .. " streams are stuck")
        local f = w:facts("server")
        check(w:error() == nil, seed, tostring(w:error()))
        check(f.charged_in <= f.max_data_in, seed, "too much credit used")
      end
      w:run(10 * S)
      for _, e in ipairs { "client", "server" } do
        local f = w:facts(e)
        for _, key in ipairs { "streams", "queued", "unread", "charged_in", "charged_out" } do
          check(f[key] == 0, seed, ("%s: %d %s left"):format(e, f[key], key))
        end
        check(not w:pending(e), seed, "something left to send")
      end
      check(w:blocks() == 0, seed, "blocks left")
      check(complete > 0, seed, "nothing came through")
      w:close()
    end
  end)
end)
