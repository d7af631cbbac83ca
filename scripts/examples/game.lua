-- A game server and players over kt.kcp: each move arrives once and in order, whatever the line loses.
--     kt run game.lua                                        -- the server, on UDP port 7777
--     kt run game.lua alice game.example:7777 right right    -- a player, and its moves
-- Players send moves, and ten times a second the server sends everyone where all are. KCP does not know who a packet is from,
-- so each is sealed with the key that all have.
local kt = require "kt"

local key = kt.crypto.derive(kt.crypto.hash("blake2b", kt.secret_file "psk.key"), "game")
local IDLE = "10s" -- a player that says nothing for this long has left

local function converse(conv, send)
  return assert(kt.kcp { conv = conv, mode = "fast3", output = function(packet) send(kt.crypto.aead_seal(key, packet)) end })
end

local function server()
  local socket = kt.udp { on = ":7777" }
  local talks, players = {}, {} -- by address: conversations, and { talk, name, x } of those who have said their name

  local function play(talk, from)
    local player = { talk = talk, name = talk:recv { timeout = IDLE }, x = 0 }
    players[from] = player.name and player
    for move in function() return (talk:recv { timeout = IDLE }) end do
      player.x = player.x + (move == "right" and 1 or move == "left" and -1 or 0)
    end
    talks[from], players[from] = nil, nil -- the conversation is closed with this task
  end

  kt.spawn(function()
    while true do
      local data, from = socket:receive { timeout = "1h" }
      local packet = data and kt.crypto.aead_open(key, data)
      if packet and #packet >= 24 and not talks[from] then
        talks[from] = converse(string.unpack("<I4", packet), function(sealed) socket:send(sealed, from) end)
        kt.spawn(play, talks[from], from)
      end
      if packet and talks[from] then talks[from]:input(packet) end
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
  local talk = converse(string.unpack("<I4", kt.crypto.random(4)), function(sealed) socket:send(sealed) end)
  kt.spawn(function()
    for data in function() return (socket:receive { timeout = IDLE }) end do talk:input(kt.crypto.aead_open(key, data) or "") end
  end)
  for _, word in ipairs { name, ... } do assert(talk:send(word)) end
  for places in function() return (talk:recv { timeout = IDLE }) end do print(places) end
end

if ... then kt.spawn(player, ...) else server() end
