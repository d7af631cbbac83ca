-- The PROXY protocol against Debian's haproxy, at both ends of a tunnel: it sends the header to kt client, and takes that of kt server.
local h = require "harness"

--- One haproxy: `v1` and `v2` are ports that pass connections on to kt client with a header; `web` is a port that takes headers and answers
--- HTTP with the addresses of client and target as it knows them.
local function haproxy(near, web)
  local v1, v2 = h.sockets.free_port(), h.sockets.free_port()
  local config = h.temporary_path()
  h.write_file(config, ([[
defaults
  mode tcp
  timeout connect 10s
  timeout client 20s
  timeout server 20s
listen v1
  bind 127.0.0.1:%d
  server kt 127.0.0.1:%d send-proxy
listen v2
  bind 127.0.0.1:%d
  server kt 127.0.0.1:%d send-proxy-v2 proxy-v2-options crc32c,unique-id
frontend web
  mode http
  bind 127.0.0.1:%d accept-proxy
  http-request return status 200 content-type text/plain lf-string "%%ci:%%cp %%[dst]:%%[dst_port]"
]]):format(v1, near, v2, near, web))
  local p = h.start { name = "haproxy", cmd = { "haproxy", "-db", "-f", config } }
  for _, port in ipairs { v1, v2, web } do p:wait_tcp(port) end
  return v1, v2
end

describe("The PROXY protocol with haproxy", function()
  after_each(h.cleanup)

  for _, version in ipairs { "v1", "v2" } do
    it("takes the client's address to the target, in " .. version .. " from kt server", function()
      h.run(function()
        local near, wire, web = h.sockets.free_port(), h.sockets.free_port "udp", h.sockets.free_port()
        local ports = { haproxy(near, web) }
        local server = h.start { name = "kt server", graceful = true,
          cmd = { h.peer.kt, "server", "-l", "127.0.0.1:" .. wire, "-t", "127.0.0.1:" .. web, "--key", "k", "--proxy", version } }
        server:wait_udp(wire)
        local client = h.start { name = "kt client", graceful = true,
          cmd = { h.peer.kt, "client", "-l", "127.0.0.1:" .. near, "-r", "127.0.0.1:" .. wire, "--key", "k", "--acceptproxy",
            version == "v1" and "any" or "10.0.0.0/8,127.0.0.1" } }
        client:wait_tcp(near)
        for _, port in ipairs(ports) do
          local app = assert(h.sockets.connect(port))
          app:send "GET / HTTP/1.0\r\n\r\n"
          local answer = app:recv_all()
          assert.matches(("\r\n\r\n127.0.0.1:%d 127.0.0.1:%d$"):format(app.handle:getsockname().port, web), answer)
        end
        local other = assert(h.sockets.connect(near))
        other:send "GET / HTTP/1.0\r\n\r\n"
        assert.same({ nil, "ECONNRESET" }, { other:recv() })
      end)
    end)
  end
end)
