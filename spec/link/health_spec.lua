-- The health of a peer as a function of facts and times (microseconds).
local link = require "spec_link"

local S = 1000000
local MS = 1000

--- Checks at the requested times, from `from` to `to`, as a session's timer would; returns the answers by time. facts: a table, or a
--- function of the time.
local function follow(h, from, to, facts)
  local now, answers = from, {}
  while true do
    local f = type(facts) == "function" and facts(now) or facts
    local what, code, why = h:check(now, f)
    answers[#answers + 1] = { now, what or code, why }
    local due = h:due()
    if not what or not due or due > to then return answers end
    assert(due > now, "a timer for it would spin")
    now = due
  end
end

local function times_of(answers, what)
  local times = {}
  for _, a in ipairs(answers) do
    if a[2] == what then times[#times + 1] = a[1] end
  end
  return times
end

describe("a peer's health", function()
  local h
  before_each(function()
    h = link.health(5 * S)
    h:heard(100 * S)
  end)

  it("is not checked while nothing is owed, even in a long silence", function()
    assert.equal("ok", h:check(100 * S, { owes = false }))
    assert.is_nil(h:due())
    assert.equal("ok", h:check(1000 * S, { owes = false }))
  end)

  it("ends when an answer has been owed for dead_after and nothing came", function()
    local answers = follow(h, 100 * S, 200 * S, { owes = true, una = 7 })
    assert.same({ 105 * S, "dead", "no answer for 5.0 s" }, answers[#answers])
  end)

  it("is asked about every second while it owes an answer", function()
    local answers = follow(h, 100 * S, 104 * S, { owes = true, una = 7 })
    assert.same({ 101 * S, 102 * S, 103 * S, 104 * S }, times_of(answers, "probe"))
  end)

  it("is asked about at once after a quiet period", function()
    assert.equal("probe", h:check(160 * S, { owes = true }))
  end)

  it("makes it suspect before it is dead, and is asked about meanwhile", function()
    h = link.health(5 * S, 30 * S)
    h:heard(100 * S)
    follow(h, 100 * S, 105 * S - 1, { owes = true, una = 7 })
    assert.is_false(h:suspect())
    follow(h, h:due(), 105 * S, { owes = true, una = 7 })
    assert.is_true(h:suspect())
    local answers = follow(h, 106 * S, 200 * S, { owes = true, una = 7 })
    assert.equal(130 * S, times_of(answers, "dead")[1])
    assert.equal(24, #times_of(answers, "probe"))
  end)

  it("is trusted again as soon as it is heard", function()
    h = link.health(5 * S, 30 * S)
    h:heard(100 * S)
    follow(h, 100 * S, 112 * S, { owes = true, una = 7 })
    assert.is_true(h:suspect())
    h:heard(112 * S + 1)
    assert.truthy(h:check(112 * S + 1, { owes = true, una = 7 }))
    assert.is_false(h:suspect())
  end)

  it("is not suspect before three retransmission timeouts", function()
    h = link.health(1 * S, 30 * S)
    h:heard(100 * S)
    follow(h, 100 * S, 105900 * MS, { owes = true, una = 7, rto = 2 * S })
    assert.is_false(h:suspect())
    follow(h, h:due(), 106 * S, { owes = true, una = 7, rto = 2 * S })
    assert.is_true(h:suspect())
  end)

  it("is not called stuck for a time in which it could not be heard", function()
    h = link.health(5 * S, 30 * S)
    h:heard(100 * S)
    follow(h, 100 * S, 125 * S, { owes = true, una = 7 })
    for now = 125 * S + 1, 139 * S, S do
      h:heard(now)
      assert.truthy(h:check(now, { owes = true, una = 7 }))
      assert.is_false(h:suspect())
    end
  end)

  it("is not trusted again while packets may come from a restarted peer", function()
    h = link.health(5 * S, 30 * S)
    h:heard(100 * S)
    follow(h, 100 * S, 112 * S, { owes = true, una = 7 })
    h:heard(112 * S + 1)
    assert.truthy(h:check(112 * S + 1, { owes = true, una = 7, behind = 1, since = 112 * S + 1, srtt = 80 * MS }))
    assert.is_true(h:suspect())
  end)

  it("makes one suspect that acknowledges nothing for three times as long", function()
    h = link.health(5 * S, 30 * S)
    local suspect_at, dead_at
    for now = 100 * S, 200 * S, S // 2 do
      h:heard(now)
      local what = h:check(now, { owes = true, una = 7 })
      suspect_at = suspect_at or h:suspect() and now
      dead_at = dead_at or not what and now
    end
    assert.same({ 115 * S, 130 * S }, { suspect_at, dead_at })
  end)

  it("counts dead_after from when the answer began to be owed", function()
    h:check(100 * S, { owes = false })
    local answers = follow(h, 160 * S, 200 * S, { owes = true })
    assert.equal(165 * S, times_of(answers, "dead")[1])
  end)

  it("restarts dead_after whenever it is heard", function()
    follow(h, 100 * S, 104 * S, { owes = true, una = 1 })
    h:heard(104 * S + 1)
    local answers = follow(h, 104 * S + 1, 200 * S, { owes = true, una = 2 })
    assert.equal(109 * S + 1, times_of(answers, "dead")[1])
  end)

  it("of one that only answers our heartbeat is not doubted, at any interval", function()
    for _, seconds in ipairs { 1, 10, 20, 30 } do
      h = link.health(1 * S)
      local una, now = 0, 100 * S
      for _ = 1, 20 do
        assert.truthy(h:check(now, { owes = true, una = una }))
        h:heard(now + 80 * MS)
        una = una + 1
        assert.equal("ok", h:check(now + 80 * MS, { owes = false, una = una }))
        assert.is_nil(h:due())
        now = now + seconds * S
      end
    end
  end)

  it("of one that owes nothing and sends a heartbeat every 10 s is not doubted", function()
    for now = 100, 400, 10 do
      h:heard(now * S)
      assert.equal("ok", h:check(now * S, { owes = false, una = 3 }))
    end
  end)

  it("ends when it is heard but acknowledges nothing for three times dead_after", function()
    local now, last = 100 * S
    repeat
      h:heard(now)
      last = { h:check(now, { owes = true, una = 7 }) }
      now = now + S // 2
    until not last[1] or now > 200 * S
    assert.equal("dead", last[2])
    assert.equal("it has acknowledged nothing for 15.0 s", last[3])
  end)

  it("is not doubted for acknowledging nothing while its window is closed", function()
    for now = 100, 200 do
      h:heard(now * S)
      assert.truthy(h:check(now * S, { owes = true, una = 7, wnd = 0 }))
    end
  end)

  it("ends with a closed window too, when it is silent", function()
    local answers = follow(h, 100 * S, 200 * S, { owes = true, una = 7, wnd = 0 })
    assert.equal(105 * S, times_of(answers, "dead")[1])
  end)

  it("is not judged by a check that is late because the process was stopped", function()
    assert.equal("ok", h:check(100 * S, { owes = true, una = 7 }))
    assert.equal("probe", h:check(160 * S, { owes = true, una = 7 }))
    assert.equal(161 * S, h:due())
    local answers = follow(h, 161 * S, 200 * S, { owes = true, una = 7 })
    assert.equal(165 * S, times_of(answers, "dead")[1])
  end)

  it("is not judged stuck by a late check, even if something was heard at once", function()
    assert.equal("ok", h:check(100 * S, { owes = true, una = 7 }))
    h:heard(160 * S)
    assert.truthy(h:check(160 * S, { owes = true, una = 7 }))
  end)

  it("ignores the time before something was owed", function()
    h:check(100 * S, { owes = true, una = 7 })
    h:heard(100 * S + 1)
    h:check(100 * S + 1, { owes = false, una = 8 })
    assert.truthy(h:check(160 * S, { owes = true, una = 8 }))
  end)
end)

describe("a peer whose una fell back", function()
  local h
  local since = 100 * S
  before_each(function()
    h = link.health(5 * S)
    h:heard(since)
  end)

  it("is asked at once, though it owed nothing", function()
    assert.equal("probe", h:check(since, { owes = false, behind = 1, since = since, srtt = 80 * MS }))
    assert.equal(since + 80 * MS, h:due())
  end)

  it("is believed to have restarted after a row of four over two round trips", function()
    local facts = { owes = true, behind = 4, since = since, srtt = 80 * MS }
    assert.truthy(h:check(since + 159 * MS, facts))
    local what, code, why = h:check(since + 160 * MS, facts)
    assert.is_nil(what)
    assert.equal("restarted", code)
    assert.equal("the peer does not know this session; it restarted or closed it", why)
  end)

  it("is not believed to have restarted on fewer, even after a long time", function()
    assert.truthy(h:check(since, { owes = true, una = 1, behind = 3, since = since, srtt = 80 * MS }))
    h:heard(since + S)
    assert.truthy(h:check(since + S, { owes = true, una = 1, behind = 3, since = since, srtt = 80 * MS }))
  end)

  it("is given 50 ms where the round trip is short, or not known", function()
    for _, srtt in ipairs { 0, 300 } do
      h = link.health(5 * S)
      local facts = { owes = true, behind = 9, since = since, srtt = srtt }
      assert.truthy(h:check(since + 49 * MS, facts))
      assert.equal("restarted", (select(2, h:check(since + 50 * MS, facts))))
    end
  end)

  it("was only overtaken if a later packet has the right una", function()
    assert.equal("probe", h:check(since, { owes = true, behind = 3, since = since, srtt = 80 * MS }))
    h:heard(since + 10 * MS)
    assert.equal("ok", h:check(since + 10 * MS, { owes = true, behind = 0, srtt = 80 * MS }))
    h:heard(since + 300 * MS)
    assert.equal("probe", h:check(since + 300 * MS, { owes = true, behind = 2, since = since + 300 * MS, srtt = 80 * MS }))
  end)

  it("is asked twice in the time of a row, and a timer for that does not spin", function()
    local facts = { owes = false, behind = 1, since = since, srtt = 200 * MS }
    local answers = follow(h, since, since + S, facts)
    assert.same({ since, since + 200 * MS, since + 400 * MS, since + 600 * MS, since + 800 * MS, since + S },
      times_of(answers, "probe"))
    assert.is_true(#answers <= 7)
  end)

  it("is dead when it does not answer that", function()
    local answers = follow(h, since, since + 60 * S, { owes = false, behind = 1, since = since, srtt = 200 * MS })
    assert.equal(since + 5 * S, times_of(answers, "dead")[1])
  end)
end)
