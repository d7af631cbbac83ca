-- Limits of what one peer, and all of them, may have, in virtual time.
local sim = require "kt.sim"

local function server(w, ...)
  w:host "server"
  w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
  return w:host("server"):run("kt server", { args = { "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k", ... } })
end

local function client(w, name, ...)
  w:host(name)
  w:link(name, "server", { delay = "20ms" })
  w:host(name):run("kt client", { args = { "-r", "server:29900", "-l", "127.0.0.1:12948", "--key", "k", ... } })
  return function() return w:host(name):connect "127.0.0.1:12948" end
end

local function times(text, words)
  local n = 0
  for _ in text:gmatch(words) do n = n + 1 end
  return n
end

describe("a server with --maxstreams", function()
  it("refuses further streams of a session, counts them, says so once, and takes others again when some have ended", function()
    local w = sim.world {}
    local far = server(w, "--maxstreams", "3")
    local connect = client(w, "client")
    local apps = {}
    for i = 1, 3 do
      apps[i] = connect()
      apps[i]:echo "hello"
    end
    for _ = 1, 5 do assert.is_nil((connect():try_echo("hello", { timeout = "5s" }))) end
    for i = 1, 3 do apps[i]:echo "again" end
    assert.equal(5, far:stats().counters.StreamsRefused)
    assert.equal(1, times(far:log "refused", "3 streams are open; new ones are refused"))

    for i = 1, 3 do apps[i]:close() end
    w:run_for "2s"
    connect():echo "hello"
  end)
end)

describe("a client with --maxstreams", function()
  it("opens further streams in another session", function()
    local w = sim.world {}
    local far = server(w)
    local connect = client(w, "client", "--maxstreams", "1")
    local app = connect()
    app:echo "hello"
    connect():echo "hello"
    app:echo "again"
    assert.equal(2, far:stats().counters.CurrEstab)
  end)
end)

describe("a server with --maxsessions", function()
  it("refuses further sessions, counts them, says so once, and takes others again when some have ended", function()
    local w = sim.world {}
    local far = server(w, "--maxsessions", "2")
    local first = client(w, "one")
    local second = client(w, "two")
    local third = client(w, "three")
    local app, other = first(), second()
    app:echo "hello"
    other:echo "hello"
    assert.is_nil((third():try_echo("hello", { timeout = "5s" })))
    app:echo "again"
    assert.is_true(far:stats().counters.SessionsRefused >= 1)
    assert.equal(2, far:stats().counters.CurrEstab)
    assert.equal(1, times(far:log "refused", "2 sessions: new ones are refused"))

    w:host("one"):crash()
    w:run_for "60s"
    third():echo "hello"
    other:echo "again"
  end)
end)
