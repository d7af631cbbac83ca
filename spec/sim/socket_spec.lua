-- UDP in specs: host:udp, and host:serve { udp = … }.
local sim = require "kt.sim"

describe("a spec's UDP socket", function()
  local w, a, b
  before_each(function()
    w = sim.world { seed = 1 }
    a, b = w:host "a", w:host "b"
    w:link("a", "b", { delay = "10ms" })
  end)

  it("asks a server of the spec, by name, and gets its answer", function()
    w:name("dns.example", "b")
    local server = b:serve { udp = ":53", fn = function(question, from) return question .. " from " .. from end }
    local socket = a:udp { to = "dns.example:53" }
    assert.is_true(socket:send "question")
    local data, from = socket:receive()
    assert.same({ "question from " .. socket.local_addr, "10.0.2.1:53", "10.0.2.1:53" }, { data, from, socket.peer })
    assert.same({ 1, "0.0.0.0:53" }, { server.datagrams, (server.address:gsub("^%[::%]", "0.0.0.0")) })
    assert.near(0.021, w:now(), 0.002)
  end)

  it("talks to several peers, and to an echo server", function()
    a:serve { udp = "127.0.0.1:7", kind = "echo" }
    b:serve { udp = ":7", kind = "echo" }
    local socket = a:udp { on = ":4000" }
    for _, to in ipairs { "127.0.0.1:7", "b:7", "[fd00::2]:7" } do
      assert.is_true(socket:send(to, to))
      assert.equal(to, (socket:receive()))
    end
  end)

  it("reaches a script and is reached by one, and the answer comes from the address that was asked", function()
    b:file("s.lua", [[
      local kt = require "kt"
      kt.listen { udp = ":53" }:serve(function(flow) kt.splice(flow, assert(kt.connect { udp = "a:53" })) end)]])
    b:run "s.lua"
    b:move { "10.0.2.1", "10.0.2.2" }
    a:serve { udp = ":53", fn = function(question) return question:upper() end }
    local socket = a:udp { to = "10.0.2.2:53" }
    socket:send "through two"
    assert.equal("THROUGH TWO", (socket:receive()))
  end)

  it("says what failed", function()
    local socket = a:udp { to = "b:9" }
    socket:send "anyone?"
    assert.equal("refused", select(2, socket:receive()).code)
    local silent = a:udp {}
    assert.equal("timeout", select(2, silent:receive { timeout = "1s" }).code)
    assert.equal("name", select(2, silent:send("x", "nowhere.example:1")).code)
    a:udp_full "20s"
    assert.equal("timeout", select(2, silent:send("x", "b:9", { timeout = "1s" })).code)
    local from = w:now()
    assert.is_true(silent:send("x", "b:9", { timeout = "1m" }))
    assert.near(19, w:now() - from, 0.1)
    silent:close()
    assert.equal("closed", select(2, silent:receive()).code)
    for text, call in pairs {
      ["host:udp: nowhere.example: "] = function() a:udp { to = "nowhere.example:1" } end,
      ["host:udp: .*:9: .*in use"] = function() a:udp { on = ":9" } a:udp { on = ":9" } end,
      ["this socket has one peer, 10.0.2.1:9"] = function() socket:send("x", "b:7") end,
      ["a string of at most 2048 bytes"] = function() socket:send(("x"):rep(2049)) end,
      ["not for datagrams"] = function() a:serve { udp = ":1", kind = "sink" } end,
      ["give one of the two"] = function() a:serve { udp = ":1", on = ":1", kind = "echo" } end,
    } do
      assert.matches(text, select(2, pcall(call)))
    end
  end)

  it("ends when its host crashes, and a server of datagrams serves again afterwards", function()
    local server, mine = b:serve { udp = ":7", kind = "echo" }, b:udp { on = ":8" }
    local socket = a:udp { on = ":4000" }
    w:at("1s", function() b:crash() end)
    assert.equal("closed", select(2, mine:receive { timeout = "1m" }).code)
    socket:send("lost", "b:7")
    assert.equal("timeout", select(2, socket:receive()).code)
    b:restart()
    socket:send("back", "b:7")
    assert.equal("back", (socket:receive()))
    server:close()
    socket:send("closed", "b:7")
    assert.equal("timeout", select(2, socket:receive()).code)
    assert.equal(1, server.datagrams)
  end)

  it("ends a lookup at its timeout, and when its host crashes", function()
    w:name("slow.example", "b", { delay = "5s" })
    local socket = a:udp {}
    assert.equal("timeout", select(2, socket:send("x", "slow.example:7", { timeout = "1s" })).code)
    w:at("2s", function() a:crash() end)
    assert.equal("closed", select(2, socket:send("x", "slow.example:7")).code)
    assert.equal(2, w:now())
  end)

  it("waits in several tasks at a time, also while the buffer is full", function()
    b:serve { udp = ":7", kind = "echo" }
    local socket, got = a:udp { to = "b:7" }, {}
    a:udp_full "1s"
    for i = 1, 3 do w:task(function() assert(socket:send("n" .. i)) end) end
    w:task(function()
      for i = 1, 3 do got[i] = socket:receive() end
    end)
    w:run "3s"
    assert.same({ "n1", "n2", "n3" }, got)
  end)
end)

describe("a simulated host", function()
  local SCRIPT = [[
    local kt = require "kt"
    local name = ...
    local list = kt.file(name .. ".txt")
    print(name, "starts with", list)
    kt.watch(name .. ".txt", function(text) print(name, "sees", text) end)
    kt.listen { on = "unix:/run/" .. name }:serve(function(conn) conn:write(name) end)]]

  it("runs several scripts, each with files, a reload and an end of its own, and conns to unix sockets", function()
    local w = sim.world { seed = 1 }
    local host, other = w:host "a", w:host "b"
    host:file("bin/s.lua", SCRIPT)
    host:file("bin/one.txt", "1")
    local one = host:run("bin/s.lua", { args = { "one" } })
    local two = host:run("bin/s.lua", { args = { "two" }, files = { ["two.txt"] = "2" }, beside = true })
    w:run_for "1s"
    host:file("bin/one.txt", "11")
    other:file("bin/two.txt", "not this host's")
    w:run_for "1s"
    assert.equal("one\tstarts with\t1\none\tsees\t11\n", one:output())
    assert.equal("two\tstarts with\t2\n", two:output())
    two:signal "HUP"
    w:run_for "1s"
    assert.equal(("two\tstarts with\t2\n"):rep(2), two:output())
    one:kill()
    assert.equal("not_found", select(2, host:try_connect "unix:/run/one").code)
    assert.equal("two", host:connect("unix:/run/two"):read_all())
    assert.is_true(two:is_running())
  end)
end)
