-- Mistakes in policies, keys and checks, and waiting where it is not allowed: each is reported in one line of the log, a default
-- replaces the answer, and a neighbour in the same process is unaffected. Other mistakes: bad_scripts_spec.
local h = require "harness"
local bad_script = require "bad_script"
local scripts = require "harness.scripts"

local STOPPED = "stopped after 0.5 s without yielding; call kt.sleep(0) in long loops"
local SERVES = "; using the first link that is up; further mistakes of this kind are not logged"

describe("beside a script whose", function()
  local s
  before_each(function() s = scripts.new() end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  -- The pool is made on line 6.
  local function pooled(settings, more)
    return "local pool = kt.pool { links = { far }, " .. settings .. " }" .. [[

bad:serve(function(conn)
  local stream = assert(pool:open { timeout = "5s", client = conn.peer })
  kt.splice(conn, stream)
end)]] .. (more or "")
  end

  --- Streams are still opened, and the log has the sentence once.
  local function served(settings, said, options)
    h.run(function()
      local w = bad_script.start(s, pooled(settings), options)
      for _ = 1, 3 do
        local conn = w.poke()
        conn:send "ping"
        assert.equal("ping", conn:recv_exactly(4, 20))
        conn:close()
        w.neighbour_continues()
      end
      w.says(said)
      assert.equal(1, w.times(said))
      assert.equal(0, w.times "task failed")
      w.finish()
    end)
  end

  describe("policy is broken: its streams are opened on the first link and a neighbour is unaffected:", function()
    for what, case in pairs {
      ["it raises"] = { "function(up) return up.best.index end", "s.lua:6: attempt to index a nil value (field 'best')" },
      ["it raises a table"] = { "function() error {} end", "it raised a table" },
      ["it raises a value whose __tostring fails"] = { "function() error(setmetatable({}, { __tostring = error })) end", "it raised a table" },
      ["it raises nil"] = { "function() error(nil) end", "it raised nil" },
      ["it allocates without end"] = { 'function() local x = "x" while true do x = x .. x end end', "not enough memory" },
      ["it returns nil"] = { "function() end", "expected an index into up (1 to 1), got nil" },
      ["it returns 0"] = { "function() return 0 end", "expected an index into up (1 to 1), got 0" },
      ["it returns an index out of range"] = { "function(up) return #up + 1 end", "expected an index into up (1 to 1), got 2" },
      ["it returns half an index"] = { "function() return 1.5 end", "expected an index into up (1 to 1), got 1.5" },
      ["it returns no number"] = { "function() return 0/0 end", "expected an index into up (1 to 1), got NaN" },
      ["it returns infinity"] = { "function() return math.huge end", "expected an index into up (1 to 1), got math.huge" },
      ["it returns a table"] = { "function(up) return up[1] end", "expected an index into up (1 to 1), got a table" },
      ["it returns a string"] = { 'function() return "1" end', 'expected an index into up (1 to 1), got "1"' },
      ["it returns a function"] = { "function() return print end", "expected an index into up (1 to 1), got a function" },
      ["it returns true"] = { "function() return true end", "expected an index into up (1 to 1), got true" },
      ["it returns a link"] = { "function() return far end", "expected an index into up (1 to 1), got a link" },
      ["it empties its argument"] = { "function(up) up[1] = nil return 1 end", "expected an index into up (1 to 1), got 1" },
      ["it waits"] = { 'function() kt.sleep "1s" return 1 end', "s.lua:6: kt.sleep: cannot wait in a policy; it must return at once" },
      ["it opens a stream"] = { "function() far:open {} return 1 end", "s.lua:6: link:open: cannot wait in a policy; it must return at once" },
      ["it yields"] = { "function() coroutine.yield() return 1 end", "attempt to yield across a C-call boundary" },
      ["it asks its own pool"] = { "function() return pool:stats() end", "s.lua:6: global 'pool' is not defined" },
    } do
      it(what, function()
        local said = case[3] and case[2] or "warn  s: s.lua:6: kt.pool: policy: " .. case[2] .. SERVES
        served("policy = " .. case[1], said, { memory = what:find "allocates" and "32MiB" })
      end)
    end

    it("it closes the link in question", function()
      h.run(function()
        local w = bad_script.start(s, [[
local other = kt.link { remote = far.remote, key = "k" }
local pool = kt.pool { links = { other }, retries = 0, policy = function() other:close() return 1 end }
bad:serve(function(conn)
  local stream, err = pool:open { timeout = "1s" }
  conn:write(tostring(err) .. "\n")
end)]])
        assert.equal("the link was closed\n", w.poke():recv(20))
        w.finish()
      end)
    end)

    it("it spawns tasks that open streams, which call it again", function()
      h.run(function()
        local w = bad_script.start(s, [[
local pool, asked = nil, 0
pool = kt.pool { links = { far }, policy = function()
  asked = asked + 1
  kt.spawn(function() assert(pool:open {}) end)
  return 1
end }
bad:serve(function(conn)
  assert(pool:open {})
  kt.sleep "300ms"
  conn:write(tostring(asked > 10) .. "\n")
end)]])
        assert.equal("true\n", w.poke():recv(20))
        w.finish()
      end)
    end)

    it("it never ends: that costs one connection, and it is not called again", function()
      h.run(function()
        local w = bad_script.start(s, pooled "policy = function() while true do end end")
        local conn = w.poke()
        w.says("task failed: s.lua:6: " .. STOPPED .. " (at s.lua:8; spawned at s.lua:7)")
        if conn then assert.is_nil((conn:recv(20))) end
        w.neighbour_continues()
        conn = w.poke()
        conn:send "ping"
        assert.equal("ping", conn:recv_exactly(4, 20))
        w.says("warn  s: s.lua:6: kt.pool: policy: stopped for running too long; not called again, using the first link that is up"
          .. "; further mistakes of this kind are not logged")
        w.finish()
      end)
    end)
  end)

  describe("key function is broken: the client's address is used and a neighbour is unaffected:", function()
    for what, case in pairs {
      ["it raises"] = { "function(request) return request.user.name end", "s.lua:6: attempt to index a nil value (field 'user')" },
      ["it returns a table"] = { "function() return {} end", "expected a string, got a table" },
      ["it returns nil"] = { "function() end", "expected a string, got nil" },
      ["it waits"] = { "function() kt.sleep(1) end", "s.lua:6: kt.sleep: cannot wait in a key function; it must return at once" },
    } do
      it(what, function()
        served('policy = "hash", key = ' .. case[1],
          "warn  s: s.lua:6: kt.pool: key: " .. case[2] .. "; using the client's address; further mistakes of this kind are not logged")
      end)
    end
  end)

  describe("check is broken: the link is still tried and a neighbour is unaffected:", function()
    for what, case in pairs {
      ["it raises"] = { "function() error 'broken' end",
        "warn  s: s.lua:6: kt.pool: check.with: s.lua:6: broken; further mistakes of this kind are not logged" },
      ["it returns a string"] = { "function() return 'yes' end",
        "warn  s: s.lua:6: kt.pool: check.with: expected true, a round-trip time in seconds, or nil and a reason, got a string"
        .. "; further mistakes of this kind are not logged" },
      ["it returns no number"] = { "function() return 0/0 end", "check.with: expected true, a round-trip time in seconds, or nil and a reason, got NaN" },
      ["it hangs"] = { "function() kt.sleep '1h' end", "warn  s: pool: far is down: its check took longer than 0.1 s" },
    } do
      it(what, function()
        served('name = "pool", check = { every = "200ms", timeout = "100ms", fall = 1, with = ' .. case[1] .. " }",
          (case[2]:gsub("far is", "127.0.0.1:<n> is")))
      end)
    end
  end)

  describe("handlers wait where they may not: a neighbour is unaffected:", function()
    local HERE = "cannot wait here, inside a function called from C (a sort or gsub callback, a __close or __gc metamethod, require); "
      .. "call it before or after"
    local IN_COROUTINE = "cannot wait in a coroutine created by the script; call it in the task itself or use kt.spawn"
    for what, case in pairs {
      ["in a message handler"] = { "error((select(2, xpcall(error, function() return select(2, pcall(kt.sleep, 1)) end))), 0)",
        "task failed: s.lua:7: kt.sleep: " .. HERE },
      ["in a message handler that fails because of it"] = { "error((select(2, xpcall(error, function() kt.sleep(1) end))))", "error in error handling" },
      ["in a comparator"] = { "table.sort({ 2, 1 }, function() far:open {} end)", "task failed: s.lua:7: link:open: " .. HERE },
      ["in a coroutine of its own"] = { "coroutine.wrap(function() conn:read(1) end)()", "task failed: s.lua:7: s.lua:7: conn:read: " .. IN_COROUTINE },
      ["by yielding"] = { "coroutine.yield(1)", "task failed: coroutine.yield in a task: nothing resumes it; call kt.sleep(0) to let other tasks run" },
      ["in a finalizer"] = { "setmetatable({}, { __gc = function() kt.sleep(1) end }) collectgarbage()",
        "warn  s: error in __gc (s.lua:7: kt.sleep: " .. IN_COROUTINE },
      ["in a finalizer, by yielding"] = { "setmetatable({}, { __gc = function() coroutine.yield() end }) collectgarbage()",
        "warn  s: error in __gc (attempt to yield in a __gc)" },
    } do
      it(what, function() bad_script.misbehaves(s, "bad:serve(function(conn)\n  " .. case[1] .. "\nend)", case[2]) end)
    end
  end)

  it("main chunk waits gets an error before anything is opened", function()
    h.run(function()
      for call, name in pairs { ["kt.sleep(1)"] = "kt.sleep", ['kt.connect { to = "127.0.0.1:9" }'] = "kt.connect" } do
        local code, out, err = s.run('kt.listen { on = "127.0.0.1:0" }:serve(print)\n' .. call)
        assert.same({ 1, "", ("kt: s.lua:3: %s: not allowed in the main chunk; call it in a function passed to :serve or "
          .. "kt.spawn\n  run kt check to list all mistakes\n")
          :format(name) }, { code, out, err })
      end
    end)
  end)
end)
