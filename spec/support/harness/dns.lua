-- A name server on 127.0.0.1, UDP and TCP on one port.
--
--   local server = dns.serve { ["a.test"] = { A = { "192.0.2.1" }, ttl = 60 } }
--   server.at                      "127.0.0.1:4711"
--   server.zone["a.test"] = …      at any time; for the contents of a zone see dns_message.lua
--   server.count("a.test", "A")    how many questions came, by UDP or TCP; without arguments: all
--   server.asked                   all questions in order: { name, type, how ("udp" or "tcp") }
--   server.close()                 closes both sockets
local uv = require "luv"
local loop = require "harness.loop"
local message = require "dns_message"
local sockets = require "harness.sockets"

local dns = {}

--- Handles for UDP and TCP on one port. accepted: called for each TCP connection.
local function bind(accepted)
  for _ = 1, 50 do
    local udp, tcp = uv.new_udp(), uv.new_tcp()
    local port = sockets.free_port "udp"
    -- listen reports a TCP port that is in use, bind does not.
    if udp:bind("127.0.0.1", port) and tcp:bind("127.0.0.1", port) and tcp:listen(128, function() accepted(tcp) end) then
      return udp, tcp, port
    end
    udp:close()
    tcp:close()
  end
  error "no port that is free for both udp and tcp"
end

function dns.serve(zone)
  local server = { zone = zone, asked = {} }

  local function respond(bytes, how)
    local question = message.question(bytes)
    question.how = how
    server.asked[#server.asked + 1] = question
    return message.respond(server.zone, question, how)
  end

  local udp, tcp, port = bind(loop.bound(function(tcp)
    local client, got = uv.new_tcp(), ""
    if not tcp:accept(client) then return client:close() end
    client:read_start(loop.bound(function(_, bytes)
      if not bytes then return client:is_closing() or client:close() end
      got = got .. bytes
      while #got >= 2 and #got >= 2 + string.unpack(">I2", got) do
        local query, rest = string.unpack(">s2", got)
        got = got:sub(rest)
        local answer = respond(query, "tcp")
        if answer then client:write(string.pack(">s2", answer)) end
      end
    end))
  end))
  server.port, server.at = port, "127.0.0.1:" .. port

  udp:recv_start(loop.bound(function(_, bytes, from)
    local answer = bytes and from and respond(bytes, "udp")
    if answer then udp:try_send(answer, from.ip, from.port) end
  end))

  function server.count(name, kind)
    local n = 0
    for _, q in ipairs(server.asked) do
      if (not name or q.name == name) and (not kind or q.type == kind) then n = n + 1 end
    end
    return n
  end

  function server.close()
    if not udp:is_closing() then udp:close() end
    if not tcp:is_closing() then tcp:close() end
  end

  return server
end

return dns
