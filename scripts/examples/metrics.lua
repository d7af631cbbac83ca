-- A near end that Prometheus can watch: link, connections and bytes at /metrics; /health for a check.
--     kt run metrics.lua
--     curl http://127.0.0.1:9100/metrics
-- Only programs on this machine can ask, and only by the name localhost or a loopback address; see `hosts` in `kt help http.serve`.
local kt = require "kt"

local far = kt.link { remote = "vps.example:29900", key = kt.secret_file "psk.key" }

local total = kt.keep("total", { conns = 0, failed = 0 }) -- a reload keeps them

kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  total.conns = total.conns + 1
  local stream, err = far:open { timeout = "5s", client = conn.peer }
  if not stream then
    total.failed = total.failed + 1
    return conn:reset(err)
  end
  kt.splice(conn, stream, { idle = "10m" })
end)

-- Name, type, help, and the value by the statistics of a link.
local of_link = {
  { "kt_link_up", "gauge", "Whether a session is up.", function(s) return s.up and 1 or 0 end },
  { "kt_link_streams", "gauge", "Open streams.", function(s) return s.streams end },
  { "kt_link_srtt_seconds", "gauge", "Smoothed round-trip time.", function(s) return s.srtt end },
  { "kt_link_loss_ratio", "gauge", "Share of segments lost lately.", function(s) return s.loss end },
  { "kt_link_received_bytes_total", "counter", "Payload received.", function(s) return s.bytes_in end },
  { "kt_link_sent_bytes_total", "counter", "Payload sent.", function(s) return s.bytes_out end },
}

local function quoted(text) return '"' .. text:gsub('[\\"\n]', { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }) .. '"' end

local function metrics()
  local out, seen = {}, kt.inspect { max = 0 }
  local function head(name, kind, help) out[#out + 1] = ("# HELP %s %s\n# TYPE %s %s\n"):format(name, help, name, kind) end
  local function one(name, kind, help, value)
    head(name, kind, help)
    out[#out + 1] = ("%s %s\n"):format(name, value)
  end
  for _, m in ipairs(of_link) do
    head(m[1], m[2], m[3])
    for _, link in ipairs(seen.links) do
      if link.stats then out[#out + 1] = ("%s{link=%s} %s\n"):format(m[1], quoted(link.name), m[4](link.stats)) end
    end
  end
  one("kt_conns", "gauge", "Open connections and streams.", seen.conn_count)
  one("kt_conns_total", "counter", "Connections accepted.", total.conns)
  one("kt_conns_failed_total", "counter", "Connections that got no stream.", total.failed)
  one("kt_memory_bytes", "gauge", "Memory that the script holds.", seen.memory)
  return { headers = { ["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8" }, body = table.concat(out) }
end

kt.http.serve { on = "127.0.0.1:9100", routes = {
  ["GET /metrics"] = metrics,
  ["GET /health"] = function() return far:stats().up and 200 or 503 end,
} }
