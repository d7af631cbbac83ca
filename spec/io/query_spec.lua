-- Asking for records of names with io/uv: what scripts cannot show. The name server is a socket of the same loop.
local message = require "dns_message"
local spec_io = require "spec_io"

local A, SRV = message.types.A, message.types.SRV

describe("asking for records", function()
  local io, zone, socket, asked

  before_each(function()
    io, zone, asked = spec_io.new(), {}, 0
    socket = assert(io:udp({ bind = "127.0.0.1:0" }, { batch = function(dgrams)
      for _, d in ipairs(dgrams) do
        asked = asked + 1
        local answer = message.respond(zone, message.question(d[1]), "udp")
        if answer then socket:send(answer, d[2]) end
      end
    end }))
  end)
  after_each(function() io:free() end)

  local function query(name, kind, fn, server) return io:query(name, kind, { server or socket:addr() }, fn) end
  local function never() error "it was cancelled" end

  local function outcome(...)
    local result
    local args = { ... }
    assert(query(args[1], args[2], function(...)
      assert.is_nil(result)
      result = table.pack(...)
      io:stop()
    end, args[3]))
    assert.is_nil(result) -- from the loop, never at once
    assert.is_true(io:run(20000))
    return table.unpack(result, 1, result.n)
  end

  it("gives them from the loop", function()
    zone["a.test"] = { A = { "192.0.2.1" }, ttl = 9, SRV = { { target = "b.test", port = 1, weight = 2, priority = 3 } } }
    assert.same({ "192.0.2.1 9" }, (outcome("a.test", A)))
    assert.same({ "b.test:1 3 2 9" }, (outcome("a.test", SRV)))
    assert.same({ nil, "name", "gone.test: no such name" }, { outcome("gone.test", A) })
  end)

  it("speaks IPv6 with a server", function()
    local six
    six = assert(io:udp({ bind = "[::1]:0" }, { batch = function(dgrams)
      for _, d in ipairs(dgrams) do six:send(message.respond(zone, message.question(d[1]), "udp"), d[2]) end
    end }))
    zone["a.test"] = { AAAA = { "2001:db8::1", "::" } }
    assert.same({ "2001:db8::1 300", ":: 300" }, (outcome("a.test", message.types.AAAA, six:addr())))
  end)

  it("refuses an invalid name, an invalid type and too many servers at once", function()
    assert.same({ nil, "name", '"a..b": invalid name; a label between dots is empty' }, { query("a..b", A, never) })
    assert.same({ nil, "invalid", "unknown record type; expected A, AAAA or SRV" }, { query("a.test", 255, never) })
    local servers = {}
    for i = 1, 9 do servers[i] = "127.0.0." .. i end
    assert.same({ nil, "limit", "9 name servers; at most 8 are allowed" }, { io:query("a.test", A, servers, never) })
    assert.equal(0, asked)
  end)

  it("may be cancelled at any stage, without a callback", function()
    zone["a.test"] = { A = { "192.0.2.1" } }
    zone["silent.test"] = { silent = true }
    for i = 1, 30 do
      local one = assert(query(i % 3 == 0 and "silent.test" or "a.test", A, never))
      local other = i % 2 == 0 and assert(query("a.test", A, function() end))
      if i % 5 == 0 then
        io:turn(function() one:close() end)
        io:run(5)
      else
        one:close()
      end
      if other then
        io:run(1)
        other:close()
      end
    end
    io:run(20)
  end)

  it("may be cancelled, and begun, in the callback of another", function()
    zone["a.test"] = { A = { "192.0.2.1" } }
    zone["silent.test"] = { silent = true }
    local silent, twin, first
    silent = assert(query("silent.test", A, never))
    local done = 0
    local function finish()
      done = done + 1
      if done == 2 then io:stop() end
    end
    local function take(mine, other)
      return function()
        silent:close()
        other():close() -- it may have been answered in the same turn
        assert(query("a.test", A, finish))
        finish()
        return mine
      end
    end
    first = assert(query("a.test", A, take(1, function() return twin end)))
    twin = assert(query("a.test", A, take(2, function() return first end)))
    assert.is_true(io:run(5000))
    assert.equal(2, done)
  end)

  it("may be pending when the io is freed, which does not wait", function()
    zone["silent.test"] = { silent = true }
    for _ = 1, 20 do query("silent.test", A, never) end
    query("silent.test", A, function() end, "192.0.2.1") -- fails at once without a network
    io:run(20)
    local old, before = io, io:clock()
    io = spec_io.new()
    old:free()
    assert.is_true(io:clock() - before < 500000)
  end)

  it("costs no wakeup while none is pending", function()
    zone["a.test"] = { A = { "192.0.2.1" } }
    zone["silent.test"] = { silent = true }
    assert(outcome("a.test", A))
    local q = query("silent.test", A, never)
    io:run(20)
    q:close()
    io:run(20)
    local before = spec_io.sleeps()
    io:run(2500)
    assert.is_true(spec_io.sleeps() - before <= 3, "woke " .. spec_io.sleeps() - before .. " times")
  end)

  it("leaves no descriptors behind", function()
    zone["a.test"] = { A = { "192.0.2.1" } }
    zone["silent.test"] = { silent = true }
    outcome("a.test", A)
    io:run(5)
    local before = spec_io.next_fd()
    for i = 1, 20 do
      outcome("a.test", A)
      local q = query("silent.test", A, never, i % 2 == 0 and socket:addr() or nil)
      io:run(1)
      q:close()
    end
    io:run(20)
    assert.equal(before, spec_io.next_fd())
  end)

  it("limits the number of servers asked at once", function()
    zone["silent.test"] = { silent = true }
    local list, refused = {}, nil
    for i = 1, 33 do
      local q, name, text = query("silent.test", A, never, "127.0.1." .. i)
      list[#list + 1] = q
      refused = refused or not q and { i, name, text }
    end
    assert.same({ 33, "limit", "silent.test: too many different lists of name servers in use; try again later" }, refused)
    for _, q in ipairs(list) do q:close() end
    assert(query("silent.test", A, never, "127.0.1.33")):close()
  end)

  it("ends by itself without any answer", function()
    zone["silent.test"] = { silent = true }
    assert.same({ nil, "timeout", "silent.test: no name server answers" }, { outcome("silent.test", A) })
    assert.equal(4, asked)
  end)
end)
