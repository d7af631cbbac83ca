-- A game server and players over kt.kcp: each move arrives once and in order, whatever the line loses.
--     kt run game.lua                                        -- the server, on UDP port 7777
--     kt run game.lua alice game.example:7777 right right    -- a player, and its moves
-- Players send moves, and ten times a second the server sends everyone where all are. KCP does not know who a packet is from,
-- so each is sealed with the key that all have. A packet that was captured and is sent again, from any address, is also sealed: the
-- server makes a conversation only for an address that repeats the cookie which it was sent.
local kt = require "kt"

local key = kt.crypto.derive(kt.crypto.hash("blake2b", kt.secret_file "psk.key"), "game")
local IDLE = "10s" -- a player that says nothing for this long has left
local MOST = 1000 -- players at once; kt.kcp has a limit, too
local COOKIE, HEADER = 16, 24 -- bytes; no packet of KCP is shorter than its header

local function converse(conv, send)
  return kt.kcp { conv = conv, mode = "fast3", output = send }
end

local function server()
  local socket = kt.udp { on = ":7777" }
  local secret, count = kt.crypto.random(32), 0
  local talks, players = {}, {} -- by address: conversations, and { talk, name, x } of those who have said their name

  local function play(talk, from)
    local player = { talk = talk, name = talk:recv { timeout = IDLE }, x = 0 }
    players[from] = player.name and player
    for move in function() return (talk:recv { timeout = IDLE }) end do
      player.x = player.x + (move == "right" and 1 or move == "left" and -1 or 0)
    end
    talk:close()
    talks[from], players[from], count = nil, nil, count - 1
  end

  local function arrived(packet, from) -- a cookie, and a packet of KCP
    if not talks[from] then
      local function send(data) socket:send(kt.crypto.aead_seal(key, data), from) end
      local cookie = kt.crypto.hash("blake2b", secret .. from):sub(1, COOKIE)
      if packet:sub(1, COOKIE) ~= cookie then return send(cookie) end
      local talk = count < MOST and converse(string.unpack("<I4", packet, COOKIE + 1), send)
      if not talk then return end -- newcomers wait until others leave
      talks[from], count = talk, count + 1
      kt.spawn(play, talk, from)
    end
    talks[from]:input(packet:sub(COOKIE + 1))
  end

  kt.spawn(function()
    while true do
      local data, from = socket:receive { timeout = "1h" }
      local packet = data and kt.crypto.aead_open(key, data)
      if packet and #packet >= COOKIE + HEADER then arrived(packet, from) end
    end
  end)

  kt.every("100ms", function()
    local all = {}
    for _, player in pairs(players) do all[#all + 1] = ("%s=%d"):format(player.name, player.x) end
    table.sort(all)
    for _, player in pairs(players) do player.talk:send(table.concat(all, " "), { timeout = 0 }) end
  end)
end

local function player(name, address, ...)
  local socket = assert(kt.udp { to = address })
  local cookie = ("\0"):rep(COOKIE) -- until the server has sent one
  local talk = assert(converse(string.unpack("<I4", kt.crypto.random(4)), function(packet)
    socket:send(kt.crypto.aead_seal(key, cookie .. packet))
  end))
  kt.spawn(function()
    for data in function() return (socket:receive { timeout = IDLE }) end do
      local packet = kt.crypto.aead_open(key, data) or ""
      if #packet == COOKIE then cookie = packet else talk:input(packet) end
    end
  end)
  for _, word in ipairs { name, ... } do assert(talk:send(word)) end
  for places in function() return (talk:recv { timeout = IDLE }) end do print(places) end
end

if ... then kt.spawn(player, ...) else server() end
