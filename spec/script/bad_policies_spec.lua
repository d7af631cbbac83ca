-- Mistakes in policies, keys and checks, and waiting where it is not allowed: each is reported in one line of the log, a default
-- replaces the answer, and a neighbour in the same process is unaffected. Other mistakes: bad_scripts_spec.
local h = require "harness"
local bad_script = require "bad_script"
local scripts = require "harness.scripts"

local STOPPED = "stopped after 0.5 s without yielding; call kt.sleep(0) in long loops"
local SERVES = "; using the first link that is up; further mistakes of this kind are not logged"

describe("beside a script whose", function()
  local s = scripts.each(before_each, after_each)

  --- A pool for each case { what is broken, its settings, what the log says of it }, on lines 7, 8 and so on: <line> stands for its own.
  --- Streams of each are still opened, and the log has the sentence once.
  local function served(cases, options)
    local text = { "local pools = {}" }
    for i, case in ipairs(cases) do text[#text + 1] = ("pools[%d] = kt.pool { links = { far }, %s }"):format(i, case[2]) end
    text[#text + 1] = [[
bad:serve(function(conn)
  local pool = pools[tonumber(conn:read_exactly(2))]
  kt.splice(conn, assert(pool:open { timeout = "5s", client = conn.peer }))
end)]]
    h.run(function()
      local w = bad_script.start(s, table.concat(text, "\n"), options)
      for i, case in ipairs(cases) do
        for _ = 1, 3 do
          local conn = w.poke()
          conn:send(("%02dping"):format(i))
          assert.equal("ping", conn:recv_exactly(4, 20), case[1])
          conn:close()
        end
        w.neighbour_continues()
        local said = case[3]:gsub("<line>", 6 + i)
        w.says(said)
        assert.equal(1, w.times(said), case[1])
      end
      assert.equal(0, w.times "task failed")
      w.finish()
    end)
  end

  describe("policy is broken: its streams are opened on the first link and a neighbour is unaffected:", function()
    local function broken(what, policy, said)
      return { what, "policy = " .. policy, "warn  s: s.lua:<line>: kt.pool: policy: " .. said .. SERVES }
    end

    it("it raises, returns something other than an index, or waits", function()
      local EXPECTED = "expected an index into up (1 to 1), got "
      served {
        broken("it raises", "function(up) return up.best.index end", "s.lua:<line>: attempt to index a nil value (field 'best')"),
        broken("it raises a table", "function() error {} end", "it raised a table"),
        broken("it raises a value whose __tostring fails", "function() error(setmetatable({}, { __tostring = error })) end", "it raised a table"),
        broken("it raises nil", "function() error(nil) end", "it raised nil"),
        broken("it returns nil", "function() end", EXPECTED .. "nil"),
        broken("it returns 0", "function() return 0 end", EXPECTED .. "0"),
        broken("it returns an index out of range", "function(up) return #up + 1 end", EXPECTED .. "2"),
        broken("it returns half an index", "function() return 1.5 end", EXPECTED .. "1.5"),
        broken("it returns no number", "function() return 0/0 end", EXPECTED .. "NaN"),
        broken("it returns infinity", "function() return math.huge end", EXPECTED .. "math.huge"),
        broken("it returns a table", "function(up) return up[1] end", EXPECTED .. "a table"),
        broken("it returns a string", 'function() return "1" end', EXPECTED .. '"1"'),
        broken("it returns a function", "function() return print end", EXPECTED .. "a function"),
        broken("it returns true", "function() return true end", EXPECTED .. "true"),
        broken("it returns a link", "function() return far end", EXPECTED .. "a link"),
        broken("it empties its argument", "function(up) up[1] = nil return 1 end", EXPECTED .. "1"),
        broken("it waits", 'function() kt.sleep "1s" return 1 end', "s.lua:<line>: kt.sleep: cannot wait in a policy; it must return at once"),
        broken("it opens a stream", "function() far:open {} return 1 end", "s.lua:<line>: link:open: cannot wait in a policy; it must return at once"),
        broken("it yields", "function() coroutine.yield() return 1 end", "attempt to yield across a C-call boundary"),
        broken("it asks its own pool", "function() return pool:stats() end", "s.lua:<line>: global 'pool' is not defined"),
      }
    end)

    it("it allocates without end", function()
      served({ broken("it allocates without end", 'function() local x = "x" while true do x = x .. x end end', "not enough memory") }, { memory = "32MiB" })
    end)

    it("it closes the link in question", function()
      h.run(function()
        local w = bad_script.start(s, [[
local other = kt.link { remote = far.remote, key = KEY }
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
  if asked < 3000 then kt.spawn(function() assert(pool:open {}) end) end -- more would take the link's share of descriptors
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
        local w = bad_script.start(s, [[
local pool = kt.pool { links = { far }, policy = function() while true do end end }
bad:serve(function(conn)
  local stream = assert(pool:open { timeout = "5s", client = conn.peer })
  kt.splice(conn, stream)
end)]])
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

  it("key function is broken: the client's address is used and a neighbour is unaffected", function()
    local function broken(what, key, said)
      return { what, 'policy = "hash", key = ' .. key,
        "warn  s: s.lua:<line>: kt.pool: key: " .. said .. "; using the client's address; further mistakes of this kind are not logged" }
    end
    served {
      broken("it raises", "function(request) return request.user.name end", "s.lua:<line>: attempt to index a nil value (field 'user')"),
      broken("it returns a table", "function() return {} end", "expected a string, got a table"),
      broken("it returns nil", "function() end", "expected a string, got nil"),
      broken("it waits", "function() kt.sleep(1) end", "s.lua:<line>: kt.sleep: cannot wait in a key function; it must return at once"),
    }
  end)

  it("check is broken: the link is still tried and a neighbour is unaffected", function()
    local function broken(what, check, said)
      return { what, ('name = "%s", check = { every = "200ms", timeout = "100ms", fall = 1, with = %s }'):format(what, check), said }
    end
    local EXPECTED = "warn  s: s.lua:<line>: kt.pool: check.with: expected true, a round-trip time in seconds, or nil and a reason, got "
    local ONCE = "; further mistakes of this kind are not logged"
    served {
      broken("it raises", "function() error 'broken' end", "warn  s: s.lua:<line>: kt.pool: check.with: s.lua:<line>: broken" .. ONCE),
      broken("it returns a string", "function() return 'yes' end", EXPECTED .. "a string" .. ONCE),
      broken("it returns no number", "function() return 0/0 end", EXPECTED .. "NaN" .. ONCE),
      broken("it hangs", "function() kt.sleep '1h' end", "warn  s: it hangs: 127.0.0.1:<n> is down: its check took longer than 0.1 s"),
    }
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
