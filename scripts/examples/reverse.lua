-- Publishes a service behind NAT: the inside dials out, the outside opens the streams.
--     kt run reverse.lua             -- outside: a machine with a public address
--     kt run reverse.lua inside      -- inside: beside the service; needs no open port
-- Either end of a link may open streams. The inside keeps its link up, and dials again whenever it is lost.
local kt = require "kt"

local key = kt.secret_file "psk.key"

local ends = {}

function ends.inside()
  -- An outside that has restarted cannot dial; the short keepalive lets it hear from the inside soon.
  local link = kt.link { remote = "vps.example:29900", key = key, keepalive = "2s", smux = { keepalive = "2s" } }
  link:serve(function(stream)
    local conn, err = kt.connect { to = "127.0.0.1:22", timeout = "5s" }
    if not conn then return stream:reset(err) end
    kt.splice(stream, conn)
  end)
end

function ends.outside()
  local inside -- the latest link: after a restart of the inside, the one that works
  local acceptor = kt.accept { on = ":29900", key = key, survive = "30s" } -- then users are refused
  acceptor:on("link", function(link)
    inside = link
    link:on("down", function()
      if inside == link then inside = nil end
    end)
  end)
  kt.listen { on = ":2222" }:serve(function(conn)
    if not inside then return conn:reset "the inside has not dialled in" end
    local stream, err = inside:open { timeout = "5s", client = conn.peer }
    if not stream then return conn:reset(err) end
    kt.splice(conn, stream, { idle = "10m" })
  end)
end

local run = ends[... or "outside"] or error("usage: kt run reverse.lua [outside | inside]", 0)
run()
