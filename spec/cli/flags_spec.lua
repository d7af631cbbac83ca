-- kt client and kt server by their flags: the effect of each on a running tunnel, and the error when it cannot apply.
local h = require "harness"

local function exchange(client) h.transfer.exchange(client.at, 21, 60000, 60000) end
local function partner() return h.transfer.partner(60000, 60000) end

local function count(text, pattern) return select(2, text:gsub(pattern, "")) end

--- Starts a kt client with these arguments, in this order, on a free port that is a -l of its own, with no server to talk to.
local function client_with(...)
  local port = h.sockets.free_port("tcp")
  local client = h.start {
    name = "client", graceful = true,
    cmd = { h.peer.kt, "client", "-l", "127.0.0.1:" .. port, "-r", "127.0.0.1:9", ... },
  }
  return client:wait_tcp(port)
end

--- A file with this text, removed after the spec.
local function file_with(text)
  local path = h.temporary_path()
  h.write_file(path, text)
  return path
end

--- A path that has no digit in it that could be taken for a part of a date.
local function plain_path()
  local path
  repeat path = h.temporary_path() until not path:find "%d"
  return path
end

describe("kt's closewait towards a kcptun server", function()
  after_each(h.cleanup)

  --- An application that asks and half-closes; the target says nothing more. Returns how long the end takes to come.
  local function held(closewait)
    local target = h.sockets.serve(function(conn)
      conn:send("greeting")
      conn:recv_all(60)
    end)
    local client = h.peer.tunnel(target.at, {}, { client = { closewait = closewait }, server = { impl = "kcptun" } })
    local conn = assert(h.sockets.connect(client.at))
    conn:send("x")
    conn:recv_exactly(8)
    local start = h.loop.now()
    conn:shutdown()
    assert.is_nil((conn:recv(20)))
    return h.loop.now() - start
  end

  it("holds a stream for as long as it says after its application has ended", function()
    h.run(function()
      local took = held(3)
      assert.is_true(took > 2.8 and took < 4, ("it took %.2f s"):format(took))
    end)
  end)

  it("of 0 ends it at once", function()
    h.run(function()
      local took = held(0)
      assert.is_true(took < 0.5, ("it took %.2f s"):format(took))
    end)
  end)
end)

describe("kt's log", function()
  after_each(h.cleanup)

  it("has lines about streams unless --quiet is given", function()
    h.run(function()
      for _, quiet in ipairs { false, true } do
        local client, server = h.peer.tunnel(partner().at, { quiet = quiet, key = "k" })
        exchange(client)
        h.loop.eventually("the stream to be gone", 5, function()
          return client:counters().StreamsNow == 0 and server:counters().StreamsNow == 0
        end)
        for _, p in ipairs { client, server } do
          p:stop()
          assert.equal(0, p.code)
          for _, word in ipairs { "open 127", "closed 127" } do
            assert.equal(quiet and 0 or 1, count(p.stderr, word), word)
          end
          assert.matches("crypt aes", p.stderr) -- the rest is still logged
        end
      end
    end)
  end)

  it("is appended to an existing file", function()
    h.run(function()
      local path = file_with("what was there\n")
      local client = h.peer.tunnel(partner().at, {}, { client = { log = path } })
      exchange(client)
      local text
      h.loop.eventually("the closing in the log", 5, function()
        text = h.read_file(path)
        return text:find("closed 127.0.0.1", 1, true)
      end)
      assert.equal("what was there\n", text:sub(1, 15))
      assert.matches("open 127", text)
      client:stop()
      assert.is_nil(client.stderr:find("open 127", 1, true))
    end)
  end)

  it("to a file that cannot be written is an error", function()
    h.run(function()
      for _, side in ipairs { "client", "server" } do
        local said, code = h.peer.say(side, "--log", "/no/such/folder/kt.log")
        assert.equal(1, code)
        assert.matches("--log", said, 1, true)
        assert.matches("/no/such/folder/kt.log", said, 1, true)
      end
    end)
  end)
end)

describe("kt's snmplog", function()
  after_each(h.cleanup)

  it("has the date in its name and one header line", function()
    h.run(function()
      local stem = plain_path()
      local before = os.date "-%Y-%m-%d.csv"
      h.peer.client(9, { snmplog = stem .. "-2006-01-02.csv", snmpperiod = 1 })
      local path, text
      h.loop.eventually("three lines", 8, function()
        for _, tail in ipairs { before, os.date "-%Y-%m-%d.csv" } do -- it may be midnight
          local file = io.open(stem .. tail)
          if file then
            path, text = stem .. tail, file:read "a"
            file:close()
          end
        end
        return text and count(text, "\n") >= 3
      end)
      h.temporary[#h.temporary + 1] = path
      assert.is_nil(io.open(stem .. "-2006-01-02.csv"))
      assert.equal(1, count(text, "Unix"))
      assert.equal(1, (text:find("Unix,BytesSent,", 1, true)))
      local last = 0
      for line in text:gmatch "\n(%d[^\n]*)\n?" do
        local second = tonumber(line:match "^%d+")
        assert.is_true(second >= last)
        last = second
      end
      assert.is_true(last > 0)
    end)
  end)

  it("is appended to a file that has its header line", function()
    h.run(function()
      local path = file_with("Unix,and,so,on\n1,2,3,4\n")
      h.peer.client(9, { snmplog = path, snmpperiod = 1 })
      local text
      h.loop.eventually("a line more", 5, function()
        text = h.read_file(path)
        return count(text, "\n") >= 3
      end)
      assert.equal("Unix,and,so,on\n1,2,3,4\n", text:sub(1, 23))
      assert.equal(1, count(text, "Unix"))
    end)
  end)
end)

describe("kt's configuration file", function()
  after_each(h.cleanup)

  local faults = {
    { "a folder", function() return "/tmp" end, "folder" },
    { "a file that cannot be read", function() return "/proc/self/mem" end, "." }, -- not even by root
    { "an array", function() return file_with "[]" end, "object" },
    { "an array of an object", function() return file_with '  [{"crypt": "aes"}]' end, "object" },
    { "a string", function() return file_with '"aes"' end, "object" },
    { "nothing", function() return file_with "" end, "JSON" },
  }
  for _, fault in ipairs(faults) do
    it("that is " .. fault[1] .. " is refused by its name", function()
      h.run(function()
        local path = fault[2]()
        local said, code = h.peer.say("client", "-c", path)
        assert.equal(1, code)
        assert.matches(path, said, 1, true)
        assert.matches("-c", said, 1, true)
        assert.matches(fault[3], said)
        assert.is_nil(said:find("traceback", 1, true), said)
        assert.equal(1, count(said, "\n"), said)
      end)
    end)
  end

  it("overrides flags, in any position among them", function()
    h.run(function()
      local path = file_with '{"mtu": 1111, "nocomp": false}'
      for _, args in ipairs { { "-c", path, "--mtu", "999", "--nocomp" }, { "--mtu", "999", "--nocomp", "-c", path } } do
        client_with(table.unpack(args)):expect "mtu 1111,.*nocomp off"
      end
    end)
  end)

  it("names values of the wrong type", function()
    h.run(function()
      local said, code = h.peer.say("server", "-c", file_with '{"mtu": {"a": 1}}')
      assert.equal(1, code)
      assert.matches("mtu", said)
      said, code = h.peer.say("server", "-c", file_with '{"crypt": 5}')
      assert.equal(1, code)
      assert.matches("crypt", said)
    end)
  end)
end)

describe("kt's flags", function()
  after_each(h.cleanup)

  it("are all in the log of the start, but for the key", function()
    package.path = "./lua/?.lua;" .. package.path
    h.run(function()
      local client = client_with("--key", "open sesame", "--autoexpire", "60", "--QPP", "--udp", "127.0.0.1:0=a:1", "--quiet")
      local log = client:expect "kt client .*listening on":gsub("\n[^\n]-:     ", " ")
      for _, row in ipairs((require("kt.cli.options").of "client")) do
        local unset = row.default == nil or row.default == "" or row.default == false and not (row.of or row.wire)
        if not unset and not row.when then assert.truthy(log:find(" " .. row.name .. " ", 1, true), row.name .. " in " .. log) end
      end
      assert.matches("settings: localaddr [^\n]*, udp 127.0.0.1:0=a:1, [^\n]*key from %-%-key, .*quiet on", log)
      assert.matches("on kt's wire: [^\n]*keepalive 20 s, suspectpeer 3 s, .*on kcptun's wire: [^\n]*QPPCount 61, .*scavengettl 600 s, .*keepalive 10 s", log)
      assert.is_nil(log:find("sesame", 1, true))
    end)
  end)

  it("when repeated, take the last one", function()
    h.run(function()
      client_with("--mtu", "1000", "--crypt", "xor", "--mtu=1200", "-crypt", "tea"):expect "crypt tea,.*mtu 1200,"
    end)
  end)

  it("that are boolean, when repeated, take the last one", function()
    h.run(function()
      client_with("--nocomp", "--nocomp=false"):expect "nocomp off"
      client_with("--nocomp=false", "--nocomp"):expect "nocomp on"
      client_with("--nocomp", "--nocomp"):expect "nocomp on"
    end)
  end)

  it("that are boolean take =false and =true, and nothing else", function()
    h.run(function()
      client_with("--nocomp=false", "-acknodelay=true"):expect "acknodelay on.*nocomp off"
      client_with("-nocomp=true", "--acknodelay=false"):expect "acknodelay off.*nocomp on"
      local said, code = h.peer.say("client", "--nocomp=perhaps")
      assert.is_true(code > 0)
      assert.matches("%-%-nocomp.*perhaps", said)
    end)
  end)

  for _, both in ipairs {
    { framesize = 512, acknodelay = true, sockbuf = 65536, dscp = 46 },
    { framesize = 65535, sockbuf = 0, dscp = 63, smuxver = 1 },
  } do
    it(("carry with framesize %d, sockbuf %d, dscp %d"):format(both.framesize, both.sockbuf, both.dscp), function()
      h.run(function()
        local client, server = h.peer.tunnel(partner().at, both)
        exchange(client)
        for _, p in ipairs { client, server } do
          p:expect("dscp " .. both.dscp .. ", sockbuf " .. both.sockbuf)
          p:expect("framesize " .. both.framesize)
          assert.is_nil(p:logged():find("error", 1, true), p.stderr)
        end
      end)
    end)
  end
end)

describe("kt on SIGTERM with a connection open", function()
  after_each(h.cleanup)

  --- A tunnel with one connection that has carried something.
  local function open_one()
    local target = h.transfer.echo()
    local client, server = h.peer.tunnel(target.at)
    local conn = assert(h.sockets.connect(client.at))
    conn:send("before")
    assert.equal("before", conn:recv_exactly(6))
    return client, server, conn
  end

  it("refuses new ones, keeps this one, and exits with 0 within 6 s although it stays open", function()
    h.run(function()
      local client, _, conn = open_one()
      local start = h.loop.now()
      client:signal_with("sigterm")
      h.loop.eventually("the listener to close", 2, function() return not h.proc.tcp_listening(client.at) end)
      local _, refused = h.sockets.connect(client.at)
      assert.equal("ECONNREFUSED", refused)
      conn:send("after")
      assert.equal("after", conn:recv_exactly(5, 2))
      local code, signal = client:wait_exit(8)
      local took = h.loop.now() - start
      assert.equal(0, code)
      assert.equal(0, signal)
      assert.is_true(took > 3 and took < 6, ("it took %.1f s"):format(took))
    end)
  end)

  for _, side in ipairs { "client", "server" } do
    it("ends at once with 0 on a second one: " .. side, function()
      h.run(function()
        local client, server, conn = open_one()
        local p = side == "client" and client or server
        p:signal_with("sigterm")
        h.loop.sleep(0.3) -- to show that the first does not end it
        assert.is_falsy(p.exited)
        if side == "client" then
          conn:send("x")
          conn:recv_exactly(1, 2)
        end
        local start = h.loop.now()
        p:signal_with("sigterm")
        local code, signal = p:wait_exit(3)
        assert.equal(0, code)
        assert.equal(0, signal)
        assert.is_true(h.loop.now() - start < 1)
      end)
    end)
  end

  it("accepts no new stream as a server, and keeps the old one", function()
    h.run(function()
      local client, server, conn = open_one()
      server:signal_with("sigterm")
      local late
      h.loop.eventually("a new stream to be turned away", 3, function()
        late = h.sockets.connect(client.at)
        if not late then return true end
        late:send("late")
        local ok, chunk = pcall(late.recv, late, 1)
        return ok and not chunk
      end)
      assert.is_falsy(server.exited)
      conn:send("after")
      assert.equal("after", conn:recv_exactly(5, 2))
    end)
  end)
end)
