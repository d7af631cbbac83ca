-- Unmodified scripts on simulated hosts: the examples, ends and crashes, and repeatable runs.
local spec_io = require "spec_io"
local spec_script = require "spec_script"
local spec_sim = require "spec_sim"

local MS, S = 1000, 1000000

local function text_of(path)
  local f = assert(io.open(path))
  local text = f:read "a"
  f:close()
  return text
end

local client, server = text_of "scripts/examples/client.lua", text_of "scripts/examples/server.lua"

-- A client and a server with the examples' scripts, an app behind each; fn(everything) does the rest.
local function tunnel(opts, fn)
  local w = spec_sim.new { seed = opts.seed or 1 }
  local t = { w = w, near = w:host "laptop", far = w:host("vps.example", { "203.0.113.9" }) }
  assert(w:link(t.near, t.far, opts.line or { delay_us = 40 * MS, loss = 0.02 }))
  for _, host in ipairs { t.near, t.far } do w:put(host, "psk.key", "a secret for two\n") end
  w:put(t.near, "client.lua", client)
  w:put(t.far, "server.lua", server)
  t.server_process = w:process(t.far, "server.lua")
  t.server = assert(spec_script.start(t.server_process, "server.lua"))
  t.client = assert(spec_script.start(w:process(t.near, "client.lua"), "client.lua"))
  t.app, t.target = spec_io.new(w:process(t.near, "app"), w), spec_io.new(w:process(t.far, "target"), w)
  assert(t.target:listen("127.0.0.1:8388", function(conn)
    conn:listen {
      readable = function()
        local piece = conn:peek()
        conn:write(piece)
        conn:consume(#piece)
        if conn:eof() then conn:close() end
      end,
      closed = function() conn:close() end,
    }
  end))
  local ok, err = pcall(fn, t)
  for _, name in ipairs { "app", "target", "client", "server" } do t[name]:free() end
  t.left = w:open(t.near) + w:open(t.far)
  w:free()
  assert(ok, err)
  return t
end

-- Asks through the tunnel; the answer, or nil and how it ended.
local function ask(t, question, limit)
  local answer, done = {}, nil
  assert(t.app:connect("127.0.0.1:12948", function(conn, name)
    if not conn then
      done = name
      return
    end
    conn:write(question)
    conn:shutdown()
    conn:listen {
      readable = function()
        answer[#answer + 1] = conn:peek()
        conn:consume(#conn:peek())
        if conn:eof() then
          done = "end"
          conn:close()
        end
      end,
      closed = function(code)
        done = code
        conn:close()
      end,
    }
  end))
  t.w:run(t.w:now() + (limit or 60) * S, function() return done end)
  local text = table.concat(answer)
  if done == "end" and text == question then return text end
  return nil, done
end

describe("scripts on simulated hosts", function()
  it("carry what an app asks to its target and back, at the line's pace", function()
    tunnel({}, function(t)
      local from = t.w:now()
      assert.equal("hello", ask(t, "hello"))
      local took = t.w:now() - from
      assert.is_true(took >= 80 * MS and took < 1 * S, took)
      assert.matches("listening on 127%.0%.0%.1:12948", t.client:said())
    end)
  end)

  it("leave nothing open when they have ended", function()
    local t = tunnel({}, function(t)
      for i = 1, 5 do assert.equal("hello " .. i, ask(t, "hello " .. i)) end
      t.w:run(t.w:now() + 60 * S)
    end)
    assert.equal(0, t.left)
  end)

  it("end as on a signal", function()
    tunnel({}, function(t)
      assert.is_nil(t.server:exited())
      assert.equal(1, t.w:signal(t.server_process, 15))
      t.w:run(t.w:now() + 60 * S, function() return t.server:exited() end)
      assert.is_number(t.server:exited())
    end)
  end)

  it("find a server that crashed and came up again", function()
    tunnel({}, function(t)
      assert.equal("before", ask(t, "before"))
      t.w:crash(t.far)
      assert.is_nil((ask(t, "while it is down", 20)))
      t.w:restart(t.far)
      t.server:free()
      t.target:free()
      t.server = assert(spec_script.start(t.w:process(t.far, "server.lua"), "server.lua"))
      t.target = spec_io.new(t.w:process(t.far, "target"), t.w)
      assert(t.target:listen("127.0.0.1:8388", function(conn)
        conn:listen { readable = function()
          conn:write(conn:peek())
          conn:consume(#conn:peek())
          if conn:eof() then conn:close() end
        end }
      end))
      t.w:run(t.w:now() + 10 * S)
      assert.equal("after", ask(t, "after"))
    end)
  end)
end)

describe("a script whose tasks have ended", function()
  it("has their memory collected within ten seconds, although a task of it runs each second", function()
    local w = spec_sim.new { seed = 1 }
    local host = w:host "laptop"
    w:put(host, "many.lua", [[
      local kt = require "kt"
      local function deep(n) if n > 0 then return (deep(n - 1)) end kt.sleep "1s" return "" end
      kt.every("1s", function() end)
      kt.spawn(function()
        kt.sleep "1s"
        for _ = 1, 3000 do kt.spawn(deep, 20) end
      end)]])
    local script = assert(spec_script.start(w:process(host, "many.lua"), "many.lua"))
    w:run(900 * MS)
    local before = script:bytes()
    w:run(1500 * MS)
    assert.is_true(script:bytes() > before + (4 << 20))
    w:run(14 * S)
    local after = script:bytes()
    assert.is_true(after < before + (1 << 20), ("%d bytes before, %d after"):format(before, after))
    script:free()
    w:free()
  end)
end)
