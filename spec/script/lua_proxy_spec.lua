-- The PROXY protocol in kt.listen and kt.connect, in virtual time: who is named, what is refused, and what the bounds are.
local sim = require "kt.sim"

local HEADER = "PROXY TCP4 192.0.2.7 203.0.113.1 51234 443\r\n"

local function world(short)
  local w = sim.world { seed = 5 }
  w:host("lb", { address = "10.0.0.9" })
  w:host("kt", { address = "10.0.0.1" })
  if short then w:host("kt"):short_io(20) end
  w:link("lb", "kt", { delay = "1ms" })
  return w
end

local function listening(w, options)
  w:host("kt"):file("s.lua", ([[
local kt = require "kt"
kt.listen { on = ":7000", proxy = true %s }:serve(function(conn)
  local data = conn:read_until("\n", 100)
  conn:write(("%%s %%s %%s"):format(conn.peer, conn.local_addr, data))
end)]]):format(options or ""))
  return w:host("kt"):run "s.lua"
end

describe("kt.listen { proxy = true }", function()
  it("gives the handler the client's addresses, and the bytes after the header", function()
    local w = world(true)
    listening(w)
    for bytes, answer in pairs {
      [HEADER .. "hello\n"] = "192.0.2.7:51234 203.0.113.1:443 hello\n",
      ["\r\n\r\n\0\r\nQUIT\n" .. string.pack(">BBs2", 0x21, 0x11, "\192\0\2\7\203\0\113\1" .. string.pack(">I2I2", 51234, 443) .. ("t"):rep(300)) .. "v2\n"] =
        "192.0.2.7:51234 203.0.113.1:443 v2\n",
    } do
      local app = w:host("lb"):connect "10.0.0.1:7000"
      for i = 1, #bytes do -- in the smallest pieces
        app:write(bytes:sub(i, i))
        if i % 16 == 0 then w:run_for "1ms" end
      end
      assert.equal(answer, app:read_all())
    end
    local app = w:host("lb"):connect "10.0.0.1:7000"
    app:write "PROXY UNKNOWN\r\nown\n"
    assert.equal(app.local_addr .. " 10.0.0.1:7000 own\n", app:read_all())
    w:close()
  end)

  it("resets and counts a conn without a valid header, and one whose header does not come within 5 s", function()
    local w = world()
    local script = listening(w)
    local early, late = w:host("lb"):connect "10.0.0.1:7000", w:host("lb"):connect "10.0.0.1:7000"
    early:write "GET / HTTP/1.1\r\n"
    late:write(HEADER:sub(1, -2))
    local _, err = early:read_all()
    assert.equal("reset", err.code)
    w:run_for "4s"
    assert.is_nil(script:log():find("in time", 1, true))
    w:run_for "2s"
    _, err = late:read_all()
    assert.equal("reset", err.code)
    assert.equal(2, script:stats().counters.ProxyRefused)
    assert.matches("conn of 10.0.0.9:%d+ reset: its first bytes are not a PROXY protocol header", script:log())
    assert.matches("conn of 10.0.0.9:%d+ reset: no PROXY protocol header came in time", script:log())
    w:close()
  end)

  it("counts refused conns by reason", function()
    local w = world()
    local script = listening(w)
    w:host("lb"):connect "10.0.0.1:7000"
    w:run_for "4s"
    for _ = 1, 14 do w:host("lb"):connect("10.0.0.1:7000"):write "GET / HTTP/1.1\r\n" end
    w:run_for "2s"
    w:host("lb"):connect("10.0.0.1:7000"):write "GET / HTTP/1.1\r\n"
    w:run_for "100ms"
    assert.matches("header came in time\n", script:log())
    assert.matches("not a PROXY protocol header; so were 13 more", script:log())
    w:close()
  end)

  it("resets conns of senders that proxy_from does not list", function()
    local w = world()
    local script = listening(w, [[, proxy_from = { "10.1.0.0/16", "2001:db8::1" } ]])
    w:host("other", { address = "10.1.0.9" })
    w:link("other", "kt", {})
    local app = w:host("lb"):connect "10.0.0.1:7000"
    app:write(HEADER .. "hello\n")
    local _, err = app:read_all()
    assert.equal("reset", err.code)
    assert.matches("its address is not in proxy_from", script:log())
    app = w:host("other"):connect "10.0.0.1:7000"
    app:write(HEADER .. "hello\n")
    assert.equal("192.0.2.7:51234 203.0.113.1:443 hello\n", app:read_all())
    w:close()
  end)

  it("keeps the conns that wait for their header over a reload, and resets them when the listener closes", function()
    local w = world()
    local script = listening(w)
    local app = w:host("lb"):connect "10.0.0.1:7000"
    app:write(HEADER:sub(1, 20))
    w:run_for "100ms"
    w:host("kt"):file("s.lua", [[
local kt = require "kt"
local listener = kt.listen { on = ":7000", proxy = true, proxy_from = { "10.1.0.0/16" } }
listener:serve(function(conn) conn:write("new: " .. conn.peer) end)
kt.after("2s", function() listener:close() end)]])
    script:signal "HUP"
    w:run_for "100ms"
    app:write(HEADER:sub(21))
    assert.equal("new: 192.0.2.7:51234", app:read_all())
    w:host("other", { address = "10.1.0.9" })
    w:link("other", "kt", {})
    local other = w:host("other"):connect "10.0.0.1:7000"
    w:run_for "2s"
    local _, err = other:read_all()
    assert.equal("reset", err.code)
    w:close()
  end)

  it("lets a flood of silent conns take no place from those that send their header", function()
    local w = world()
    local script = listening(w)
    for _ = 1, 1030 do w:host("lb"):connect "10.0.0.1:7000" end
    local app = w:host("lb"):connect "10.0.0.1:7000"
    app:write(HEADER .. "hello\n")
    assert.equal("192.0.2.7:51234 203.0.113.1:443 hello\n", app:read_all())
    assert.equal(7, script:stats().counters.ProxyRefused)
    w:close()
  end)
end)

describe("kt.connect { proxy = … }", function()
  --- Runs `text` as a task on "kt"; returns the bytes that the target on "lb" got from each of its conns.
  local function received(text, count)
    local w, got = world(true), {}
    w:host("lb"):serve { on = ":80", fn = function(conn)
      got[#got + 1] = conn:read_until "!"
      conn:write "seen"
    end }
    w:host("kt"):file("s.lua", 'local kt = require "kt"\nkt.spawn(function()\n' .. text .. "\nend)")
    local script = w:host("kt"):run "s.lua"
    w:run_for "10s"
    assert.is_nil(script:log():find("failed", 1, true), script:log())
    assert.equal(count, #got)
    w:close()
    return got
  end

  it("sends the header before anything else, with the client's address or none", function()
    local got = received([[
for _, with in ipairs { { proxy = "v1", client = "192.0.2.7:51234" }, { proxy = "v1", client = "unix:" }, { proxy = "v2" },
  { proxy = "v1", client = "[2001:db8::7]:51234" } } do
  local conn <close> = assert(kt.connect { to = "10.0.0.9:80", proxy = with.proxy, client = with.client })
  conn:write "hi!"
  assert(conn:read_exactly(4) == "seen")
end]], 4)
    assert.same({ "PROXY TCP4 192.0.2.7 10.0.0.9 51234 80\r\nhi!", "PROXY UNKNOWN\r\nhi!", "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0hi!",
      "PROXY TCP6 2001:db8::7 ::ffff:10.0.0.9 51234 80\r\nhi!" }, got)
  end)

  it("passes on what a conn's own header named", function()
    assert.same({ "PROXY TCP4 192.0.2.7 203.0.113.1 51234 443\r\nhi!" }, received([[
  kt.listen { on = ":7000", proxy = true }:serve(function(conn)
    local out <close> = assert(kt.connect { to = "10.0.0.9:80", proxy = "v1", client = conn })
    out:write(conn:read_exactly(3))
    conn:write(out:read_exactly(4))
  end)
  local conn <close> = assert(kt.connect { to = "10.0.0.1:7000" })
  conn:write "PROXY TCP4 192.0.2.7 203.0.113.1 51234 443\r\nhi!"
  assert(conn:read_exactly(4) == "seen")]], 1))
  end)

  it("says what is wrong with its options", function()
    local got = received([[
local text = ""
for _, options in ipairs { { to = "10.0.0.9:80", proxy = "v3" }, { to = "10.0.0.9:80", client = "192.0.2.7:1" },
  { udp = "10.0.0.9:80", proxy = "v2" }, { to = "10.0.0.9:80", proxy = "v2", client = 7 } } do
  local _, err = pcall(kt.connect, options)
  text = text .. tostring(err):gsub("^.-kt.connect", "kt.connect") .. "\n"
end
local conn <close> = assert(kt.connect { to = "10.0.0.9:80" })
conn:write(text .. "!")]], 1)
    assert.matches('proxy: unknown value "v3"; did you mean "v1"%?\n.*client: only with proxy; give proxy = "v2"\n.*proxy: only with to\n'
      .. '.*client: expected a conn, a stream, or an address, got 7\n', got[1])
  end)
end)
