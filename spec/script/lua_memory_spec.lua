-- Running out of memory at every allocation that a script causes: kt reports the failure and continues, or
-- ends; it never crashes and leaks nothing. In process (spec_script), so that an allocator can be told to fail.
local uv = require "luv"
local script = require "spec_script"

local light = os.getenv("KT_SPEC_LIGHT") == "1"

-- One of everything: declarations, tasks, conns both ways, streams, splices, errors, finalizers, coroutines, a failing task.
local TUNNEL = [[
local kt = require "kt"
local key = kt.secret "correct horse"
local far = kt.link { remote = "127.0.0.1:$udp", key = key, wire = "kcptun", mode = "fast3" }
kt.accept { on = "127.0.0.1:$udp", key = key, wire = "kcptun" }:serve(function(stream)
  local conn, err = kt.connect { to = "unix:$far", timeout = "2s" }
  if not conn then return stream:reset(err) end
  kt.splice(stream, conn)
end)
kt.listen { on = "unix:$near" }:serve(function(conn)
  local stream, err = far:open { timeout = "2s", client = conn.peer }
  if not stream then return conn:reset(err) end
  local sum = kt.splice(conn, stream, { idle = "5s", linger = "1s" })
  if sum then kt.log.debug("%d %s", sum.a_to_b, sum.reason) end
end)
kt.listen { on = "unix:$far" }:serve(function(conn)
  kt.log.info("reached by %s", conn)
  conn:close()
end)
kt.spawn(function()
  local conn <close>, err = kt.connect { to = "unix:$near" }
  local gone <close> = setmetatable({}, { __gc = function() end, __close = function() end })
  print(conn, err, err and err.code, far:stats().sessions, key)
  for word in coroutine.wrap(function() coroutine.yield "a" end) do print(word) end
  print(xpcall(error, function(m) return m .. "!" end, "caught"), pcall(kt.splice, conn, 5))
  print(select(2, kt.connect { to = "nowhere" }), pcall(kt.sleep, "soon"))
  kt.spawn(function(c) print(c) error("oh " .. tostring(c)) end, conn)
  kt.sleep "60ms"
end)
]]

describe("when memory is short,", function()
  local dir

  setup(function()
    local pipe = assert(io.popen("mktemp -d"))
    dir = pipe:read("l")
    pipe:close()
  end)

  teardown(function() os.execute("rm -r " .. dir) end)

  local function write(text, names)
    local file = assert(io.open(dir .. "/s.lua", "w"))
    file:write((text:gsub("%$(%w+)", names or {})))
    file:close()
    return dir .. "/s.lua"
  end

  local function sound(result, what)
    assert.equal(0, result.bytes, what .. ": bytes left")
    assert(result.code == 0 or result.code == 1, what .. ": exit code " .. result.code)
    if result.code == 1 then assert(result.said ~= "", what .. ": failed without a word") end
  end

  local SIMPLE = [[
local kt = require "kt"
local function f(n) if n == 0 then error "deep" end return f(n - 1) + 1 end
kt.spawn(function()
  setmetatable({}, { __gc = function() print "gone" end })
  print(pcall(f, 5))
  print(xpcall(f, function(m) return m .. "!" end, 5))
  local co = coroutine.wrap(function(a) local x <close> = kt.secret "s" coroutine.yield(a) end)
  print(pcall(co, 1), pcall(co))
  print(pcall(kt.connect, { too = 1 }), select(2, kt.connect { to = "nowhere" }))
  for i = 1, 20 do kt.spawn(function() kt.sleep(0) if i == 7 then error { i } end end) end
  print(load "return 1 + 1" (), ("x"):rep(3), tostring(kt.secret "y"), pcall(error, setmetatable({}, { __tostring = f })))
  collectgarbage()
  kt.sleep "1ms"
end)
kt.spawn(function() kt.sleep "2ms" coroutine.yield() end)]]

  for first, way in ipairs { { 0, "all that follow fail" }, { 2, "one fails for good" }, { 7, "a few fail" } } do
    it("at any allocation of a script, and " .. way[2] .. ", kt neither crashes nor leaks", function()
      local file = write(SIMPLE)
      local whole = script.run { file = file, seconds = 20 }
      sound(whole, "enough memory")
      assert.matches("gone", whole.said)
      local step = light and 37 or 7
      for n = first, whole.allocations + 1, step do
        sound(script.run { file = file, fail_at = n, fail_for = way[1], seconds = 20 }, "allocation " .. n)
      end
    end)
  end

  local function free_udp_port()
    local socket = uv.new_udp()
    assert(socket:bind("127.0.0.1", 0))
    local port = socket:getsockname().port
    socket:close()
    uv.run "nowait"
    return port
  end

  for _, way in ipairs { { 0, "all that follow fail" }, { 4, "a few fail" } } do
    it("at any allocation of a tunnel, and " .. way[2] .. ", kt neither crashes nor leaks", function()
      local file = write(TUNNEL, { udp = free_udp_port(), near = dir .. "/near", far = dir .. "/far" })
      local whole = script.run { file = file, until_ms = 120 }
      sound(whole, "enough memory")
      assert.matches("reached by <conn", whole.said)
      assert.matches("task failed: [^\n]*oh <conn", whole.said)
      local runs = light and 40 or 160
      for n = 1, whole.allocations + 1, whole.allocations // runs do
        sound(script.run { file = file, fail_at = n, fail_for = way[1], until_ms = 60 }, "allocation " .. n)
      end
    end)
  end

  it("a limit too small to start with is reported", function()
    local r = script.run { file = write(SIMPLE), memory = 20000, seconds = 20 }
    assert.same({ 1, "out of memory: the memory limit is too low for a script to start" }, { r.code, r.said })
  end)

  it("under any limit between nothing and enough, kt neither crashes nor leaks", function()
    local file = write(SIMPLE)
    for limit = 1000, 700000, light and 31000 or 3100 do
      sound(script.run { file = file, memory = limit, seconds = 20 }, "limit " .. limit)
    end
  end)

  it("a main chunk that allocates too much gets an error with the limit", function()
    local r = script.run { file = write 'local t = {} for i = 1, 1e9 do t[i] = "x" .. i end', memory = 2 << 20, seconds = 20 }
    assert.equal(1, r.code)
    assert.matches("^not enough memory: the script holds %d%.%d of 2%.0 MiB; kt run %-%-memory sets the limit$", r.said)
  end)
end)
