-- Flows of scripts: the real kt, real datagrams over kt's own wire; misuse, and flows that a script forgot.
local uv = require "luv"
local h = require "harness"
local scripts = require "harness.scripts"

describe("a script's flows", function()
  local s = scripts.each(before_each, after_each)

  --- Runs a task that ends by itself; returns what it printed and its log.
  local function run(text)
    local code, out, err
    h.run(function() code, out, err = s.run("%s", "kt.spawn(function()\n" .. text .. "\nend)") end)
    assert.equal(0, code, err)
    return out, err
  end

  it("carry datagrams from a local port over a link to a target, and back", function()
    h.run(function()
      local near, far, target = h.sockets.free_port "udp", h.sockets.free_port "udp", uv.new_udp()
      assert(target:bind("127.0.0.1", 0))
      target:recv_start(function(_, data, from)
        if from then assert(target:try_send("answer to " .. data, from.ip, from.port)) end
      end)
      local p = s.start([[
local acceptor = kt.accept { on = "127.0.0.1:%d", wire = "kt", key = KEY }
acceptor:on("flow", function(flow)
  print(flow.target, flow.client:match "^127.0.0.1:", flow.identity)
  local out <close> = assert(kt.connect { udp = flow.target })
  kt.splice(flow, out)
end)
local far = kt.link { remote = "127.0.0.1:%d", wire = "kt", key = KEY }
kt.listen { udp = "127.0.0.1:%d", idle = "1s" }:serve(function(flow)
  local out <close> = assert(far:flow { to = "localhost:%d", client = flow.peer })
  local summary = kt.splice(flow, out)
  print(summary.reason, summary.a_to_b, summary.b_to_a, out:stats().sent, flow:stats().received)
end)]], far, far, near, target:getsockname().port)
      p:wait_udp(near)
      local client, got = uv.new_udp(), {}
      assert(client:bind("127.0.0.1", 0))
      client:recv_start(function(_, data) got[#got + 1] = data end)
      for i = 1, 3 do
        assert(client:try_send("question " .. i, "127.0.0.1", near))
        h.loop.eventually("an answer", 10, function() return got[i] end)
      end
      assert.same({ "answer to question 1", "answer to question 2", "answer to question 3" }, got)
      p:expect("localhost:%d+\t127.0.0.1:\tnil\n")
      p:expect("idle\t30\t60\t3\t3\n", 20)
      assert.equal(0, p:stop())
    end)
  end)

  it("count datagrams that no link carries, in either direction", function()
    h.run(function()
      local port, target = h.sockets.free_port "udp", uv.new_udp()
      assert(target:bind("127.0.0.1", 0))
      local p = s.start([[
kt.listen { udp = "127.0.0.1:%d" }:serve(function(flow)
  kt.splice(flow, assert(kt.connect { udp = "127.0.0.1:%d" }))
end)]], port, target:getsockname().port)
      p:wait_udp(port)
      target:recv_start(function(_, _, from)
        if not from then return end
        for _, size in ipairs { 3000, 5000 } do assert(target:try_send(("x"):rep(size), from.ip, from.port)) end
      end)
      local client = uv.new_udp()
      assert(client:bind("127.0.0.1", 0))
      for _, size in ipairs { 3000, 2049, 5 } do assert(client:try_send(("x"):rep(size), "127.0.0.1", port)) end
      h.loop.eventually("four to be counted", 10, function() return p:counters().FlowDatagramsTooLarge == 4 end)
      assert.equal(0, p:stop())
    end)
  end)

  it("are closed when they are forgotten, with a warning", function()
    local _, err = run [[
local far <close> = kt.link { remote = "127.0.0.1:9", wire = "kt", key = KEY }
far:flow()
for _ = 1, 4 do collectgarbage() kt.sleep "5ms" end]]
    assert.matches("a flow was dropped without :close%(%), in the task spawned at s.lua:%d+; closed it", err)
  end)

  it("need kt's own wire", function()
    assert.equal("unsupported\tlink:flow: this link's wire carries no datagrams; use wire = \"kt\"\n", (run [[
local far <close> = kt.link { remote = "127.0.0.1:9", key = "k", wire = "kcptun" }
local flow, err = far:flow { to = "127.0.0.1:53" }
print(err.code, err)]]))
  end)

  it("end when nobody listens at their target", function()
    local port, nobody = h.sockets.free_port "udp", h.sockets.free_port "udp"
    local out = run(([[
local socket = kt.udp { to = "127.0.0.1:PORT" }
local listener = kt.listen { udp = "127.0.0.1:PORT" }
listener:serve(function(flow)
  local out <close> = assert(kt.connect { udp = "127.0.0.1:NOBODY" })
  print(kt.splice(flow, out).reason)
  listener:close()
end)
socket:send "anyone?"]]):gsub("NOBODY", nobody):gsub("PORT", port))
    assert.equal("refused\n", out)
  end)

  it("tell a script what it does wrong", function()
    local out = run [[
local function try(...)
  local ok, err = pcall(...)
  print(ok, (tostring(err):gsub("^.-:%d+: ", "")))
end
local a, b = kt.connect { udp = "127.0.0.1:9" }, kt.connect { udp = "127.0.0.1:9" }
local far <close> = kt.link { remote = "127.0.0.1:9", wire = "kt", key = KEY }
try(kt.splice, a, a)
try(kt.splice, a, far)
try(kt.splice, a, b, { rate = "1MiB" })
try(a.set, a, { copies = 4 })
print(select(2, a:set { copies = 1 }))
a:close()
try(kt.splice, a, b)
print(select(2, a:set { copies = 1 }))
print(tostring(a), tostring(b))
try(kt.listen, { on = "127.0.0.1:0", udp = "127.0.0.1:0" })
try(kt.listen, {})
try(kt.listen, { on = "127.0.0.1:0", idle = "1s" })
try(kt.connect, {})
try(far.on, far, "flow", 1)
far:on("flow", print)
try(far.on, far, "flow", print)
b:close()]]
    local expected = [[
false	kt.splice: both arguments are the same flow
false	kt.splice: argument 2: expected a flow, like the other argument, got link
false	kt.splice: rate and linger are for conns and streams; flows take idle and total
false	flow:set.copies: expected 0 to 3, got 4
flow:set: copies are only for flows of a link
false	kt.splice: argument 1: this flow was closed, or taken over by a splice
flow:set: the flow was closed
<flow 127.0.0.1:9, closed>	<flow 127.0.0.1:9>
false	listen.udp: not allowed with on; call kt.listen twice
false	listen.on: missing; expected on = "127.0.0.1:12948", or udp = "127.0.0.1:53"
false	listen.idle: only with udp
false	kt.connect.to: missing; expected "host:port", or "unix:/path"
false	link:on: expected a function, got number
false	link:on: "flow" already has a handler, set at s.lua:23
]]
    assert.equal(expected, out)
  end)
end)
