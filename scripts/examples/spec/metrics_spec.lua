-- metrics.lua: what Prometheus and a health check see of a tunnel.
local sim = require "kt.sim"

describe("metrics.lua", function()
  local w, client, script
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    client = w:host "client"
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
    w:link("client", "server", { delay = "50ms" })
    w:name("vps.example", "server")
    w:host("server"):run "scripts/examples/server.lua"
    script = client:run "scripts/examples/metrics.lua"
  end)

  -- The metrics, as a table of values by name and labels.
  local function metrics()
    local response = client:http { url = "http://127.0.0.1:9100/metrics" }
    assert.equal("text/plain; version=0.0.4; charset=utf-8", response.headers["Content-Type"])
    local out, told = {}, {}
    for line in response.body:gmatch "[^\n]+" do
      local name, kind = line:match "^# TYPE (%S+) (%l+)$"
      if name then told[name] = kind end
      local metric, value = line:match "^([^#]%S*) (%S+)$"
      if metric then
        assert.is_truthy(told[metric:match "^[%w_]+"], line)
        out[metric] = tonumber(value)
      end
    end
    return out
  end

  it("counts connections and bytes, and measures the link", function()
    for _ = 1, 3 do client:connect("127.0.0.1:12948"):echo "hello" end
    w:run_for "5s"
    local seen = metrics()
    assert.equal(3, seen.kt_conns_total)
    assert.equal(0, seen.kt_conns_failed_total)
    local link = '{link="vps.example:29900"}'
    assert.equal(1, seen["kt_link_up" .. link])
    assert.equal(3, seen["kt_link_streams" .. link])
    assert.is_true(math.abs(seen["kt_link_srtt_seconds" .. link] - 0.1) < 0.02)
    assert.is_true(seen["kt_link_sent_bytes_total" .. link] >= 15)
  end)

  it("reports the link's health, and keeps the counters when the script is reloaded", function()
    client:connect("127.0.0.1:12948"):echo("hello")
    local function health() return client:http { url = "http://127.0.0.1:9100/health" }.status end
    assert.equal(200, health())
    w:link("client", "server"):cut()
    w:run_for "1m"
    assert.equal(503, health())
    script:signal "HUP"
    script:wait_log "reloaded"
    assert.equal(1, metrics().kt_conns_total)
  end)

  it("answers no page that reaches it by a name of its own", function()
    assert.equal(421, client:http { url = "http://evil.example/metrics", to = "127.0.0.1:9100" }.status)
  end)
end)
