-- Splice: two pipes joined. The pipes are fakes whose other ends the spec plays; time and turns are real.
local link = require "spec_link"

local MS = 1000

describe("a splice", function()
  local w, a, b, s

  before_each(function()
    w = link.new()
    a, b = w:fake(), w:fake()
  end)
  after_each(function() w:free() end)

  local function join(opts) s = w:splice(a, b, opts) end

  --- Runs the loop until fn() is true.
  local function await(fn) assert.is_true(w:run(2000, fn), "it did not come") end
  local function result()
    await(function() return s:result() end)
    return s:result()
  end
  --- Some turns of the loop.
  local function settle()
    local turns = 0
    await(function()
      turns = turns + 1
      return turns > 3
    end)
  end

  it("moves bytes both ways", function()
    join()
    settle()
    a:feed("to b")
    b:feed("to a")
    assert.equal("to b", b:take())
    assert.equal("to a", a:take())
  end)

  it("moves bytes that had arrived before it was made, but not from inside the call that makes it", function()
    a:feed("early")
    a:finish()
    b:finish()
    join()
    assert.is_nil(s:result())
    assert.equal("", b:take())
    assert.same({ 5, 0, "end" }, result())
    assert.equal("early", b:take())
  end)

  it("keeps the order of bytes over many pieces", function()
    join()
    settle()
    local sent = {}
    for i = 1, 500 do
      sent[i] = ("%d:%s;"):format(i, ("x"):rep(i % 97))
      a:feed(sent[i])
    end
    assert.equal(table.concat(sent), b:take())
  end)

  it("holds back a source whose destination is full, and continues when there is room", function()
    b = w:fake(100)
    join()
    settle()
    local text = ("0123456789"):rep(50)
    a:feed(text)
    assert.same({ 400, 100 }, { a:waiting(), (select(2, b:waiting())) })
    local got = b:take(30)
    assert.same({ 370, 100 }, { a:waiting(), (select(2, b:waiting())) })
    repeat
      local piece = b:take()
      got = got .. piece
    until piece == ""
    assert.equal(text, got)
    assert.equal(0, (a:waiting()))
  end)

  it("does not let a full direction hold up the other", function()
    a, b = w:fake(10), w:fake(10)
    join()
    settle()
    a:feed(("x"):rep(100))
    b:feed("answer")
    assert.equal("answer", a:take())
  end)

  it("carries the end of a direction over once all before it was moved, and then the other's", function()
    b = w:fake(10)
    join()
    settle()
    a:feed(("x"):rep(25))
    a:finish()
    assert.is_false(b:shut())
    b:take()
    b:take()
    assert.is_true(b:shut())
    b:take()
    assert.is_nil(b:ended())
    b:feed("still here")
    assert.equal("still here", a:take())
    b:finish()
    assert.same({ 25, 10, "end" }, result())
    assert.same({ "closed", "closed" }, { a:ended(), b:ended() })
  end)

  it("reports how long it took", function()
    join()
    a:finish()
    b:finish()
    assert.same({ 0, 0, "end" }, result())
  end)

  describe("with one side that cannot half-close", function()
    before_each(function() b:half_close(false) end)

    it("ends at once without linger", function()
      join { linger_us = 0 }
      settle()
      a:feed("request")
      a:finish()
      assert.same({ 7, 0, "end" }, result())
      assert.same({ "closed", "closed" }, { a:ended(), b:ended() })
      assert.equal("request", b:take())
    end)

    it("waits for the answer until it was quiet for the linger", function()
      join { linger_us = 300 * MS }
      settle()
      a:finish()
      local fed, last = 0, w:now()
      await(function() -- an answer that trickles for longer than the linger
        if w:now() - last >= 60 * MS then
          last = w:now()
          b:feed("x")
          fed = fed + 1
        end
        return fed == 8
      end)
      assert.is_nil(s:result())
      assert.same({ 0, 8, "end" }, result())
      assert.is_true(w:now() - last >= 300 * MS)
      assert.equal("xxxxxxxx", a:take())
    end)

    it("does not wait for the linger's end when the answer ends by itself", function()
      join { linger_us = 60000 * MS }
      settle()
      a:finish()
      b:feed("answer")
      b:finish()
      assert.same({ 0, 6, "end" }, result())
    end)

    it("continues beyond the linger if the peer turns out to support half-close", function()
      join { linger_us = 20 * MS }
      settle()
      a:finish()
      b:half_close(true)
      local start = w:now()
      await(function() return w:now() - start > 80 * MS end)
      assert.is_nil(s:result())
      b:feed("late")
      b:finish()
      assert.same({ 0, 4, "end" }, result())
      assert.equal("late", a:take())
    end)

    it("does not linger towards the side that can half-close", function()
      join()
      settle()
      b:finish()
      settle()
      assert.is_nil(s:result())
      assert.is_true(a:shut())
    end)
  end)

  describe("with one side gone", function()
    it("delivers the bytes that came from there, and ends", function()
      a = w:fake(10)
      join()
      settle()
      b:feed(("y"):rep(25))
      b:finish(true)
      settle()
      assert.is_nil(s:result())
      assert.equal(("y"):rep(10), a:take())
      assert.equal(("y"):rep(10), a:take())
      assert.same({ 0, 25, "end" }, result())
      assert.equal(("y"):rep(5), a:take())
    end)

    it("does so even while the other side still writes to it, and it cannot half-close", function()
      a = w:fake(10)
      b:half_close(false)
      join()
      settle()
      b:feed(("y"):rep(25))
      b:finish(true)
      a:feed("into the void")
      settle()
      assert.is_nil(s:result())
      a:take()
      a:take()
      assert.same({ 0, 25, "end" }, result())
      assert.equal(("y"):rep(5), a:take())
    end)

    it("does so also when the other side has finished", function()
      a = w:fake(10)
      b:half_close(false)
      join()
      settle()
      b:feed(("y"):rep(25))
      b:finish(true)
      a:finish()
      settle()
      assert.is_nil(s:result())
      a:take()
      a:take()
      assert.same({ 0, 25, "end" }, result())
    end)

    it("wakes a writer that waited for it", function()
      b = w:fake(10)
      join()
      settle()
      a:feed(("x"):rep(25))
      b:finish(true)
      assert.same({ 10, 0, "end" }, result())
    end)

    it("ends when it had broken before anyone listened", function()
      b:feed("last words")
      b:break_off "dead"
      join()
      assert.same({ 0, 10, "reset" }, result())
      assert.equal("last words", a:take())
    end)
  end)

  describe("with one side broken", function()
    it("delivers what came before, then cuts the other", function()
      join()
      settle()
      b:feed("413 Too Large")
      b:break_off "reset"
      assert.same({ 0, 13, "reset" }, result())
      assert.same({ "cut reset", "reset reset" }, { a:ended(), b:ended() })
      assert.equal("413 Too Large", a:take())
    end)

    it("cuts the other with the reason that the far side gave, and reports it", function()
      join()
      settle()
      b:feed("half of it")
      b:break_off("reset", "refused", "db:5432: connection refused")
      local sum, code, text = result()
      assert.same({ 0, 10, "reset" }, sum)
      assert.same({ "refused", "db:5432: connection refused" }, { code, text })
      assert.same({ "cut refused", "db:5432: connection refused" }, { a:ended() })
      assert.equal("half of it", a:take())
    end)

    it("delivers all of it, even to a slow destination", function()
      a = w:fake(10)
      join()
      settle()
      b:feed(("y"):rep(25))
      b:break_off "dead"
      settle()
      assert.is_nil(s:result())
      a:take()
      a:take()
      assert.same({ 0, 25, "dead" }, result())
      assert.equal(("y"):rep(5), a:take())
    end)

    it("does not wait for data from the other", function()
      join()
      settle()
      a:break_off "reset"
      assert.same({ 0, 0, "reset" }, result())
      assert.equal("cut reset", b:ended())
    end)

    it("gives the rest up when the other breaks too", function()
      a = w:fake(10)
      join()
      settle()
      b:feed(("y"):rep(25))
      b:break_off "dead"
      a:break_off "reset"
      assert.same({ 0, 10, "dead" }, result())
    end)

    it("gives the rest up when the other is gone", function()
      a = w:fake(10)
      join()
      settle()
      b:feed(("y"):rep(25))
      b:break_off "dead"
      a:finish(true)
      assert.same({ 0, 10, "dead" }, result())
    end)

    it("gives the rest up at the idle limit", function()
      a = w:fake(10)
      join { idle_us = 300 * MS }
      settle()
      b:feed(("y"):rep(25))
      b:break_off "dead"
      assert.same({ 0, 10, "idle" }, result())
      assert.truthy(a:ended())
      assert.truthy(b:ended())
    end)

    it("says so although its own direction had ended", function()
      join()
      settle()
      b:finish()
      b:break_off "reset"
      assert.same({ 0, 0, "reset" }, result())
    end)
  end)

  it("ends when nothing moved for the idle limit, and resets both", function()
    local start = w:now()
    join { idle_us = 50 * MS }
    assert.same({ 0, 0, "idle" }, result())
    assert.is_true(w:now() - start >= 50 * MS)
    assert.same({ "reset idle", "reset idle" }, { a:ended(), b:ended() })
  end)

  it("is not idle while anything moves", function()
    join { idle_us = 400 * MS }
    settle()
    local start, last, n = w:now(), w:now(), 0
    await(function()
      if w:now() - last >= 50 * MS then
        last = w:now()
        n = n + 1;
        (n % 2 == 0 and a or b):feed("x")
      end
      return w:now() - start > 900 * MS
    end)
    assert.is_nil(s:result())
    assert.equal("idle", result()[3])
  end)

  it("can be cancelled: both are reset, and done does not come", function()
    join { idle_us = 300 * MS }
    settle()
    s:cancel()
    assert.same({ "reset canceled", "reset canceled" }, { a:ended(), b:ended() })
    local start = w:now()
    await(function() return w:now() - start > 400 * MS end)
    assert.is_nil(s:result())
  end)

  it("can be cancelled in the turn in which it ended", function()
    join()
    settle()
    a:break_off "reset"
    s:cancel()
    settle()
    assert.is_nil(s:result())
    assert.same({ "reset canceled", "reset canceled" }, { a:ended(), b:ended() })
  end)

  it("can be cancelled before its first turn", function()
    a:feed("x")
    join()
    s:cancel()
    settle()
    assert.is_nil(s:result())
    assert.equal("", b:take())
  end)

  it("ends after the total, even while bytes move, and resets both", function()
    local start, last = w:now(), w:now()
    join { idle_us = 10000 * MS, total_us = 100 * MS }
    await(function()
      if w:now() - last >= 10 * MS then
        last = w:now()
        a:feed("x")
      end
      return s:result()
    end)
    assert.equal("total", result()[3])
    assert.is_true(w:now() - start >= 100 * MS)
    assert.same({ "reset total", "reset total" }, { a:ended(), b:ended() })
  end)

  describe("with a rate", function()
    it("limits each direction to its own, and leaves the rest at the source", function()
      join { rate_ab = 100000, rate_ba = 400000 }
      settle()
      a:feed(("x"):rep(1 << 20))
      b:feed(("y"):rep(1 << 20))
      local start = w:now()
      local n, m = 0, 0
      await(function()
        n, m = n + #b:take(), m + #a:take()
        return w:now() - start > 1000 * MS
      end)
      local seconds = (w:now() - start) / 1e6
      assert.is_true(n <= 100000 * seconds + 100000 / 8 + 1000, n)
      assert.is_true(n >= 100000 * seconds * 0.7, n)
      assert.is_true(m <= 400000 * seconds + 400000 / 8 + 1000, m)
      assert.is_true(m >= 400000 * seconds * 0.7, m)
      assert.equal((1 << 20) - n, a:waiting() + select(2, b:waiting()))
    end)

    it("has the end follow the last byte", function()
      join { rate_ab = 100000 }
      settle()
      a:feed(("x"):rep(30000))
      a:finish()
      b:finish()
      assert.is_false(b:shut())
      assert.same({ 30000, 0, "end" }, result())
      assert.equal(30000, #b:take())
    end)

    it("has what came before a break follow at once", function()
      join { rate_ab = 1000 }
      settle()
      a:feed(("x"):rep(100000))
      a:break_off "reset"
      assert.same({ 100000, 0, "reset" }, result())
    end)
  end)

  describe("with limits of a pipe", function()
    --- Bytes that reach `pipe`, which accepts everything at once, within the given time.
    local function taken(pipe, ms)
      local start, n = w:now(), 0
      await(function()
        n = n + #pipe:take()
        return w:now() - start > ms * MS
      end)
      return n, (w:now() - start) / 1e6
    end

    for pipe, rate in pairs { a = "rate_in", b = "rate_out" } do
      it("moves no more than the " .. rate .. " of " .. pipe .. ", and follows its changes at once", function()
        join()
        settle()
        s:limit(pipe, { [rate] = 1 })
        a:feed(("x"):rep(200000))
        assert.is_true(taken(b, 60) <= 1024)
        s:limit(pipe, {})
        assert.is_true(taken(b, 60) >= 200000 - 1024)
        s:limit(pipe, { [rate] = 50000 })
        a:feed(("x"):rep(200000))
        local n, seconds = taken(b, 300)
        assert.is_true(n > 0 and n <= 50000 * seconds + 50000 / 8 + 1000, n)
      end)
    end

    it("lets the other direction alone", function()
      join()
      settle()
      s:limit("a", { rate_in = 1 })
      s:limit("b", { rate_out = 1 })
      b:feed(("y"):rep(100000))
      assert.equal(100000, #a:take())
    end)

    it("applies the lowest of all rates", function()
      join { rate_ab = 400000 }
      settle()
      s:limit("a", { rate_in = 200000 })
      s:limit("b", { rate_out = 100000 })
      a:feed(("x"):rep(1 << 20))
      local n, seconds = taken(b, 1000)
      assert.is_true(n <= 100000 * seconds + 100000 / 8 + 1000, n)
      assert.is_true(n >= 100000 * seconds * 0.7, n)
    end)

    it("has what came before a break follow at once, whatever the rate of the pipe that broke", function()
      join()
      settle()
      s:limit("a", { rate_in = 1 })
      a:feed(("x"):rep(100000))
      a:break_off "reset"
      assert.same({ 100000, 0, "reset" }, result())
    end)

    it("keeps to the destination's rate even after the source broke", function()
      join()
      settle()
      s:limit("b", { rate_out = 100000 })
      a:feed(("x"):rep(40000))
      a:break_off "reset"
      settle()
      assert.is_true(#b:take() <= 13000 + 1000)
      assert.same({ 40000, 0, "reset" }, result())
    end)

    for _, pipe in ipairs { "a", "b" } do
      for term, code in pairs { idle_us = "idle", total_us = "total" } do
        it("resets " .. pipe .. " and cuts the other when its " .. code .. " time is up", function()
          join { idle_us = 10000 * MS }
          settle()
          s:limit(pipe, { [term] = 30 * MS })
          assert.equal(code, result()[3])
          local own, other = pipe == "a" and a or b, pipe == "a" and b or a
          assert.equal("reset " .. code, own:ended())
          assert.equal("cut " .. code, (other:ended()))
        end)
      end
    end

    it("puts a pipe's idle time off with every byte, in either direction", function()
      join()
      settle()
      local start, last, n = w:now(), w:now(), 0
      s:limit("b", { idle_us = 100 * MS })
      await(function()
        if n < 30 and w:now() - last >= 10 * MS then
          last, n = w:now(), n + 1
          if n % 2 == 0 then a:feed "x" else b:feed "y" end
        end
        return s:result()
      end)
      assert.equal("idle", result()[3])
      assert.is_true(w:now() - start >= 300 * MS + 100 * MS)
    end)

    it("ends at once when a total is set that has passed", function()
      join { total_us = 10000 * MS }
      settle()
      s:limit("a", { total_us = 1 })
      assert.equal("total", result()[3])
    end)
  end)
end)
