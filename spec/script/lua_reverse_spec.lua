-- Streams that the accepting side opens to its clients: link:serve on one side, acceptor:on("link") on the other.
local h = require "harness"
local scripts = require "harness.scripts"

local HEAD = 'local kt = require "kt"\n'

-- A client that serves: each stream is answered, once the far side has finished asking.
local SERVING = [[
kt.link { remote = "127.0.0.1:%d", key = "k", wire = "kcptun", mode = "fast3", dead_after = "1s", OPTIONS }:serve(function(stream)
  local asked = ""
  while true do
    local data, err = stream:read()
    if not data then break end
    asked = asked .. data
  end
  stream:write("answer to " .. asked)
end)
]]

-- A server that opens a stream to each client.
local ASKING = [[
local acceptor = kt.accept { on = "127.0.0.1:%d", key = "k", wire = "kcptun", mode = "fast3", OPTIONS }
acceptor:serve(function(stream) stream:write(stream:read()) end)
local function ask(link, text)
  local stream, err = link:open { timeout = "5s" }
  if not stream then return nil, err end
  stream:write(text)
  stream:shutdown()
  local answer = {}
  while true do
    local data, err = stream:read()
    if not data then
      stream:close()
      return table.concat(answer), err.code
    end
    answer[#answer + 1] = data
  end
end
]]

describe("a link that serves", function()
  local s = scripts.each(before_each, after_each)
  local port

  before_each(function() port = h.sockets.free_port "udp" end)

  local function start(name, text, options)
    text = text:format(port):gsub("OPTIONS", options or "")
    return s.kt("run", s.write(name, HEAD .. text))
  end
  local function server(body, options)
    local p = start("server.lua", ASKING .. body:gsub("%%", "%%%%"), options):wait_udp(port)
    return p
  end

  for _, options in ipairs { "", "tuncrypt = true", "smux = { version = 1 }", "qpp = true, compress = false, fec = false" } do
    it("is dialled out, and answers the acceptor's streams, half-close and all" .. (options ~= "" and ": " .. options or ""), function()
      h.run(function()
        local p = server([[
acceptor:on("link", function(link)
  print("link", link.remote:match "^127.0.0.1:%d+$" ~= nil, link:stats().up)
  print(ask(link, "a question"))
  print(assert(link:probe()) > 0)
  local long = ("0123456789"):rep(100000)
  print(ask(link, long) == "answer to " .. long)
end)]], options)
        start("client.lua", SERVING, options)
        p:expect "link\ttrue\ttrue\nanswer to a question\teof\ntrue\ntrue\n"
      end)
    end)
  end

  it("keeps dialling: before the acceptor is there, and when it was lost", function()
    h.run(function()
      local client = start("client.lua", SERVING)
      client:expect("session with .* ended", 10)
      client:mark()
      h.loop.sleep(2.5) -- two more attempts, of which it says nothing
      assert.equal("", client.fresh)
      local body = 'acceptor:on("link", function(link) print(ask(link, "x")) end)'
      local first = server(body)
      first:expect("answer to x\teof\n", 10)
      first:kill()
      server(body):expect("answer to x\teof\n", 20)
    end)
  end)

  it("keeps serving when one of its handlers fails", function()
    h.run(function()
      local p = server [[
acceptor:on("link", function(link)
  print(ask(link, "bad"))
  print(ask(link, "good"))
end)]]
      start("client.lua", (SERVING:gsub("  stream:write", '  if asked == "bad" then error "bad" end\n  stream:write')))
      p:expect "\nanswer to good\teof\n"
    end)
  end)

  it("carries streams both ways at once, in one session", function()
    h.run(function()
      local p = server [[
local done, session = 0
acceptor:on("link", function(link)
  for i = 1, 20 do
    kt.spawn(function()
      assert(ask(link, ("q"):rep(10000) .. i) == "answer to " .. ("q"):rep(10000) .. i)
      done = done + 1
      if done == 20 then print("done", acceptor:stats().sessions) end
    end)
  end
end)]]
      local client = start("client.lua", SERVING:gsub("^kt.link", "local far = kt.link") .. [[
for i = 1, 20 do
  kt.spawn(function()
    local stream = assert(far:open())
    stream:write("there " .. i)
    assert(stream:read() == "there " .. i)
    print "back"
  end)
end]])
      p:expect "done\t1\n"
      h.loop.eventually("all answers", 10, function() return select(2, client.stdout:gsub("back", "")) == 20 end)
    end)
  end)

  it("may begin to serve in a task", function()
    h.run(function()
      local p = server [[acceptor:on("link", function(link) print(link:open { timeout = "3s" } and "open" or "refused") end)]]
      start("client.lua", [[
local far = kt.link { remote = "127.0.0.1:%d", key = "k", wire = "kcptun", mode = "fast3" }
kt.spawn(function()
  local stream = assert(far:open())
  stream:write "x"
  assert(stream:read() == "x")
  far:serve(function(stream) stream:read() end)
end)]])
      p:expect "refused\n"
      p:expect "open\n"
    end)
  end)

  it("opens nothing to a client that does not serve", function()
    h.run(function()
      local p = server [[
acceptor:on("link", function(link)
  local stream, err = link:open { timeout = "3s" }
  print(stream, err.code, err)
end)]]
      local client = h.peer.client(port, { key = "k", datashard = 10, parityshard = 3, smuxver = 2 })
      local conn = assert(h.sockets.connect(client.at))
      conn:send "x"
      p:expect "nil\tunsupported\t127.0.0.1:%d+ does not serve streams: its script needs link:serve\n"
      client = h.peer.client(port, { impl = "kcptun", key = "k", datashard = 10, parityshard = 3, smuxver = 2 })
      conn = assert(h.sockets.connect(client.at))
      conn:send "x"
      p:expect "nil\tunsupported\t127.0.0.1:%d+ cannot accept streams: only a kt can\n"
    end)
  end)

  it("tells the acceptor's script when it is gone, and closes the handle", function()
    h.run(function()
      local p = server [[
acceptor:on("link", function(link)
  link:on("down", function(stats, err)
    print("down", err.code, stats.up)
    print(select(2, link:open()).code, select(2, link:probe()).code, link.remote ~= nil)
    link:close()
  end)
  print "here"
  local rtt, err
  repeat rtt, err = link:probe { timeout = "60s" } until not rtt
  print("probe", err.code)
end)]]
      local client = start("client.lua", SERVING)
      p:expect "here\n"
      client:kill()
      p:expect("probe\tdead\n", 30)
      h.loop.eventually("all of it", 5, function() return p.stdout:find "down\tdead\tfalse\nclosed\tclosed\ttrue\n" end)
    end)
  end)

  it("may be closed by the acceptor's script, without a down event, and comes back", function()
    h.run(function()
      local p = server [[
local n = 0
acceptor:on("link", function(link)
  n = n + 1
  print("link", n, ask(link, "x"))
  link:on("down", function() print "down" end)
  if n < 3 then link:close() end
end)]]
      start("client.lua", SERVING)
      p:expect("link\t3\tanswer to x\teof\n", 30)
      assert.falsy(p.stdout:find "down")
    end)
  end)

  it("keeps its own settings from the acceptor's side, and refuses settings that make no sense there", function()
    h.run(function()
      local p = server [[
acceptor:on("link", function(link)
  print(select(2, link:set { rate = 0 }).code)
  print(pcall(link.serve, link, print))
end)
print(pcall(acceptor.on, acceptor, "up", print))
print(pcall(acceptor.on, acceptor, "link"))
print(pcall(acceptor.on, acceptor, "link", print))]]
      start("client.lua", SERVING)
      p:expect 'acceptor:on: unknown event "up"; expected "link" or "flow"\n'
      p:expect "acceptor:on: expected a function, got no value\n"
      p:expect 'acceptor:on: "link" already has a handler, set at server.lua:%d+\n'
      p:expect "unsupported\nfalse\t.*link:serve: this link was accepted; acceptor:serve gets the streams that its peer opens\n"
    end)
  end)

  it("is never handed over after it has ended, even if the script was busy until then", function()
    h.run(function()
      local p = server([[
acceptor:on("link", function(link)
  print("link", tostring(link))
  for _ = 1, 4000000 do end
end)]], 'wire = "kt", mode = nil')
      local client = start("client.lua", [[
local done = 0
for _ = 1, 20 do
  kt.spawn(function()
    local far = kt.link { remote = "127.0.0.1:%d", key = "k", wire = "kt" }
    far:probe { timeout = "5s" }
    far:close()
    done = done + 1
    if done == 20 then print "done" end
  end)
end]])
      client:expect("done\n", 20)
      p:expect("link\t", 5)
      h.loop.sleep(0.5)
      assert.falsy(p.stdout:find "closed")
    end)
  end)

  it("keeps kt running; a link with only stay = true does not", function()
    h.run(function()
      local client = start("client.lua", SERVING)
      h.loop.sleep(0.3)
      assert.falsy(client.exited)
      local code, _, err = s.run('kt.link { remote = "127.0.0.1:%d", key = "k", stay = true }', port)
      assert.equal(1, code)
      assert.matches("the script has nothing to do", err)
    end)
  end)

  it("dials at once with stay = true", function()
    h.run(function()
      local p = server 'acceptor:on("link", function(link) print("link", link:stats().streams) end)'
      start("client.lua", 'kt.link { remote = "127.0.0.1:%d", key = "k", stay = true } kt.spawn(function() kt.sleep "20s" end)')
      p:expect "link\t0\n"
    end)
  end)
end)
