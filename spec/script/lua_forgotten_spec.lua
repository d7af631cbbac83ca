-- Objects without a handle in the script: a link lives as long as anything uses it, an object of the main chunk as long as the
-- script; only idle objects are collected, and only those made and forgotten by a task are worth a warning.
local h = require "harness"
local scripts = require "harness.scripts"

-- The far end echoes; `collect` runs a full garbage collection.
local HEAD = [[
local function collect() for _ = 1, 4 do collectgarbage() kt.sleep "5ms" end end
local function echo(stream) repeat local data = stream:read() until not (data and stream:write(data)) end
]]
local DROPPED = "was dropped without :close%(%)"

describe("when the script has forgotten", function()
  local s, port
  before_each(function()
    s, port = scripts.new(), h.sockets.free_port "udp"
  end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  --- The text with {names} filled in; the addresses are `near`, `tool` and `far`.
  local function fill(text, names)
    return HEAD .. text:gsub("{(%w+)}", names)
  end

  --- Runs a script that holds both ends and ends by itself; returns what it printed and its log.
  local function run(text)
    local code, out, err
    h.run(function()
      code, out, err = s.run("%s", fill([[
local acceptor = kt.accept { on = "127.0.0.1:{far}", key = KEY }
acceptor:serve(echo)
]] .. text, { far = port }))
    end)
    assert.equal(0, code, err)
    return out, err
  end

  describe("a link,", function()
    it("its streams in other tasks continue, without a log line", function()
      local out, err = run [[
local function use(stream)
  for i = 1, 3 do
    collect()
    print(stream:write "x", stream:read(1))
  end
  acceptor:close()
end
do
  local link = kt.link { remote = "127.0.0.1:{far}", key = KEY }
  kt.spawn(function() kt.spawn(use, assert(link:open())) end)
end]]
      assert.equal(("1\tx\n"):rep(3), out)
      assert.falsy(err:find(DROPPED))
    end)

    it("made by a task, it carries its stream to the end and is then collected, with a warning", function()
      h.run(function()
        local p = s.start("%s", fill([[
kt.accept { on = "127.0.0.1:{far}", key = KEY }:serve(echo)
local function use(stream)
  for i = 1, 3 do
    collect()
    print(stream:write "x", stream:read(1))
  end
  stream:close()
  while true do collect() end
end
kt.spawn(function() kt.spawn(use, assert(kt.link { remote = "127.0.0.1:{far}", key = KEY }:open())) end)]], { far = port }))
        p:expect("1\tx\n1\tx\n1\tx\n", 20)
        p:expect("kt.link to 127.0.0.1:%d+, declared at s.lua:%d+, " .. DROPPED .. "; closed it", 20)
        p:stop()
      end)
    end)

    it("data written to its stream arrives, although the stream was closed and forgotten too", function()
      local size = h.light and 300000 or 3000000
      local out = run(([[
acceptor:close()
local got = 0
kt.spawn(function()
  local sink = kt.accept { on = "127.0.0.1:{far}", key = KEY }
  sink:serve(function(stream)
    local data
    repeat
      data = stream:read()
      got = got + #(data or "")
    until not data
    print(got)
    sink:close()
  end)
  do
    local stream = assert(kt.link { remote = "127.0.0.1:{far}", key = KEY }:open())
    assert(stream:write(("x"):rep(SIZE)))
    stream:close()
  end
  for _ = 1, 1000 do
    if got == SIZE then return end
    collect()
  end
end)]]):gsub("SIZE", size))
      assert.equal(size .. "\n", out)
    end)

    it("a pending open succeeds", function()
      local out, err = run [[
acceptor:close()
kt.spawn(function()
  local settings = { remote = "127.0.0.1:{far}", key = KEY, tuncrypt = true } -- waits until the far end has said hello
  local stream = assert(kt.link(settings):open { timeout = "20s" })
  print(stream:write "x", stream:read(1))
end)
kt.spawn(function()
  for _ = 1, 10 do collect() end
  local late = kt.accept { on = "127.0.0.1:{far}", key = KEY, tuncrypt = true }
  late:serve(function(stream)
    echo(stream)
    late:close()
  end)
end)]]
      assert.equal("1\tx\n", out, err)
    end)

    it("the main chunk's stays, although it is idle", function()
      local _, err = run [[
kt.link { remote = "127.0.0.1:{far}", key = KEY }
kt.spawn(function()
  collect()
  acceptor:close()
end)]]
      assert.falsy(err:find(DROPPED))
    end)

    it("by the thousand, all are collected, and descriptors do not run out", function()
      h.run(function()
        local n = h.light and 100 or 600
        local far = s.kt("run", s.write("far.lua", scripts.HEAD .. fill([[
kt.accept { on = "127.0.0.1:{far}", key = KEY }:serve(echo)]], { far = port }))):wait_udp(port)
        local p = s.limited(400, "run", s.write("s.lua", scripts.HEAD .. fill([[
kt.spawn(function()
  for _ = 1, {n} do
    local stream = assert(kt.link { remote = "127.0.0.1:{far}", key = KEY }:open { timeout = "10s" })
    assert(stream:write "x" and stream:read(1) == "x")
    stream:close()
  end
  print "made"
  while true do collect() end
end)]], { far = port, n = n })))
        p:expect("made", 60)
        h.loop.eventually("all sessions to have ended", 20, function() return p:counters().CurrEstab == 0 end)
        p:stop()
        far:stop()
      end)
    end)
  end)

  it("an acceptor that a task made for its peers' links, streams that it opened there continue", function()
    h.run(function()
      local p = s.start("%s", fill([[
local function meet(link)
  local stream = assert(link:open())
  for i = 1, 3 do
    collect()
    print(stream:write "x", stream:read(1))
  end
end
kt.spawn(function() kt.accept { on = "127.0.0.1:{far}", key = KEY }:on("link", meet) end)
kt.spawn(function()
  collect()
  kt.link { remote = "127.0.0.1:{far}", key = KEY }:serve(echo)
end)]], { far = port }))
      p:expect("1\tx\n1\tx\n1\tx\n", 20)
      assert.falsy(p:logged():find(DROPPED))
      p:stop()
    end)
  end)

  it("a pool of the main chunk, it keeps checking", function()
    h.run(function()
      local p = s.start("%s", fill([[
kt.pool {
  links = { kt.link { remote = "127.0.0.1:{far}", key = KEY } },
  check = { every = "50ms", timeout = "5s", rise = 1 },
}:on("up", function() print "up" end)
kt.spawn(function()
  for _ = 1, 5 do collect() end
  kt.accept { on = "127.0.0.1:{far}", key = KEY }:serve(echo)
  while true do kt.sleep "1s" end
end)]], { far = port }))
      p:expect("up\n", 20)
      assert.falsy(p:logged():find(DROPPED))
      p:stop()
    end)
  end)

  describe("by a reload,", function()
    -- Conns are spliced by a task that knows the stream alone; the tool has the old script collect at every byte that it echoes.
    local SCRIPT = [[
local far = kt.link { remote = "127.0.0.1:{far}", key = KEY }
local function pass(conn, stream) kt.splice(conn, stream) end
kt.listen { on = "127.0.0.1:{near}" }:serve(function(conn) kt.spawn(pass, conn, assert(far:open())) end)
kt.listen { on = "127.0.0.1:{tool}" }:serve(function(conn)
  while conn:read(1, { timeout = "60s" }) do
    collect()
    conn:write "!"
  end
end)]]
    local POOL = [[
local pool = kt.pool { links = { kt.link { remote = "127.0.0.1:{far}", key = KEY } }, check = { every = "50ms" } }
local function pass(conn, stream) kt.splice(conn, stream) end
kt.listen { on = "127.0.0.1:{near}" }:serve(function(conn) kt.spawn(pass, conn, assert(pool:open())) end)
]]
    local names

    local function start(text)
      names = { far = port, near = h.sockets.free_port "tcp", tool = h.sockets.free_port "tcp" }
      s.kt("run", s.write("far.lua", scripts.HEAD .. fill([[
kt.accept { on = "127.0.0.1:{far}", key = KEY }:serve(echo)]], names))):wait_udp(port)
      return s.start("%s", fill(text, names)):wait_tcp(names.near):wait_tcp(names.tool)
    end

    local function echoes(conn, text)
      assert(conn:send(text))
      local back, err = conn:recv_exactly(#text, 10)
      assert.equal(text, back, err)
    end

    local function collect(tool)
      assert(tool:send "?")
      assert.equal("!", tool:recv_exactly(1, 20))
    end

    local function reload(p)
      p:mark()
      p:signal_with "sighup"
      p:expect "reloaded s.lua: 2 addresses kept"
    end

    it("the link of a conn that is spliced carries it on, reload after reload", function()
      h.run(function()
        local p = start(SCRIPT)
        local conns = {}
        for i = 1, 3 do
          local conn, tool = assert(h.sockets.connect(names.near)), assert(h.sockets.connect(names.tool))
          echoes(conn, "before")
          conns[i] = { conn, tool }
          reload(p)
          for _, pair in ipairs(conns) do
            collect(pair[2])
            echoes(pair[1], "after")
          end
        end
        for _, pair in ipairs(conns) do
          pair[1]:shutdown()
          assert.equal("", pair[1]:recv_all(10))
          pair[2]:close()
        end
        assert.falsy(p:logged():find(DROPPED))
        p:stop()
      end)
    end)

    it("an idle link is closed without a log line, while other conns of the old script continue", function()
      h.run(function()
        local p = start(SCRIPT)
        local conn, tool = assert(h.sockets.connect(names.near)), assert(h.sockets.connect(names.tool))
        echoes(conn, "before")
        echoes(tool, "!")
        reload(p)
        assert.equal(1, p:counters().CurrEstab)
        conn:shutdown()
        assert.equal("", conn:recv_all(10))
        h.loop.eventually("the old link to be closed", 20, function()
          collect(tool)
          return p:counters().CurrEstab == 0
        end)
        assert.falsy(p:logged():find(DROPPED))
        tool:close()
        p:stop()
      end)
    end)

    it("a pool ends its checks without a log line, and the streams on its links continue", function()
      h.run(function()
        local p = start(POOL .. SCRIPT:match "kt.listen { on = \"127.0.0.1:{tool}.*")
        local conn, tool = assert(h.sockets.connect(names.near)), assert(h.sockets.connect(names.tool))
        echoes(conn, "before")
        echoes(tool, "!")
        reload(p)
        for _ = 1, 5 do
          collect(tool)
          echoes(conn, "after")
        end
        conn:shutdown()
        assert.equal("", conn:recv_all(10))
        h.loop.eventually("one link to be left, the new script's", 20, function()
          collect(tool)
          return p:counters().CurrEstab == 1
        end)
        assert.falsy(p:logged():find(DROPPED))
        tool:close()
        p:stop()
      end)
    end)
  end)
end)
