-- Checked transfers, and the targets that take part in them.
local loop = require "harness.loop"
local pattern = require "harness.pattern"
local sockets = require "harness.sockets"

local transfer = {}

--- Sends `total` bytes of stream `seed`.
function transfer.push(conn, seed, total, seconds)
  for data in pattern.blocks(seed, total) do
    local ok, err = conn:send(data, seconds)
    if not ok then error("sending broke off: " .. err, 2) end
  end
end

--- Receives `total` bytes of stream `seed`, checking each.
function transfer.pull(conn, seed, total, seconds)
  local check, got = pattern.checker(seed), 0
  while got < total do
    local chunk, err = conn:recv(seconds, total - got)
    if not chunk then error(("the stream ended (%s) after %d of %d bytes"):format(err or "EOF", got, total), 2) end
    got = check(chunk)
  end
end

--- A target that echoes, and ends its half after the client's.
function transfer.echo(where)
  return sockets.serve(function(conn)
    local chunk = conn:recv(600)
    while chunk do
      if not conn:send(chunk, 600) then return end
      chunk = conn:recv(600)
    end
    conn:shutdown()
  end, where)
end

--- Sends a line to an echo, and expects it back.
function transfer.ping(where, seconds)
  local conn = assert(sockets.connect(where))
  conn:send("ping\n")
  local reply = conn:recv_exactly(5, seconds)
  if reply ~= "ping\n" then error(("sent ping, received %q"):format(reply), 2) end
  conn:close()
end

--- A target for `transfer.exchange`: the client's first 8 bytes identify the stream. When it has received everything it sends one byte and
--- waits for the client to close, because an end that closes first may cut off data in flight. seconds: how long to wait for the next
--- bytes, if not the default.
function transfer.partner(up, down, where, seconds)
  return sockets.serve(function(conn)
    local seed = string.unpack("<i8", conn:recv_exactly(8))
    loop.all(600,
      function() transfer.pull(conn, seed, up, seconds) end,
      function() transfer.push(conn, -seed, down, seconds) end)
    conn:send("!")
    conn:recv(60)
  end, where)
end

--- Sends `up` and receives `down` bytes at the same time through the tunnel whose near end is `where`, to a partner with the same sizes.
function transfer.exchange(where, seed, up, down, seconds)
  local conn = assert(sockets.connect(where))
  conn:send(string.pack("<i8", seed))
  loop.all(600,
    function() transfer.push(conn, seed, up, seconds) end,
    function() transfer.pull(conn, -seed, down, seconds) end)
  assert(conn:recv_exactly(1, seconds) == "!")
  conn:close()
end

return transfer
