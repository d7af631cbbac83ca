-- kt.pool in scripts that kt runs, with servers that are killed and come back.
local h = require "harness"
local dns = require "harness.dns"
local scripts = require "harness.scripts"

-- A check that works on every wire: the target behind the server speaks first.
local SPEAKS = [[
function(link)
  local stream, err = link:open { timeout = "500ms" }
  if not stream then return nil, err end
  local said
  said, err = stream:read(1, { timeout = "700ms" })
  return said and true, err
end]]

local SERVER = scripts.HEAD .. [[
kt.accept { on = "127.0.0.1:%d", key = KEY }:serve(function(stream)
  local conn, err = kt.connect { to = "127.0.0.1:%d", timeout = "5s" }
  if not conn then return stream:reset(err) end
  kt.splice(stream, conn)
end)
]]

describe("a pool in a script", function()
  local s = scripts.each(before_each, after_each)

  local function server(name)
    return s.server(name, function(port, target) return s.write(name .. ".lua", SERVER:format(port, target)) end)
  end

  --- A client with a pool of these servers as `links`; settings: the rest of kt.pool's table; more: lines behind the pool. Its port is
  --- `at`.
  local function client(servers, settings, more)
    local lines, names = {}, {}
    for i, one in ipairs(servers) do
      lines[i] = ('local %s = kt.link { remote = "127.0.0.1:%d", key = KEY }'):format(one.name, one.port)
      names[i] = ('{ link = %s, name = "%s" }'):format(one.name, one.name)
    end
    local at = h.sockets.free_port("tcp")
    local p = s.start("%s", table.concat(lines, "\n") .. ([[

local pool = kt.pool { links = { %s }, %s }
%s
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  local stream, err = pool:open { timeout = "3s", client = conn.peer }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream)
end)]]):format(table.concat(names, ", "), settings, more or "", at))
    p:wait_tcp(at)
    p.at = at
    return p
  end

  --- The name of the server that a new connection comes to; nil if to none within 3 s.
  local function where(p)
    local app = h.sockets.connect(p.at)
    local ok, said = pcall(app.recv, app, 3, 64)
    app:close()
    return ok and said and said:match "^(%w+)\n$"
  end

  local QUICK = "check = { every = \"200ms\", timeout = \"700ms\", fall = 2, rise = 2, with = " .. SPEAKS .. " }"

  it("goes to the next link within seconds when the first one's server is killed, and back after `hold` when it is back", function()
    h.run(function()
      local a, b = server "a", server "b"
      local p = client({ a, b }, QUICK .. ', hold = "2s"')
      p:expect "pool: a is up"
      assert.equal("a", where(p))
      a.kill()
      local killed = h.loop.now()
      p:expect("pool: new streams now go to b instead of a: a is down", 20)
      assert.is_true(h.loop.now() - killed < 10)
      assert.equal("b", where(p))
      a.start()
      p:expect("pool: a is up", 20)
      local up = h.loop.now()
      assert.equal("b", where(p))
      h.loop.eventually("a connection at the first server", 20, function() return where(p) == "a" end)
      assert.is_true(h.loop.now() - up > 1.5)
      p:expect "pool: new streams now go to a instead of b: first prefers it"
    end)
  end)

  it("detects by its own checks a silent server, and one that is a kcptun", function()
    h.run(function()
      local target = h.sockets.serve(function(conn)
        conn:send "g\n"
        conn:recv(60)
      end)
      local a, go = server "a", { name = "go" }
      go.process = h.peer.server(target.at, { impl = "kcptun", key = h.key, mode = "fast" })
      go.port = go.process.port
      local p = client({ a, go }, 'check = { every = "200ms", timeout = "400ms" }, hold = "1s"')
      p:expect("pool: a is up %(%d[%d.]* ms%)", 20)
      p:wait_for("both links to be up", 20, function() return p.stderr:find "pool: go is up" end)
      assert.equal("a", where(p))
      a.process:signal_with "sigstop"
      p:expect("pool: a is down: .*%(3 checks in a row failed%)", 20)
      assert.equal("g", where(p))
      a.process:signal_with "sigcont"
      p:expect("pool: a is up", 20)
      h.loop.eventually("a connection at the first server", 20, function() return where(p) == "a" end)
      go.process:kill()
      p:expect("pool: go is down", 20)
    end)
  end)

  --- Waits until n links have been found up.
  local function all_up(p, n, name)
    p:wait_for(n .. " links that are up", 20, function()
      return select(2, p.stderr:gsub("pool: " .. (name or "%l") .. " is up", "")) >= n
    end)
  end

  local function spread(p, n)
    local counts = {}
    for _ = 1, n do
      local at = where(p) or "nowhere"
      counts[at] = (counts[at] or 0) + 1
    end
    return counts
  end

  it("spreads conns over all links that are up, in turn", function()
    h.run(function()
      local p = client({ server "a", server "b", server "c" }, QUICK .. ', policy = "round_robin"')
      all_up(p, 3)
      assert.same({ a = 3, b = 3, c = 3 }, spread(p, 9))
    end)
  end)

  it("adds and removes links while it runs, and leaves streams where they are", function()
    h.run(function()
      local a, b, c = server "a", server "b", server "c"
      local p = client({ a, b, c }, QUICK .. ', policy = "round_robin"', [[
pool:remove(c)
pool:on("up", function(event)
  if event.name ~= "b" then return end
  kt.log.info("removing")
  kt.sleep "1s"
  kt.log.info("removed %s", pool:remove "a")
  pool:add { link = c, name = "new" }
end)]])
      all_up(p, 2)
      p:expect "removing"
      local apps = {}
      for i = 1, 2 do
        apps[i] = assert(h.sockets.connect(p.at))
        assert.matches("^[ab]\n$", apps[i]:recv_exactly(2, 20))
      end
      p:expect("removed true", 20)
      p:expect("pool: new is up", 20)
      assert.same({ b = 3, c = 3 }, spread(p, 6))
      for _, app in ipairs(apps) do
        app:send "still here"
        assert.equal("still here", app:recv_exactly(10, 20))
      end
    end)
  end)

  it("tells its handlers, in tasks, which link is down and where streams go now", function()
    h.run(function()
      local a, b = server "a", server "b"
      local p = client({ a, b }, QUICK, [[
pool:on("down", function(event) kt.sleep "10ms" kt.log.info("%s, link to %s: %s", event.name, event.link.remote, event.reason) end)
pool:on("switch", function(event) kt.log.info("%s > %s", event.from, event.to) end)
pool:on("switch", function() error "oops" end)]])
      all_up(p, 2)
      assert.equal("a", where(p))
      a.kill()
      p:expect("a, link to 127.0.0.1:" .. a.port .. ": ", 20)
      p:expect("a > b", 20)
      p:expect("task failed: s.lua:%d+: oops %(at s.lua:%d+; spawned at s.lua:%d+%)", 20) -- the line of its pool:on
      assert.equal("b", where(p))
    end)
  end)

  it("follows SRV records: links come and go at the TTL, a worse priority serves while the better one is down", function()
    h.run(function()
      local a, b, c = server "a", server "b", server "c"
      local names = { ["localhost"] = { A = { "127.0.0.1" }, ttl = 60 } }
      local function says(...)
        local records = {}
        for i, one in ipairs { ... } do records[i] = { target = "localhost", port = one.port, priority = 10 * i, weight = 1 } end
        names["_kt._udp.test"] = { SRV = records, ttl = 1 }
      end
      says(a, b)
      local ns = dns.serve(names)
      local at = h.sockets.free_port("tcp")
      local p = s.start("%s", ([[
local pool = kt.pool { discover = { name = "_kt._udp.test", servers = { "%s" }, link = { key = KEY } }, hold = 0,
  check = { every = "200ms", timeout = "400ms", fall = 2 } }
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  local stream, err = pool:open { timeout = "3s", client = conn.peer }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream)
end)]]):format(ns.at, at))
      p:wait_tcp(at)
      p.at = at
      assert.equal("a", where(p)) -- waits for the first lookup
      all_up(p, 2, "localhost:%d+")
      local app = assert(h.sockets.connect(at))
      assert.equal("a\n", app:recv_exactly(2, 20))

      says(c, b) -- the old connection stays on a link that is out of the pool
      p:expect("pool: removed localhost:" .. a.port .. ", no longer in _kt._udp.test; its streams stay open", 20)
      h.loop.eventually("a connection at the new server", 20, function() return where(p) == "c" end)
      app:send "still here"
      assert.equal("still here", app:recv_exactly(10, 20))
      app:close()

      c.kill()
      h.loop.eventually("a connection at the second-best", 20, function() return where(p) == "b" end)

      local before = ns.count "_kt._udp.test"
      h.loop.eventually("two more lookups", 20, function() return ns.count "_kt._udp.test" >= before + 2 end)
      ns.close()
      p:expect("no SRV records of _kt._udp.test: .*; keeping the current links", 20)
      assert.equal("b", where(p))
    end)
  end)

  describe("whose policy", function()
    local function one_policy(policy, more)
      return client({ server "a", server "b" }, QUICK .. ", policy = " .. policy, more)
    end

    it("raises opens on the first link, and the log says so once, with the line", function()
      h.run(function()
        local p = one_policy "function(up) return up.best.index end"
        all_up(p, 2)
        assert.same({ a = 3 }, spread(p, 3))
        local said = "warn .-s.lua:%d+: kt.pool: policy: s.lua:%d+: attempt to index a nil value %(field 'best'%)"
        local _, times = p:logged():gsub(said, "")
        assert.equal(1, times)
      end)
    end)

    it("waits opens on the first link, and the log says that it cannot wait", function()
      h.run(function()
        local p = one_policy 'function() kt.sleep "1s" return 2 end'
        all_up(p, 2)
        assert.same({ a = 3 }, spread(p, 3))
        p:expect "kt.sleep: cannot wait in a policy; it must return at once"
      end)
    end)

    it("yields opens on the first link", function()
      h.run(function()
        local p = one_policy "function() coroutine.yield() return 2 end"
        all_up(p, 2)
        assert.same({ a = 3 }, spread(p, 3))
      end)
    end)

    it("never ends costs one connection: it is stopped, and not asked again", function()
      h.run(function()
        local p = one_policy "function() while true do end end"
        all_up(p, 2)
        local neighbour = where(p) -- is the one
        assert.is_nil(neighbour)
        p:expect "stopped after 0.5 s without yielding"
        assert.same({ a = 3 }, spread(p, 3))
        p:expect "policy: stopped for running too long; not called again"
      end)
    end)
  end)

  it("keeps checking with a script's check that never ends", function()
    h.run(function()
      local a, b = server "a", server "b"
      local p = client({ a, b }, [[check = { every = "2s", timeout = "1s", fall = 1, with = function(link)
  if link.remote:find ":]] .. a.port .. [[$" then while true do end end
  return true
end }]])
      p:expect("pool: a is down: its check took longer than 1 s", 20)
      assert.equal("b", where(p))
    end)
  end)

  it("does not keep the script alive", function()
    h.run(function()
      local code, _, err = s.run("%s", [[
local near = kt.link { remote = "127.0.0.1:9", key = KEY }
local pool = kt.pool { links = { near }, check = { every = "10s", with = function() return true end } }
kt.spawn(function() kt.sleep "300ms" kt.log.info("%d", #pool:links()) end)]])
      assert.equal(0, code, err)
      assert.matches("info  s: 1\n", err)
    end)
  end)

  it("can be made in a task", function()
    h.run(function()
      local code, out, err = s.run("%s", [[
kt.spawn(function()
  local near = assert(kt.link { remote = "127.0.0.1:9", key = "k", wire = "kcptun" })
  local pool <close> = kt.pool { links = { { link = near, name = "near" } }, check = { every = "100ms", with = function() return true end } }
  kt.sleep "100ms"
  print(pool:stats().up, pool:open {})
end)]])
      assert.equal(0, code, err)
      assert.equal("1\t<stream 127.0.0.1:9>\n", out)
    end)
  end)

  it("alone does not count as something to do", function()
    h.run(function()
      local code, _, err = s.run("%s", [[
local near = kt.link { remote = "127.0.0.1:9", key = KEY }
local pool = kt.pool { links = { near } }]])
      assert.equal(1, code)
      assert.matches("the script has nothing to do", err)
    end)
  end)

  it("ends its checks at the end of a scope, and warns when a task has dropped it", function()
    h.run(function()
      local code, out, err = s.run("%s", [[
local near = kt.link { remote = "127.0.0.1:9", key = KEY }
local checks = 0
local function with() checks = checks + 1 return true end
do
  local closed <close> = kt.pool { links = { near }, check = { every = "100ms", with = with } }
end
kt.spawn(function()
  do
    local dropped = kt.pool { links = { near }, check = { every = "100ms", with = with } }
  end
  kt.sleep "1ms"
  collectgarbage()
  collectgarbage()
  kt.sleep "100ms"
  local before = checks
  kt.sleep "500ms"
  print(checks - before, near)
end)]])
      assert.equal(0, code, err)
      assert.matches("^0\t<link 127%.0%.0%.1:%d+, %l+>\n$", out)
      local _, times = err:gsub("was dropped without :close%(%); closed it", "")
      assert.equal(1, times, err)
      assert.matches("s.lua:10: kt.pool was dropped", err)
    end)
  end)

  it("keeps its memory over thousands of streams", function()
    h.run(function()
      local code, out, err = s.run("%s", [[
local near = kt.link { remote = "127.0.0.1:9", key = "k", wire = "kcptun" }
local pool = kt.pool { links = { near }, check = false, policy = function() return 1 end }
kt.spawn(function()
  local function open(n)
    for i = 1, n do
      local stream = assert(pool:open { client = "10.0.0.1:" .. i })
      stream:reset()
      if i % 100 == 0 then kt.sleep(0) end
    end
    collectgarbage()
    collectgarbage()
    return collectgarbage "count"
  end
  open(1000)
  local before = open(1000)
  print(open(5000) - before < 64)
end)]])
      assert.equal(0, code, err)
      assert.equal("true\n", out)
    end)
  end)

  describe("under kt check", function()
    local function check(text)
      local p = s.kt("check", s.write("s.lua", scripts.HEAD .. text .. "\nkt.spawn(function() end)\n"))
      p:wait_exit(20)
      return (p.stdout:gsub("(%.lua:%d+):%d+:", "%1:"):gsub("[^\n]*: hint: [^\n]*\n", "")
        :gsub("s.lua: [%dno]+ mistakes?[^\n]*\n$", "")) -- without columns and hints
    end

    it("passes when all is well", function()
      h.run(function()
        assert.equal("", check [[
local near = kt.link { remote = "a:9", key = KEY }
local pool = kt.pool { links = { near, { link = kt.link { remote = "b:9", key = KEY }, weight = 2 } }, policy = "weighted" }
pool:on("up", function() end)
kt.spawn(function() local stream = pool:open { timeout = "5s" } if stream then stream:close() end end)]])
      end)
    end)

    it("has every mistake at its line", function()
      h.run(function()
        assert.equal([[
s.lua:4: pool.links[2].wieght: unknown key; did you mean weight?
s.lua:5: pool.polcy: unknown key; did you mean policy?
s.lua:6: pool.discover.link.kcp.sndwind: unknown key; did you mean sndwnd?
s.lua:8: pool:open: not allowed in the main chunk; call it in a function passed to :serve or kt.spawn
s.lua:9: pool.opn: no such field; did you mean pool.open?
s.lua:10: pool:open.timout: unknown key; did you mean timeout?
]], check [[
local near, far = kt.link { remote = "a:9", key = KEY }, kt.link { remote = "b:9", key = KEY }
local pool = kt.pool {
  links = { near, { link = far, wieght = 2 } },
  polcy = "first",
  discover = { name = "x", link = { key = KEY, kcp = { sndwind = 9 } } },
}
pool:open()
local absent = pool.opn
kt.spawn(function() pool:open { timout = "5s" } end)]])
      end)
    end)

    it("continues after a link with a mistake of its own", function()
      h.run(function()
        assert.equal("s.lua:2: link.key: missing; expected a string, or kt.secret_file \"psk.key\"\n", check [[
local near = kt.link { remote = "a:9" }
local pool = kt.pool { links = { near, { link = near } } }
pool:add(near)]])
      end)
    end)
  end)
end)
