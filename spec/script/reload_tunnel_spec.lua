-- Reload under tunnels: links and acceptors change scripts while streams run through them. Real processes, real sockets.
local h = require "harness"
local scripts = require "harness.scripts"

local HEAD = 'local kt = require "kt"\n'

describe("a reload of a tunnel's end", function()
  local s = scripts.each(before_each, after_each)
  local kt = scripts.kt

  local function start(name, text)
    return h.start { name = name, cmd = { kt, "run", s.write(name .. ".lua", text) }, cwd = s.dir, graceful = true }
  end

  local function reload(p, text, said)
    s.write(p.name .. ".lua", text)
    p:mark()
    p:signal_with("sighup")
    return p:expect(said or "reloaded " .. p.name .. ".lua: ([^\n]*)\n")
  end

  local function client(port, remote, link)
    return HEAD .. ([[
local far = kt.link { remote = "127.0.0.1:%d", %s }
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  local stream, err = far:open { timeout = "10s" }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream)
end)]]):format(remote, link or 'key = "k", wire = "kcptun", mode = "fast3", compress = false', port)
  end

  --- Each stream that it serves begins with a line of its version, and is then spliced to the target.
  local function server(port, target, version, accept)
    return HEAD .. ([[
kt.accept { on = "127.0.0.1:%d", %s }:serve(function(stream)
  local conn, err = kt.connect { to = "127.0.0.1:%d" }
  if not conn then return stream:reset(err) end
  if %q ~= "" then stream:write(%q .. "\n") end
  kt.splice(stream, conn)
end)]]):format(port, accept or 'key = "k", wire = "kcptun", mode = "fast3", compress = false', target, version, version)
  end

  --- A tunnel from the port returned to an echo: port, client, server, the server's port.
  local function tunnel()
    local target, near, far = h.transfer.echo(), h.sockets.free_port("tcp"), h.sockets.free_port("udp")
    local b = start("server", server(far, target.at, "v1")):wait_udp(far)
    local a = start("client", client(near, far)):wait_tcp(near)
    return near, a, b, far, target
  end

  --- A stream through the tunnel; returns the conn and the version of the script that serves it.
  local function connect(port)
    local conn = assert(h.sockets.connect(port))
    return conn, conn:recv_exactly(3, 10):sub(1, 2)
  end

  local function echoes(conn, what)
    assert(conn:send(what))
    return conn:recv_exactly(#what, 10) == what
  end

  it("on the accepting side keeps sessions and streams, and gives new streams to the new script", function()
    h.run(function()
      local near, _, b, far, target = tunnel()
      local old, version = connect(near)
      assert.equal("v1", version)
      assert.matches("^1 address kept, 0 opened, 0 closed; 2 conns", reload(b, server(far, target.at, "v2")))
      assert.is_true(echoes(old, "going on"))
      local new, version_now = connect(near)
      assert.equal("v2", version_now)
      assert.is_true(echoes(new, "new"))
      assert.is_true(echoes(old, "still going on"))
      assert.equal(1, select(2, b:logged():gsub("session from", "")))
    end)
  end)

  it("with another mode leaves the mode of open sessions, and gives their new streams to the new script", function()
    h.run(function()
      local near, a, b, far, target = tunnel()
      local old = connect(near)
      local other = 'key = "k", wire = "kcptun", mode = "normal", compress = false, kcp = { sndwnd = 256 }'
      reload(b, server(far, target.at, "v2", other), ": 1 sessions keep their old settings\n")
      assert.is_true(echoes(old, "going on"))
      assert.equal("v2", select(2, connect(near)))
      a:stop() -- a new client has a new session, with the new settings
      local again = start("client", client(near, far))
      again:wait_tcp(near)
      local conn, version = connect(near)
      assert.equal("v2", version)
      assert.is_true(echoes(conn, ("x"):rep(30000)))
    end)
  end)

  it("with other settings that both ends must share keeps the old peer and accepts the new one", function()
    h.run(function()
      local near, _, b, far, target = tunnel()
      local old = connect(near)
      local other = 'key = "k", wire = "kcptun", crypt = "sm4", mode = "fast3", compress = false, fec = false'
      reload(b, server(far, target.at, "v2", other), "1 sessions keep their old settings, take no new streams .*\n")
      local near2 = h.sockets.free_port("tcp")
      start("client2", client(near2, far, other)):wait_tcp(near2)
      local new, version = connect(near2)
      assert.equal("v2", version)
      for i = 1, 20 do
        assert.is_true(echoes(old, "going on " .. i))
        assert.is_true(echoes(new, "new " .. i))
      end
    end)
  end)

  it("with another key ends the old peer's sessions when their streams have ended, and accepts no new ones", function()
    h.run(function()
      local near, _, b, far, target = tunnel()
      local old = connect(near)
      local other = 'key = "another", wire = "kcptun", mode = "fast3", compress = false'
      reload(b, server(far, target.at, "v2", other), "because the key has changed")
      assert.is_true(h.sockets.is_reset(near, 10))
      assert.is_true(echoes(old, "going on"))
      local near2 = h.sockets.free_port("tcp")
      start("client2", client(near2, far, other)):wait_tcp(near2)
      assert.equal("v2", select(2, connect(near2)))
    end)
  end)

  it("on the dialling side loses no data in flight", function()
    h.run(function()
      local total = h.light and 4 << 20 or 40 << 20
      local partner, near, far = h.transfer.partner(total, total), h.sockets.free_port("tcp"), h.sockets.free_port("udp")
      start("server", server(far, partner.at, "")):wait_udp(far)
      local a = start("client", client(near, far)):wait_tcp(near)
      local running = h.loop.spawn(function() h.transfer.exchange(near, 1, total, total) end)
      for i = 1, 4 do
        h.loop.eventually("the transfer to have begun", 10, function() return partner.accepted >= i end)
        reload(a, client(near, far, 'key = "k", wire = "kcptun", compress = false, mode = "fast' .. (i % 2 + 2) .. '"'))
        h.loop.spawn(function() h.transfer.exchange(near, i + 1, total, total) end)
      end
      h.loop.join(running, 60)
      h.loop.eventually("all transfers to end", 60, function() return partner.open == 0 and partner.accepted == 5 end)
    end)
  end)

  it("takes back an address of an earlier script, while the conns of that one continue", function()
    h.run(function()
      local near, _, b, far, target = tunnel()
      local old = connect(near)
      local elsewhere = h.sockets.free_port("udp")
      assert.matches("^0 addresses kept, 1 opened, 1 closed", reload(b, server(elsewhere, target.at, "v2")))
      local refused, err = h.sockets.connect(near) -- the session is still there, for what runs in it
      if refused then
        assert.is_nil((refused:recv(10)))
      else
        assert.equal("ECONNRESET", err) -- it was reset before this process saw that it is connected
      end
      assert.matches("^1 address kept, 0 opened, 1 closed", reload(b, server(far, target.at, "v3")))
      assert.is_true(echoes(old, "going on"))
      assert.equal("v3", select(2, connect(near)))
    end)
  end)

  it("that fails after preparing to take over an acceptor leaves it with its settings and its script", function()
    h.run(function()
      local near, _, b, far, target = tunnel()
      local old = connect(near)
      local held = h.sockets.serve(function() end)
      local text = server(far, target.at, "v2", 'key = "another", wire = "kcptun"')
        .. ('\nkt.listen { on = "127.0.0.1:%d" }:serve(function() end)'):format(held.at)
      reload(b, text, "error server: reload failed; still running the previous script: server.lua:8: kt.listen: ")
      assert.is_true(echoes(old, "going on"))
      assert.equal("v1", select(2, connect(near)))
    end)
  end)

  describe("with streams that the accepting side opens", function()
    --- A conn of the server's is carried to the client, whose target it reaches; returns the listener's port.
    local function reverse(version_of_server, version_of_client, near, far, target)
      return HEAD .. ([[
local home
local acceptor = kt.accept { on = "127.0.0.1:%d", key = "k", wire = "kcptun", mode = "fast3" }
acceptor:serve(function(stream) stream:reset() end)
acceptor:on("link", function(link)
  home = link
  link:on("down", function() if home == link then home = nil end end)
end)
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  local stream, err = home:open { timeout = "10s" }
  if not stream then return conn:reset(err) end
  conn:write("%s")
  kt.splice(conn, stream)
end)]]):format(far, near, version_of_server), HEAD .. ([[
kt.link { remote = "127.0.0.1:%d", key = "k", wire = "kcptun", mode = "fast3" }:serve(function(stream)
  local conn, err = kt.connect { to = "127.0.0.1:%d" }
  if not conn then return stream:reset(err) end
  stream:write("%s")
  kt.splice(stream, conn)
end)]]):format(far, target, version_of_client)
    end

    local near, far, target, a, b

    local function begin()
      near, far, target = h.sockets.free_port("tcp"), h.sockets.free_port("udp"), h.transfer.echo()
      local server_text, client_text = reverse("s1", "c1", near, far, target.at)
      b = start("server", server_text):wait_tcp(near)
      a = start("client", client_text)
      b:expect("session from")
      h.loop.eventually("the client's link", 10, function()
        local conn = assert(h.sockets.connect(near))
        local got = conn:recv(10)
        conn:close()
        return got
      end)
    end

    local function visit()
      local conn = assert(h.sockets.connect(near))
      local versions = conn:recv_exactly(4, 10)
      assert.is_true(echoes(conn, "hello"))
      return conn, versions
    end

    it("gives the new script of the accepting side the existing links, which outlive the old one", function()
      h.run(function()
        begin()
        local old, versions = visit()
        assert.equal("s1c1", versions)
        reload(b, (reverse("s2", "", near, far, target.at)))
        local new, versions_now = visit()
        assert.equal("s2c1", versions_now)
        assert.is_true(echoes(old, "going on"))
        old:close()
        h.loop.sleep(2.5) -- the old script is gone by then
        assert.is_true(echoes(new, "going on"))
        assert.equal("s2c1", select(2, visit()))
        assert.equal(1, select(2, b:logged():gsub("session from", "")))
      end)
    end)

    it("refuses none of them while the dialling side gets a new script", function()
      h.run(function()
        begin()
        local old = visit()
        local stop, n = false, 0
        local visitor = h.loop.spawn(function()
          while not stop do
            visit():close()
            n = n + 1
          end
        end)
        for i = 2, 4 do
          reload(a, (select(2, reverse("", "c" .. i, near, far, target.at))))
          h.loop.eventually("the new script to serve", 10, function() return select(2, visit()) == "s1c" .. i end)
        end
        assert.is_true(echoes(old, "going on"))
        stop = true
        h.loop.join(visitor)
        assert.is_true(n > 3)
      end)
    end)
  end)

  it("each second, with 100 busy conns, loses no byte and refuses no connection", function()
    h.run(function()
      local seconds, each = h.light and 6 or 15, 96 << 10
      local partner = h.transfer.partner(each, each)
      local near, far = h.sockets.free_port("tcp"), h.sockets.free_port("udp")
      local b = start("server", server(far, partner.at, "")):wait_udp(far)
      local a = start("client", client(near, far)):wait_tcp(near)
      local stop_at, done, visitors = h.loop.now() + seconds, 0, {}
      --- One conn that stays busy while its script is replaced repeatedly.
      local function long(seed)
        local conn = assert(h.sockets.connect(near))
        conn:send(string.pack("<i8", seed))
        h.loop.all(600, function()
          for data in h.pattern.blocks(seed, each) do
            for at = 1, #data, 1024 do
              conn:send(data:sub(at, at + 1023))
              h.loop.sleep(0.8 * seconds * 1024 / each)
            end
          end
        end, function() h.transfer.pull(conn, -seed, each) end)
        assert.equal("!", conn:recv_exactly(1))
        conn:close()
        done = done + 1
      end
      for i = 1, h.light and 20 or 100 do
        visitors[i] = i % 10 == 0 and function() long(i) end or function()
          local n = 0
          while h.loop.now() < stop_at do
            n = n + 1
            h.transfer.exchange(near, i * 100000 + n, each, each)
            done = done + 1
          end
        end
      end
      local reloads = 0
      visitors[#visitors + 1] = function()
        while h.loop.now() < stop_at do
          h.loop.sleep(1)
          reloads = reloads + 1
          a:mark()
          b:mark()
          a:signal_with("sighup")
          b:signal_with("sighup")
          a:expect("reloaded client.lua: 1 address kept")
          b:expect("reloaded server.lua: 1 address kept")
        end
      end
      h.loop.all(seconds + 60, table.unpack(visitors))
      assert.is_true(reloads >= seconds * 0.5, reloads .. " reloads")
      assert.equal(done, partner.accepted)
      assert.is_true(done >= #visitors - 1, done .. " connections")
      for _, p in ipairs { a, b } do assert.is_nil(p:logged():find "not reloaded") end
    end, 150)
  end)

  describe("given on the command line", function()
    local function settings(path, fields)
      local lines = {}
      for name, value in pairs(fields) do
        lines[#lines + 1] = ("%q: %s"):format(name, type(value) == "string" and ("%q"):format(value) or tostring(value))
      end
      h.write_file(path, "{" .. table.concat(lines, ", ") .. "}")
    end

    it("rereads the JSON file, and a broken one changes nothing", function()
      h.run(function()
        local echo = h.transfer.echo()
        local shout = h.sockets.serve(function(conn)
          for chunk in function() return conn:recv(60) end do conn:send(chunk:upper()) end
        end)
        local path = h.temporary_path()
        local far = h.sockets.free_port("udp")
        local function target(at) settings(path, { listen = "127.0.0.1:" .. far, target = "127.0.0.1:" .. at, key = "k" }) end
        target(echo.at)
        local b = h.start { name = "server", cmd = { kt, "server", "-c", path }, graceful = true }
        b:wait_udp(far)
        local a = h.peer.client(far, { key = "k" })
        local old = assert(h.sockets.connect(a.at))
        assert.is_true(echoes(old, "hello"))
        target(shout.at)
        b:signal_with("sighup")
        b:expect("reloaded server: 1 address kept")
        assert.is_true(echoes(old, "hello"))
        local new = assert(h.sockets.connect(a.at))
        assert(new:send("hello"))
        assert.equal("HELLO", new:recv_exactly(5))

        b:mark()
        h.write_file(path, '{ "listen": ')
        b:signal_with("sighup")
        b:expect("error server: reload failed; still running the previous script: kt server: %-c .*: line 1, column %d+: not valid JSON: ")
        b:mark()
        settings(path, { listen = "127.0.0.1:" .. far, target = "127.0.0.1:1", key = "k", crypt = "rot13", log = s.dir .. "/log" })
        b:signal_with("sighup")
        b:expect("error server: reload failed; still running the previous script: kt server: %-c .*: line %d+, column %d+: crypt: ")
        local newest = assert(h.sockets.connect(a.at))
        assert(newest:send("hello"))
        assert.equal("HELLO", newest:recv_exactly(5))
        assert.is_true(echoes(old, "hello"))
        local counters = b:counters()
        assert.equal(3, counters.StreamsAccepted) -- of all scripts together, and said once
      end)
    end)

    it("moves the log with the new settings, and back when they say so", function()
      h.run(function()
        local path, log = h.temporary_path(), h.temporary_path()
        local near = h.sockets.free_port("tcp")
        local fields = { localaddr = "127.0.0.1:" .. near, remoteaddr = "127.0.0.1:9", key = "k" }
        settings(path, fields)
        local a = h.start { name = "client", cmd = { kt, "client", "-c", path }, graceful = true }
        a:wait_tcp(near)
        fields.log = log
        settings(path, fields)
        a:signal_with("sighup")
        h.loop.eventually("the log to move", 10, function()
          local file = io.open(log)
          return file and file:read("a"):find "reloaded client: 1 address kept"
        end)
        fields.log = nil
        settings(path, fields)
        a:mark()
        a:signal_with("sighup")
        a:expect("reloaded client: 1 address kept")
      end)
    end)
  end)
end)
