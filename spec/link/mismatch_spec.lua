-- Two kts with different settings: no noise may reach the target, and the logs name the setting to check,
-- in a few lines even if the client keeps trying.
local h = require "harness"

local function count(text, pattern) return select(2, text:gsub(pattern, "")) end

--- Returns the lines that a process has logged at WARN or ERROR, and their number.
local function complaints(p)
  local lines = {}
  for line in p:logged():gmatch "[^\n]+" do
    if line:find " warn " or line:find " error " then lines[#lines + 1] = line end
  end
  return #lines, table.concat(lines, "\n")
end

--- A target that must not receive a byte: received bytes are in `got`.
local function listening()
  local target
  target = h.sockets.serve(function(conn)
    local chunk = conn:recv(600)
    while chunk do
      target.got = target.got .. chunk
      chunk = conn:recv(600)
    end
  end)
  target.got = ""
  return target
end

--- A tunnel with the options in `only`, and one connection into it that sends hello. Returns client, server, target, conn.
local function mismatched(only, both)
  local target = listening()
  both = both or {}
  both.key = both.key or "the same on both ends"
  both.wire = "kcptun" -- on kt's there is nothing to set alike but the key
  both.deadpeer = both.deadpeer or 1 -- give up sooner on a peer that does not understand
  local client, server = h.peer.tunnel(target.at, both, only)
  local conn = h.sockets.connect(client.at)
  if conn then conn:send("hello?") end
  return client, server, target, conn
end

--- The application sees a reset, not an end that looks like a complete answer.
local function is_reset(conn, seconds)
  if not conn then return end -- the ends knew before it came
  local chunk, err = conn:recv(seconds)
  assert.is_nil(chunk, "noise came through: " .. tostring(chunk))
  assert.equal("ECONNRESET", err)
end

-- The client learns it at once: neither its patience nor a heartbeat ends the wait.
local PATIENT = { deadpeer = 30 }

describe("two kts that differ", function()
  after_each(h.cleanup)

  it("in nocomp, the server's end without compression: it names nocomp and the application is reset", function()
    h.run(function()
      local client, server, target, conn = mismatched({ server = { nocomp = true } }, PATIENT)
      server:expect("set nocomp the same on both ends")
      is_reset(conn, 5)
      client:expect("nocomp")
      assert.equal("", target.got)
    end)
  end)

  it("in nocomp, the client's end without compression: the application is reset and both logs hint at it", function()
    h.run(function()
      local client, server, target, conn = mismatched({ client = { nocomp = true } }, PATIENT)
      server:expect("nocomp")
      is_reset(conn, 5)
      client:expect("nocomp")
      assert.equal("", target.got)
    end)
  end)

  for _, versions in ipairs { { 1, 2 }, { 2, 1 } } do
    it(("in smuxver, client %d and server %d: both logs name it and the application is reset"):format(versions[1], versions[2]),
      function()
        h.run(function()
          local client, server, target, conn = mismatched({ client = { smuxver = versions[1] }, server = { smuxver = versions[2] } }, PATIENT)
          server:expect("set smuxver the same on both ends")
          is_reset(conn, 5)
          client:expect("set smuxver the same on both ends")
          assert.equal("", target.got)
        end)
      end)
  end

  local qpp = {
    { "QPP on the client only", { client = { QPP = true } }, "QPP is off here but on at the client", "QPP is on here but off at the server" },
    { "QPP on the server only", { server = { QPP = true } }, "QPP is on here but off at the client", "QPP is off here but on at the server" },
    { "QPPCount", { client = { QPP = true, QPPCount = 61 }, server = { QPP = true, QPPCount = 67 } },
      "QPPCount differs at the client", "QPPCount differs at the server" },
  }
  for _, case in ipairs(qpp) do
    it("in " .. case[1] .. ": both logs say it and the target is given nothing", function()
      h.run(function()
        local client, server, target, conn = mismatched(case[2])
        -- each log says what the other end has
        server:expect(case[3] .. "[^\n]*set it the same on both ends")
        client:expect(case[4] .. "[^\n]*set it the same on both ends")
        if conn then assert.is_nil((conn:recv(15))) end
        assert.equal(0, target.accepted)
      end)
    end)
  end

  for _, setting in ipairs { { "key", "one", "another" }, { "crypt", "aes", "salsa20" } } do
    it("in " .. setting[1] .. ": the server says once that nothing authenticates, the client that nothing came back", function()
      h.run(function()
        local client, server, target, conn = mismatched {
          client = { [setting[1]] = setting[2] }, server = { [setting[1]] = setting[3] },
        }
        server:expect("does not authenticate[^\n]*key and crypt")
        client:expect("nothing has ever arrived from it[^\n]*key and crypt", 15)
        is_reset(conn, 15)
        h.loop.eventually("enough datagrams to show that they are not all told of", 10, function()
          local again = h.sockets.connect(client.at)
          again:send("hello again")
          h.loop.sleep(0.1)
          return server:counters().InCsumErrors >= 10
        end)
        assert.equal(1, count(server:logged(), "datagram does not authenticate"))
        assert.equal(0, count(client:logged(), "datagram does not authenticate"))
        assert.equal(0, target.accepted)
      end)
    end)
  end

  -- the title, and the settings that differ
  local noisy = {
    { "nocomp", { server = { nocomp = true } } },
    { "smuxver", { client = { smuxver = 1 } } },
    { "crypt", { client = { crypt = "xor" } } },
  }
  for _, case in ipairs(noisy) do
    it("in " .. case[1] .. ": the server's log stays short while the client keeps trying", function()
      h.run(function()
        local client, server, target = mismatched(case[2])
        server:expect(" warn ", 10)
        local before = server:counters().InBytes
        -- Enough connections for a log without limits to show.
        h.loop.eventually("the client to have gone on", 10, function()
          local conn = h.sockets.connect(client.at)
          if conn then conn:send("hello again") end
          h.loop.sleep(0.1)
          return server:counters().InBytes > before + 5000
        end)
        local lines, said = complaints(server)
        assert.is_true(lines <= 5, lines .. " lines:\n" .. said)
        assert.equal("", target.got)
      end)
    end)
  end

  it("in QPP: each connection is ended at once, and the server's log stays short", function()
    h.run(function()
      local client, server, target, conn = mismatched { client = { QPP = true } }
      server:expect "set it the same on both ends"
      if conn then assert.is_nil((conn:recv(5))) end
      for _ = 1, 20 do
        conn = h.sockets.connect(client.at)
        if conn then
          conn:send("hello again")
          assert.is_nil((conn:recv(2)))
        end
      end
      local lines, said = complaints(server)
      assert.is_true(lines <= 5, lines .. " lines:\n" .. said)
      assert.equal(0, target.accepted)
    end)
  end)
end)
