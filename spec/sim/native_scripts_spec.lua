-- Scripts over kt's own wire, in virtual time: reloads, events, pools, many streams, and an attacker without the key.
local attacker = require "attacker"
local sim = require "kt.sim"

local KEY = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4="

local PRELUDE = [[
local kt = require "kt"
local function to(host, more)
  local o = { remote = host .. ":29900", wire = "kt", key = "%s", max_streams = 20000, max_buffered = "512MiB" }
  for k, v in pairs(more or {}) do o[k] = v end
  return kt.link(o)
end
local function carry(on, from)
  kt.listen { on = on }:serve(function(conn)
    local stream, err = from:open { timeout = "5s" }
    if not stream then return conn:reset(err) end
    kt.splice(conn, stream)
  end)
end
]]

local FAR = [[
local acceptor = kt.accept { on = ":29900", wire = "kt", key = "%s", max_streams = 20000, max_buffered = "512MiB"%s }
acceptor:serve(function(stream)
  local conn, err = kt.connect { to = "127.0.0.1:9" }
  if not conn then return stream:reset(err) end
  kt.splice(stream, conn)
end)
]]

--- A client with this script, and servers that lead to an echo.
local function world(script, servers, line)
  local w = sim.world { seed = 5 }
  local t = { w = w, near = w:host "near", fars = {}, lines = {} }
  for _, name in ipairs(servers or { "far" }) do
    local far = w:host(name)
    t.fars[name] = far
    t.lines[name] = w:link("near", name, line or { delay = "20ms" })
    far:serve { on = "127.0.0.1:9", kind = "echo" }
    far:file("far.lua", 'local kt = require "kt"\n' .. FAR:format(KEY, ""))
    far:run "far.lua"
  end
  t.near:file("near.lua", PRELUDE:format(KEY) .. script)
  t.script = t.near:run "near.lua"
  t.far, t.line = t.fars.far, t.lines.far
  return t
end

local function gone(script) return function() return script:stats().replaced == 0 end end

describe("a script over kt's own wire", function()
  it("keeps an open stream through reloads of either end's script, and gets a link of its own", function()
    local t = world 'carry("127.0.0.1:1", to "far")'
    local app = t.near:connect "127.0.0.1:1"
    app:echo "before"
    for _, h in ipairs { t.near, t.far } do
      h.scripts[1]:signal "HUP"
      t.w:run_for "500ms"
      app:echo "after a reload"
      t.near:connect("127.0.0.1:1"):echo "new"
    end
    app:close()
    t.w:run_until(gone(t.script), { timeout = "60s" })
  end)

  it("is replaced after its last stream also if its pool checks a link more often than once in a round trip", function()
    local t = world([[
      local pool = kt.pool { links = { to "far" }, check = { every = "100ms", timeout = "2s" } }
      carry("127.0.0.1:1", pool)]], nil, { delay = "200ms" })
    local app = t.near:connect "127.0.0.1:1"
    app:echo "before"
    t.script:signal "HUP"
    t.w:run_for "2s"
    app:echo "after"
    app:close()
    t.w:run_until(gone(t.script), { timeout = "10s" })
  end)

  it("keeps an open stream when the server's key changes, until that ends", function()
    local t = world 'carry("127.0.0.1:1", to "far")'
    local app = t.near:connect "127.0.0.1:1"
    app:echo "before"
    t.far:file("far.lua", 'local kt = require "kt"\n' .. FAR:format("YW5vdGhlciBrZXkgaXMgYWxzbyAzMiBieXRlcyBsb24=", ""))
    t.far.scripts[1]:signal "HUP"
    t.w:run_for "1s"
    app:echo "after it"
    app:close()
    t.w:run_for "5s"
    assert.equal(0, t.far.scripts[1]:stats().counters.CurrEstab)
    assert.equal(0, t.script:stats().counters.CurrEstab)
  end)

  it("closes a link whose streams hold unread bytes", function()
    local t = world [[
      local link = to "far"
      kt.spawn(function()
        local stream = link:open()
        stream:write(("x"):rep(50000))
        kt.sleep "1s"
        link:close()
        kt.sleep "1s"
        local n = 0
        while true do
          local data, err = stream:read()
          if not data then print(n, err.code) break end
          n = n + #data
        end
      end)]]
    t.w:run_for "5s"
    assert.matches("50000%s+closed", t.script:output())
  end)

  it("hears that a link goes down in an outage, comes up after it, and carries something", function()
    local t = world [[
      local link = to("far", { stay = true })
      for _, event in ipairs { "up", "down" } do link:on(event, function() print(event) end) end
      carry("127.0.0.1:1", link)]]
    local app = t.near:connect "127.0.0.1:1"
    app:echo "before"
    t.line:cut()
    app:write "x"
    t.w:run_for "6s"
    t.line:heal()
    t.w:run_for "3s"
    assert.equal("x", app:read(1))
    assert.matches("up%s+down%s+up%s*$", t.script:output())
  end)

  it("sends at the rate that it sets, and at another as soon as it sets that", function()
    local t = world [[
      local link = to("far", { rate = "1MB" })
      kt.spawn(function()
        local stream = link:open()
        kt.spawn(function() kt.sleep "2s" link:set { rate = "40kB" } end)
        while stream:write(("x"):rep(10000), { timeout = "1h" }) do end
      end)]]
    local bytes = 0
    t.w:rule { from = "near", to = "far", fn = function(packet) bytes = bytes + packet.size end }
    for _, rate in ipairs { 1000000, 40000 } do
      bytes = 0
      t.w:run_for "2s"
      local most = 2 * rate * 1.03 + 64 * 1500 -- headers of IP, and a burst
      assert.is_true(bytes > 0.9 * 2 * rate and bytes < most, ("%d bytes at %d a second"):format(bytes, rate))
    end
  end)

  it("measures the path's own round trip with link:probe beside bulk data", function()
    local t = world([[
      local link = to "far"
      carry("127.0.0.1:1", link)
      kt.spawn(function()
        kt.sleep "3s"
        print(link:probe { timeout = "1s" })
      end)]], nil, { delay = "20ms", rate = "20Mbit", queue = { time = "20ms" } })
    local app = t.near:connect "127.0.0.1:1"
    t.w:task(function() app:write(("x"):rep(20000000), { timeout = "1h" }) end)
    t.w:task(function() while app:read(1 << 16, { timeout = "1h" }) do end end)
    t.w:run_for "5s"
    local rtt = tonumber(t.script:output():match "^[%d.e-]+")
    assert.is_true(rtt >= 0.04 and rtt < 0.13, t.script:output())
  end)

  it("moves to another link of a pool in an outage, and back", function()
    local t = world([[
      local pool = kt.pool { links = { to "a", to "b" }, policy = "first", hold = "1s" }
      carry("127.0.0.1:1", pool)]], { "a", "b" })
    t.w:run_for "2s"
    local function by(name)
      local before = t.fars[name].scripts[1]:stats().counters.StreamsAccepted
      t.near:connect("127.0.0.1:1"):echo("x", { timeout = "10s" })
      return t.fars[name].scripts[1]:stats().counters.StreamsAccepted - before
    end
    assert.equal(1, by "a")
    t.lines.a:cut()
    t.w:run_for "15s"
    assert.equal(1, by "b")
    t.lines.a:heal()
    t.w:run_for "15s"
    assert.equal(1, by "a")
  end)

  it("has 10,000 idle streams at no cost but a keepalive", function()
    local t = world [[
      local link = to "far"
      kt.spawn(function()
        local all = {}
        for i = 1, 10000 do
          all[i] = assert(link:open { timeout = "30s" })
          all[i]:write "x"
        end
        kt.sleep "1h"
        for i = 1, 10000 do all[i]:close() end
      end)]]
    t.w:run_for "30s"
    local far = t.far.scripts[1]
    assert.equal(10000, far:stats().counters.StreamsNow)
    local before = far:stats().counters.InPkts
    t.w:run_for "10m"
    assert.is_true(far:stats().counters.InPkts - before <= 2 * 30 + 2)
    t.w:run_for "51m"
    assert.equal(0, far:stats().counters.StreamsNow)
  end)
end)

describe("an acceptor of kt's own wire", function()
  it("answers nothing to 100,000 datagrams that are random, replayed, damaged or cut, and keeps nothing of them", function()
    local t = world 'carry("127.0.0.1:1", to "far")'
    local a = attacker.new(t.w)
    a:near "far"
    local watched = a:watch("near", "far")
    local app = t.near:connect "127.0.0.1:1"
    for _ = 1, 50 do app:echo(("x"):rep(500)) end
    t.w:run_for "5s"
    local recorded = table.move(watched, 1, #watched, 1, {}) -- all have arrived
    local far = t.far.scripts[1]
    local counters = far:stats().counters
    for n = 1, 100000 do
      local d = recorded[n % #recorded + 1]
      local data, how = d.data, n % 4
      if how == 1 then
        local at = t.w:random(#data)
        data = data:sub(1, at - 1) .. string.char(data:byte(at) ~ (1 << t.w:random(0, 7))) .. data:sub(at + 1)
      elseif how == 2 then
        data = data:sub(1, t.w:random(#data))
      elseif how == 3 then
        data = (string.pack("<i4", t.w:random(0, 1 << 30))):rep(t.w:random(1, 60))
      end
      a:send({ data = data, to = d.to, from = d.from }, n % 3 == 0 and d.from or 4000 + n % 100)
      if n % 500 == 0 then t.w:run_for "10ms" end
    end
    t.w:run_for "1s"
    local after = far:stats().counters
    assert.same({ 0, counters.PassiveOpens, counters.CurrEstab, counters.OutPkts },
      { a:received(), after.PassiveOpens, after.CurrEstab, after.OutPkts })
    app:echo "still here"
  end)
end)

it("a task derives the key that kt makes of a passphrase, as docs/scripts.md says", function()
  local w = sim.world { seed = 5 }
  local near, far = w:host "near", w:host "far"
  w:link("near", "far", { delay = "20ms" })
  far:file("far.lua", [[require "kt".accept { on = ":29900", wire = "kt", key = "a phrase" }:serve(function(s) s:write "hello" s:close() end)]])
  far:run "far.lua"
  near:file("near.lua", [[
    local kt = require "kt"
    kt.spawn(function()
      local derived = assert(kt.crypto.argon2id("a phrase", "kt wire 1 phrase"))
      local link = kt.link { remote = "far:29900", wire = "kt", key = kt.crypto.base64_encode(derived) }
      print(assert(link:open { timeout = "5s" }):read())
    end)]])
  local script = near:run "near.lua"
  w:run_until(function() return script:output() == "hello\n" end, { timeout = "5s" })
end)

describe("opening streams on kt's wire faster than they end", function()
  --- A link's near end, and far, which hands what each stream brings to its script.
  local function ends(near, far)
    local w = sim.world { seed = 5 }
    local hosts = { near = w:host "near", far = w:host "far" }
    w:link("near", "far", { delay = "20ms" })
    hosts.far:file("far.lua", 'local kt = require "kt"\n' .. far:format(KEY))
    hosts.near:file("near.lua", PRELUDE:format(KEY) .. near)
    return w, { far = hosts.far:run "far.lua", near = hosts.near:run "near.lua" }
  end

  it("waits, at either end, while it has as many streams as max_streams, and delivers what was written and closed", function()
    local OPENS = [[
      local function storm(link)
        for _ = 1, 50 do
          kt.spawn(function()
            for _ = 1, 20 do
              local s = assert(link:open { timeout = "1m" })
              s:write "x"
              s:close()
            end
          end)
        end
      end
      local got = 0
      local function count(s)
        s:read()
        s:close()
        got = got + 1
        if got == 1000 then print "all" end
      end
    ]]
    local w, scripts = ends(OPENS .. [[
      local l = to("far", { max_streams = 30 })
      l:serve(count)
      storm(l)]], OPENS .. [[
      local a = kt.accept { on = ":29900", wire = "kt", key = "%s", max_streams = 20 }
      a:on("link", storm)
      a:serve(count)]])
    local most = { near = 0, far = 0 }
    w:run_until(function()
      for name, s in pairs(scripts) do most[name] = math.max(most[name], s:stats().counters.StreamsNow) end
      return scripts.near:output() == "all\n" and scripts.far:output() == "all\n"
    end, { timeout = "20s" })
    assert.is_true(most.near > 25 and most.near <= 50 and most.far > 25 and most.far <= 50, most.near .. ", " .. most.far)
  end)

  it("waits while the peer allows no more and 64 others wait, times out with a reason, and continues when one ends", function()
    local w, scripts = ends([[
      local l = to "far"
      kt.spawn(function()
        for _ = 1, 66 do assert(l:open()):write "x" end
        local before = kt.now()
        local s, err = l:open { timeout = "5s" }
        print(s, err.code, err, math.floor(kt.now() - before))
        assert(l:probe { timeout = "1s" })
        assert(l:open { timeout = "1m" }):write "last"
        print "opened"
      end)]], [[
      kt.accept { on = ":29900", wire = "kt", key = "%s", max_streams = 2 }:serve(function(s)
        kt.sleep "10s"
        s:reset()
      end)]])
    w:run_for "9s"
    assert.equal("nil\tlimit\tlink:open: the link has as many streams open as it or its peer allows (max_streams, max_buffered)\t5\n",
      scripts.near:output())
    w:run_for "2s"
    assert.matches("opened\n$", scripts.near:output())
  end)
end)

describe("an acceptor of kt's own wire that has max_sessions links", function()
  it("gives a new one the place of the one that is silent for longest, once that is 30 s, and never of one that answers", function()
    local w = sim.world { seed = 5 }
    local far, lines, opened = w:host "far", {}, {}
    local function client(name)
      local h = w:host(name)
      lines[name] = w:link(name, "far", { delay = "20ms" })
      h:file("near.lua", PRELUDE:format(KEY) .. [[
        local l = to("far", { keepalive = "0s" })
        kt.spawn(function()
          local s, err
          repeat
            s, err = l:open()
            if not s then kt.sleep "1s" end
          until s
          while s:write "x" and s:read() do kt.sleep "100s" end
          print("ended", err)
        end)]])
      opened[name] = h:run "near.lua"
    end
    far:file("far.lua", ([[
      local kt = require "kt"
      kt.accept { on = ":29900", wire = "kt", key = "%s", max_sessions = 3 }:serve(function(s)
        while true do
          local d = s:read { timeout = "1h" }
          if not d then return end
          s:write(d)
        end
      end)]]):format(KEY))
    far = far:run "far.lua"
    local function counts()
      local c = far:stats().counters
      return { c.PassiveOpens, c.CurrEstab, c.SessionsDisplaced }
    end
    for i, name in ipairs { "first", "quiet", "third" } do
      client(name)
      w:run_for(i == 2 and "5s" or "1s")
    end
    lines.first:cut()
    lines.third:cut()
    client "fourth"
    w:run_for "22s"
    assert.same({ 3, 3, 0 }, counts())
    w:run_for "10s"
    assert.same({ 4, 3, 1 }, counts())
    client "fifth"
    w:run_for "10s"
    assert.same({ 5, 3, 2 }, counts())
    client "sixth" -- all others answer, though they have nothing to say for 100 s
    w:run_for "90s"
    assert.same({ 5, 3, 2 }, counts())
    assert.equal("", opened.quiet:output() .. opened.fourth:output() .. opened.fifth:output())
    local _, told = far:log():gsub("a new one replaces the link", "")
    assert.equal(1, told)
  end)

  it("gives it at once the place of one that has missed its keepalives for a minute, though it owes nothing", function()
    local w = sim.world { seed = 5 }
    local far, hosts = w:host "far", {}
    local function client(name)
      local h = w:host(name)
      hosts[name] = h
      w:link(name, "far", { delay = "20ms" })
      h:file("near.lua", PRELUDE:format(KEY) .. [[
        local l = to "far"
        kt.spawn(function()
          local s, err = l:open()
          print(s and s:write "x" and s:read(), err)
          if s then print(s:read { timeout = "1h" }) end
        end)]])
      return h:run "near.lua"
    end
    far:file("far.lua", ([[
      local kt = require "kt"
      kt.accept { on = ":29900", wire = "kt", key = "%s", max_sessions = 3 }:serve(function(s)
        s:write(s:read())
        s:read { timeout = "1h" }
      end)]]):format(KEY))
    far = far:run "far.lua"
    local alive = client "alive"
    client "first"
    client "second"
    w:run_for "1s"
    hosts.first:crash()
    hosts.second:crash()
    w:run_for "80s"
    local late = client "late"
    w:run_for "1s"
    assert.equal("x\tnil\n", late:output())
    assert.equal("x\tnil\n", alive:output())
    assert.equal(1, far:stats().counters.SessionsDisplaced)
  end)
end)
