-- What a script is told of its mistakes, and what its handles print: a method is named as it was called, a handle by its kind, and
-- nothing by its address in memory. What each call may be given is elsewhere (lua_schema_spec, lua_link_spec, lua_pipe_spec, …).
local h = require "harness"
local scripts = require "harness.scripts"

describe("a message", function()
  local s
  before_each(function() s = scripts.new() end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  --- What each of the calls raises in a task of a script that has `link`, `pool`, `listener`, `acceptor`, `socket` and `conn`.
  local function raised(...)
    local lines = {}
    for i, call in ipairs { ... } do lines[i] = ("print(select(2, pcall(function() %s end)))"):format(call) end
    local said
    h.run(function()
      local code, out, err = s.run(([[
local link = kt.link { remote = "127.0.0.1:9", key = "k" }
local pool = kt.pool { links = { link }, check = { every = "1h" } }
kt.spawn(function()
  local listener = kt.listen { on = "127.0.0.1:0" }:serve(function(conn) conn:read() end)
  local acceptor, socket = kt.accept { on = "127.0.0.1:0", key = "k" }, kt.udp { on = "127.0.0.1:0" }
  local conn = kt.connect { to = listener.local_addr }
  %s
  acceptor:close() listener:close() socket:close() conn:close()
end)]]):format(table.concat(lines, "\n")))
      assert.equal(0, code, err)
      said = out:gsub("s%.lua:%d+: ", "")
    end)
    return said
  end

  it("names the method that was called, and its kind", function()
    assert.equal(table.concat({
      "link:open.timout: unknown key; did you mean timeout?", "link:set.mod: unknown key; did you mean mode?",
      "link:probe.x: unknown key; there are: timeout", "link:on.every: 0 is out of range; wanted at least 100ms",
      "pool:open.timout: unknown key; did you mean timeout?", "pool:add.wieght: unknown key; did you mean weight?",
      "conn:set.x: unknown key; there are: rate_in, rate_out, idle, total", "conn:read.timout: unknown key; did you mean timeout?",
      "socket:receive.timout: unknown key; did you mean timeout?", "" }, "\n"),
      raised("link:open { timout = 5 }", 'link:set { mod = "fast" }', "link:probe { x = 1 }", 'link:on("stats", print, { every = 0 })',
        "pool:open { timout = 1 }", "pool:add { link = link, wieght = 2 }", "conn:set { x = 1 }", "conn:read { timout = 1 }",
        "socket:receive { timout = 1 }"))
  end)

  it("calls a handle by its kind", function()
    assert.equal(table.concat({
      "link:open: a conn; wanted a table", "link:on: wanted a function, got pool", "link:on: wanted the name of an event, got socket",
      "acceptor:on: wanted the name of an event, got acceptor", "acceptor:serve: wanted a function, got link", "kt.spawn: wanted a function, got link",
      "kt.splice: argument 1: wanted a conn or a stream, got link", "connect.to: a listener; wanted a string",
      "conn:write: argument 1: wanted a string, got link",
      "conn:read: argument 1: wanted a number of bytes, 1 to 1048576, got acceptor", "conn:reset: argument 1: wanted an err, a string, or nothing, got link",
      'pool:on "up": a link; wanted a function', "pool:add.link: a pool; wanted a link", "kt.secret: wanted a string, got link",
      'accept.key: a link; wanted a string, or kt.secret_file "psk.key"', "coroutine.resume: wanted a coroutine, got link", "" }, "\n"),
      raised("link:open(conn)", 'link:on("up", pool)', "link:on(socket, print)", "acceptor:on(acceptor, print)", "acceptor:serve(link)", "kt.spawn(link)",
        "kt.splice(link, conn)", "kt.connect { to = listener }", "conn:write(link)", "conn:read(acceptor)", "conn:reset(link)", 'pool:on("up", link)',
        "pool:add { link = pool }", "kt.secret(link)", 'kt.accept { on = ":1", key = link }', "coroutine.resume(link)"))
  end)

  it("says of a time that is not a number that it is none, whatever its sign", function()
    local said = raised("kt.sleep(0 / 0)", "kt.sleep(-(0 / 0))", "conn:set { idle = 0 / 0 }", "conn:read(0 / 0)")
    assert.equal(2, select(2, said:gsub('kt%.sleep: not a number; wanted a duration such as "5s"', "")))
    assert.matches("\nconn:set.idle: not a number; wanted a duration", said, 1, true)
    assert.matches("\nconn:read: argument 1: wanted a number of bytes, 1 to 1048576, got what is not a number\n", said, 1, true)
  end)

  it("puts between a service and its address what belongs there", function()
    assert.equal("kt.link to 127.0.0.1:9: closed\nkt.listen on 127.0.0.1:0: closed\nkt.accept on 127.0.0.1:0: closed\n",
      raised("link:close() link:serve(print)", "local l = kt.listen { on = '127.0.0.1:0' } l:close() l:serve(print)",
        "acceptor:close() acceptor:serve(print)"))
  end)

  it("about a listener that was dropped says where it listened", function()
    h.run(function()
      local _, _, err = s.run 'kt.spawn(function() kt.listen { on = "127.0.0.1:0" } collectgarbage() kt.sleep "10ms" end)'
      assert.matches("warn  s: kt.listen on 127.0.0.1:0, declared at s.lua:2, was dropped without :close(); closed it\n", err, 1, true)
    end)
  end)

  describe("of a task that raised", function()
    local function told(what)
      local said
      h.run(function()
        local _, _, err = s.run(("kt.spawn(function() error(%s) end)"):format(what))
        said = err:match "task failed: (.-) %(at s.lua:2; spawned at s.lua:2%)\n" or err
      end)
      return said
    end

    it("a table says so, with the texts in it", function()
      assert.equal("an error that is a table without __tostring", told "{}")
      assert.equal("an error that is a table without __tostring: code = 7, message = it broke, name = Broken",
        told '{ name = "Broken", code = 7, message = "it broke", more = {} }')
    end)

    it("a table with __tostring speaks for itself", function()
      assert.equal("broken", told 'setmetatable({}, { __tostring = function() return "broken" end })')
    end)

    it("nothing, a function or a handle says what it is", function()
      assert.equal("an error that is nil", told "nil")
      assert.equal("an error that is a function", told "print")
      assert.equal("<link a:9, down>", told 'kt.link { remote = "a:9", key = "k" }')
    end)
  end)

  it("of a main chunk that raised a table says so, run and checked", function()
    h.run(function()
      local code, _, err = s.run 'error { message = "it broke" }'
      assert.same({ 1, "kt: s.lua:2: an error that is a table without __tostring: message = it broke\n" }, { code, err })
      local p = s.kt("check", "s.lua")
      p:wait_exit(20)
      assert.matches("^s.lua:2: an error that is a table without __tostring: message = it broke\n", p.stdout)
    end)
  end)

  it("has what is known of a handle that is printed", function()
    h.run(function()
      local _, out = s.run [[
kt.spawn(function()
local link = kt.link { remote = "127.0.0.1:9", key = "k" }
local listener = kt.listen { on = "127.0.0.1:0" }
local acceptor, socket = kt.accept { on = "127.0.0.1:0", key = "k" }, kt.udp { on = "127.0.0.1:0" }
print(link, tostring(listener) == ("<listener %%s>"):format(listener.local_addr), acceptor,
  tostring(socket) == ("<socket %%s>"):format(socket.local_addr))
for _, handle in ipairs { link, listener, acceptor, socket } do handle:close() print(handle) end
end)]]
      assert.equal("<link 127.0.0.1:9, down>\ttrue\t<acceptor 127.0.0.1:0>\ttrue\n<link 127.0.0.1:9, closed>\n<listener 127.0.0.1:0, closed>\n"
        .. "<acceptor 127.0.0.1:0, closed>\n<socket, closed>\n", out)
    end)
  end)
end)
