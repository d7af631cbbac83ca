-- Carries DNS, or any other UDP, over a lossy line: each question and answer is sent twice.
--     kt run udp.lua             -- far: a machine that reaches the DNS server
--     kt run udp.lua near        -- near: applications ask 127.0.0.1:5353
-- A flow is the datagrams of one address. Needs kt's own wire, which never holds one datagram up for another.
local kt = require "kt"

local key = kt.secret_file "psk.key"

local ends = {}

function ends.near()
  local link = kt.link { remote = "vps.example:29900", wire = "kt", key = key }
  kt.listen { udp = "127.0.0.1:5353", idle = "30s" }:serve(function(flow)
    local out, err = link:flow { to = "dns", client = flow.peer, copies = 1 }
    if not out then return kt.log.warn("%s: %s", flow.peer, tostring(err)) end
    kt.splice(flow, out)
  end)
end

function ends.far()
  local targets = { dns = "127.0.0.1:53", ntp = "127.0.0.1:123" } -- what a client may reach, by name
  kt.accept { on = ":29900", wire = "kt", key = key }:on("flow", function(flow)
    local target = targets[flow.target]
    if not target then return kt.log.warn("%s asks for %s, which is not in the list", flow.peer, tostring(flow.target)) end
    local out, err = kt.connect { udp = target }
    if not out then return kt.log.warn("%s: %s", target, tostring(err)) end
    flow:set { copies = 1 }
    kt.splice(flow, out)
  end)
end

local run = ends[... or "far"] or error("usage: kt run udp.lua [far | near]", 0)
run()
