-- smux: the life of a stream, what callbacks may do, the end of a session.
local smux = require "spec_smux"
local ends = require "smux_ends"

local SYN, FIN, PSH = ends.SYN, ends.FIN, ends.PSH
local frame, upd = ends.frame, ends.upd

local pool

local function client(settings) return ends.client(pool, settings) end
local function server(settings) return ends.new(pool, settings or {}) end
local function serving(settings) return ends.serving(pool, settings) end

before_each(function() pool = smux.pool(1024) end)
after_each(function() collectgarbage() end)

describe("smux streams", function()
  it("report arrivals once a batch, and no old data", function()
    local e, s = serving()
    e.m:input(frame(2, PSH, 3, "a") .. frame(2, PSH, 3, "b"))
    assert.same({}, e:heard())
    e.m:dispatch()
    assert.same({ "readable 3" }, e:heard())
    e.m:dispatch()
    assert.same({}, e:heard())
    assert.equal("ab", s:peek())
    assert.equal("ab", s:read())
  end)

  it("keep data that arrives before a listener is set", function()
    local e = server()
    e.on_accept = function() end
    e:hear(frame(2, SYN, 3), frame(2, PSH, 3, "early"))
    assert.same({ "accept 3" }, e:heard())
    e:watch(e.accepted[1])
    assert.equal("early", e.accepted[1]:read())
  end)

  it("ignore a second SYN for a live id", function()
    local e = serving()
    e:hear(frame(2, SYN, 3))
    assert.same({}, e:heard())
    assert.equal(1, e.m:streams())
  end)

  it("that are unknown have their frames dropped", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 99, ("x"):rep(3000)), frame(2, FIN, 99), upd(99, 7, 7), frame(2, PSH, 3, "mine"))
    assert.equal("mine", s:read())
    assert.equal(0, e.m:buffered())
    assert.equal(1, e.m:streams())
  end)

  it("are refused with FIN without an accept callback", function()
    local c = client { refuse = true }
    c:hear(frame(2, SYN, 2), frame(2, PSH, 2, "hello"))
    assert.same({ "FIN 2" }, c:said())
    assert.equal(0, c.m:streams())
    assert.equal(0, c.m:buffered())
  end)

  it("accept no more than their send buffer and signal when there is room", function()
    local full = true
    local c = client { room = function(want) return full and 0 or math.max(want, 1) end }
    local s = c:open()
    assert.equal(131072, s:write(("x"):rep(140000)))
    assert.equal(0, s:write "x")
    c:pump()
    assert.same({}, c:heard())
    full = false
    c:pump()
    c.m:settled(c.m:mark())
    c:pump()
    assert.same({ "writable 3" }, c:heard())
    assert.equal(131072, s:write(("x"):rep(131072)))
    c:pump()
    assert.same({}, c:heard())
  end)

  it("read to the end after the peer's FIN, and are gone for writing", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 3, "last"), frame(2, FIN, 3))
    assert.same({ "readable 3" }, e:heard())
    assert.is_false(s:eof())
    assert.is_true(s:gone())
    assert.equal(0, s:write "x")
    assert.equal("last", s:read())
    assert.is_true(s:eof())
    e:pump()
    assert.same({}, e:heard())
    s:close()
    assert.same({ "FIN 3" }, e:said())
    assert.equal(0, e.m:streams())
  end)

  it("report data made undeliverable by the peer's FIN, once all was read", function()
    local e, s = serving { room = function(want) return want == 0 and 1 or 0 end }
    s:write "too late"
    e:hear(frame(2, PSH, 3, "last"), frame(2, FIN, 3))
    assert.same({ "readable 3" }, e:heard())
    assert.equal("last", s:read())
    e:pump()
    assert.same({ "closed 3 reset" }, e:heard())
    e:pump()
    assert.same({}, e:heard())
  end)

  it("tell a writer that waits of the peer's FIN", function()
    local e, s = serving()
    e:hear(upd(3, 0, 0))
    assert.equal(131072, s:write(("x"):rep(131073)))
    e:pump()
    e:hear(frame(2, FIN, 3))
    assert.same({ "readable 3", "writable 3", "closed 3 reset" }, e:heard())
    assert.equal(0, pool:in_use())
  end)

  it("drop data that comes after close, without charging the session", function()
    local e, s = serving()
    s:close()
    assert.same({ "FIN 3" }, e:said())
    e:hear(frame(2, PSH, 3, "late"), frame(2, FIN, 3))
    assert.equal(0, e.m:buffered())
    assert.equal(0, pool:in_use())
    assert.same({}, e:heard())
  end)

  it("release unread data when they are closed", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 3, ("x"):rep(5000)))
    assert.equal(5000, e.m:buffered())
    s:close()
    assert.equal(0, e.m:buffered())
    assert.equal(0, pool:in_use())
  end)

  it("credit data dropped while closing, so that the peer can continue", function()
    local e, s = serving { stream_buffer = 1000 }
    e:hear(upd(3, 0, 0))
    s:write "stuck"
    s:close()
    e:hear(frame(2, PSH, 3, ("x"):rep(600)))
    assert.same({ "UPD 3 600/1000" }, e:said())
    e:hear(upd(3, 0, 1000))
    assert.same({ "PSH 3 stuck", "FIN 3" }, e:said())
  end)

  it("count until their FIN has left", function()
    local full = false
    local e = server { room = function(want) return full and 0 or math.max(want, 1) end }
    e:hear(frame(2, SYN, 3), frame(2, SYN, 5))
    assert.equal(2, e.count)
    full = true
    e.accepted[1]:close()
    e:pump()
    assert.equal(2, e.count)
    full = false
    e:pump()
    assert.equal(1, e.count)
    e.accepted[2]:reset()
    e:pump()
    assert.equal(0, e.count)
    assert.is_true(e.m:idle())
  end)

  for first = 1, 3 do
    for second = 1, 3 do
      if second ~= first then
        it(("can be closed in the order %d, %d, %d"):format(first, second, 6 - first - second), function()
          local c, e = client(), server()
          local streams = { c:open(), c:open(), c:open() }
          for i, s in ipairs(streams) do s:write(("x"):rep(i * 2000)) end
          ends.exchange(c, e)
          for _, i in ipairs { first, second, 6 - first - second } do
            streams[i]:close()
            ends.exchange(c, e)
            e.accepted[i]:close()
            ends.exchange(c, e)
          end
          c.m:settled(c.m:mark())
          assert.equal(0, c.m:streams())
          assert.equal(0, e.m:streams())
          assert.equal(0, pool:in_use())
        end)
      end
    end
  end
end)

describe("smux callbacks", function()
  it("may close their own stream", function()
    local e = server()
    e.on_accept = function(s) s:listen { readable = function() s:close() end } end
    e:hear(frame(2, SYN, 3), frame(2, PSH, 3, "x"), frame(2, FIN, 3))
    assert.same({ "FIN 3" }, e:said())
    assert.equal(0, pool:in_use())
  end)

  it("may close another stream that has events due", function()
    local e = server()
    local calls = 0
    e.on_accept = function(s)
      s:listen { readable = function()
        calls = calls + 1
        for _, other in ipairs(e.accepted) do
          if other ~= s then other:reset() end
        end
      end }
    end
    e:hear(frame(2, SYN, 3), frame(2, SYN, 5))
    e:hear(frame(2, PSH, 3, "x"), frame(2, PSH, 5, "x"))
    assert.equal(1, calls)
  end)

  it("may open streams, pump and dispatch", function()
    local e = server()
    e.on_accept = function()
      e:open():write "hi"
      e.m:pump()
      e.m:dispatch()
    end
    e:hear(frame(2, SYN, 3), frame(2, SYN, 5))
    assert.same({ "SYN 2", "PSH 2 hi", "SYN 4", "PSH 4 hi" }, e:said())
  end)

  for _, event in ipairs { "readable", "writable", "closed" } do
    it(("may free the smux from %s, and the others hear of it"):format(event), function()
      local e = server()
      local heard = {}
      e.on_accept = function(s)
        local function free()
          if e.freed then return end
          e.freed = true
          e.m:free()
        end
        s:listen {
          readable = event == "readable" and free or nil,
          writable = event == "writable" and free or nil,
          closed = function(code)
            heard[#heard + 1] = s:id() .. " " .. code
            if event == "closed" then free() end
          end,
        }
      end
      e:hear(frame(2, SYN, 3), frame(2, SYN, 5), frame(2, SYN, 7))
      if event == "writable" then
        e.accepted[1]:write(("x"):rep(131073))
        e.m:pump()
      elseif event == "closed" then
        e:hear(upd(3, 1, 1)) -- more than was sent
      else
        e:hear(frame(2, PSH, 3, "x"))
      end
      table.sort(heard)
      assert.same({ event == "closed" and "3 protocol" or "3 dead", "5 dead", "7 dead" }, heard)
      for _, s in ipairs(e.accepted) do s:close() end
      assert.equal(0, pool:in_use())
    end)
  end

  it("may free the smux from accept, with streams not handed out yet", function()
    local e = server()
    e.on_accept = function() e.m:free() end
    e.m:input(frame(2, SYN, 3) .. frame(2, SYN, 5) .. frame(2, PSH, 5, "x"))
    e.m:dispatch()
    assert.same({ "accept 3" }, e:heard())
    e.accepted[1]:close()
    assert.equal(0, pool:in_use())
  end)
end)

describe("a smux that is freed", function()
  it("breaks its streams with the code, but keeps the data that had arrived", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 3, "keep"))
    e:heard()
    e.m:free()
    assert.same({ "closed 3 dead" }, e:heard())
    assert.equal(0, s:write "x")
    assert.equal("keep", s:read())
    assert.is_false(s:eof())
    s:close()
    assert.equal(0, pool:in_use())
  end)

  it("reports arrivals before the end", function()
    local e = serving()
    e.m:input(frame(2, PSH, 3, "keep"))
    e.m:free()
    assert.same({ "readable 3", "closed 3 dead" }, e:heard())
  end)

  it("makes no callback to streams that the peer had ended", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 3, "all"), frame(2, FIN, 3))
    e:heard()
    e.m:free()
    assert.same({}, e:heard())
    assert.equal("all", s:read())
    assert.is_true(s:eof())
  end)

  it("appears as gone to a late listener", function()
    local e = server()
    e.on_accept = function() end
    e:hear(frame(2, SYN, 3))
    local s = e.accepted[1]
    assert.is_false(s:gone())
    e.m:free()
    assert.is_true(s:gone())
  end)

  it("drops unsent data of all streams, closed ones included", function()
    local c = client { room = function() return 0 end }
    local a, b = c:open(), c:open()
    a:write(("x"):rep(9000))
    b:write(("x"):rep(9000))
    a:close()
    c.m:free()
    assert.equal(0, pool:in_use())
    b:close()
  end)
end)
