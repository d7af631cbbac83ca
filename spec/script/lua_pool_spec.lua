-- lua/kt/pool without kt: health, policies, hold, retries, with a fake clock and fake links.
local world = require "pool_world"
local health = require "kt.pool.health"

local DOWN = 5 -- seconds after which three failed checks have taken a link down

describe("the health of a link", function()
  local rules = { fall = 3, rise = 2 }

  it("counts as up before anything is known", function()
    local h = health.new(rules, 0)
    assert.is_true(h.up)
    assert.is_false(h.proven)
  end)

  it("is decided by the first check, if that fails", function()
    local h = health.new(rules, 0)
    assert.equal("down", h:fail(1, "no answer"))
    assert.is_false(h.up)
    assert.equal("no answer", h.why)
  end)

  it("is reported up once at first", function()
    local h = health.new(rules, 0)
    assert.equal("up", h:pass(1))
    assert.is_nil(h:pass(2))
  end)

  it("needs one success after a first failure", function()
    local h = health.new(rules, 0)
    h:fail(1, "?")
    assert.equal("up", h:pass(2))
  end)

  it("goes down at the last of `fall` failures in a row", function()
    local h = health.new(rules, 0)
    h:pass(0)
    assert.is_nil(h:fail(1, "?"))
    assert.is_nil(h:fail(2, "?"))
    assert.is_true(h.up)
    assert.equal("down", h:fail(3, "?"))
    assert.is_nil(h:fail(4, "?"))
  end)

  it("restarts the count after a success", function()
    local h = health.new(rules, 0)
    h:pass(0)
    for t = 1, 20, 3 do
      h:fail(t, "?")
      h:fail(t + 1, "?")
      h:pass(t + 2)
    end
    assert.is_true(h.up)
  end)

  it("comes up again at the last of `rise` successes in a row", function()
    local h = health.new(rules, 0)
    h:pass(0)
    for t = 1, 3 do h:fail(t, "?") end
    assert.is_nil(h:pass(4))
    h:fail(5, "?")
    assert.is_nil(h:pass(6))
    assert.equal("up", h:pass(7))
    assert.equal(7, h.since)
    assert.equal(7, h.steady_since)
  end)

  it("with fall = 1 and rise = 1 follows each check", function()
    local h = health.new({ fall = 1, rise = 1 }, 0)
    h:pass(0)
    assert.equal("down", h:fail(1, "?"))
    assert.equal("up", h:pass(2))
    assert.equal("down", h:fail(3, "?"))
  end)
end)

describe("a pool", function()
  local w, near, far, spare
  before_each(function()
    w = world.new()
    near, far, spare = w.link("near", { rtt = 0.04 }), w.link("far", { rtt = 0.09 }), w.link("spare", { rtt = 0.2 })
  end)

  local function pool_of(config)
    config.links = config.links or { near, far, spare }
    return w.pool(config)
  end

  --- How often each link was chosen in n opens.
  local function spread(pool, n, o)
    local counts = {}
    for i = 1, n do
      local at = w.where(pool, o and o(i))
      counts[at] = (counts[at] or 0) + 1
    end
    return counts
  end

  describe("that checks", function()
    it("takes a silent link down after `fall` checks, and brings it back after `rise`", function()
      local pool = pool_of {}
      w.run(3)
      near.dead = true
      w.run(DOWN)
      assert.is_false(pool:links()[1].up)
      assert.equal("no answer within 0.8 s", pool:links()[1].error)
      near.dead = false
      w.run(3.5)
      assert.is_true(pool:links()[1].up)
      assert.is_nil(pool:links()[1].error)
      assert.equal(1, w.logged "^warn pool: near is down: no answer within 0.8 s %(3 checks in a row failed%)$")
      assert.equal(2, w.logged "^info pool: near is up %(40 ms%)$")
    end)

    it("checks each link once an interval, and does nothing else meanwhile", function()
      pool_of { check = { every = "10s" } }
      w.run(105)
      assert.equal(11, near.probes)
      assert.equal(0, near.stats_calls or 0)
      assert.equal(3, #w.tasks)
    end)

    it("draws each interval, so that pools do not march in step", function()
      pool_of { links = { near }, check = { every = "10s" } }
      w.run(1)
      w.luck = 0
      w.run(9.5) -- the interval under way was drawn before
      local second = near.probed_at
      w.run(10)
      assert.near(10, second, 1e-6)
      assert.near(19, near.probed_at, 1e-6)
    end)

    it("does not count silence against a link from which data keeps coming", function()
      local pool = pool_of { links = { near } }
      w.run(2)
      near.dead = true
      near.figures = { since_heard = 0.1 }
      w.run(20)
      assert.is_true(pool:links()[1].up)
      near.figures = { since_heard = 30 }
      w.run(DOWN)
      assert.is_false(pool:links()[1].up)
    end)

    it("counts a refusal even while data keeps coming", function()
      local pool = pool_of { links = { near } }
      w.run(2)
      near.refuses, near.figures = "dead", { since_heard = 0 }
      w.run(DOWN)
      assert.is_false(pool:links()[1].up)
    end)

    it("never (off) counts all links as up, and starts no task", function()
      local pool = pool_of { check = false }
      near.dead = true
      w.run(100)
      assert.equal(0, #w.tasks)
      assert.is_true(pool:links()[1].up)
      assert.is_nil(near.probes)
      assert.equal("far", w.where(pool, { timeout = 3 }))
    end)

    it("treats a closed link as down", function()
      local pool = pool_of {}
      w.run(1)
      near:close()
      assert.equal("far", w.where(pool))
      w.run(DOWN)
      assert.equal(2, pool:stats().up)
    end)

    it("checks a link at once on which a stream failed", function()
      local pool = pool_of { check = { every = "60s" }, policy = "first" }
      w.run(30)
      near.refuses = "dead"
      local before = near.probes
      w.where(pool)
      w.run(0.1)
      assert.equal(before + 1, near.probes)
    end)

    it("keeps checking after a check that failed with an error", function()
      local pool = pool_of { links = { near } }
      w.run(2)
      local probe = near.probe
      near.probe = function() error("not enough memory", 0) end
      w.run(3)
      near.probe = probe
      near.dead = true
      w.run(DOWN)
      assert.is_false(pool:links()[1].up)
      assert.is_true(w.logged "^warn pool: near could not be checked: not enough memory$" >= 2)
    end)

    it("checks at most four times an interval, even when many streams fail", function()
      local pool = pool_of { check = { every = "8s", fall = 100 }, policy = "round_robin" }
      w.run(8)
      near.refuses = "dead"
      local before = near.probes
      for _ = 1, 200 do w.where(pool) end
      assert.is_true(near.probes - before <= math.ceil(w.now - 8) / 2 + 1)
    end)
  end)

  describe("with a check of the script's own", function()
    it("is up while that returns true", function()
      local calls = 0
      local pool = pool_of { links = { near }, check = { with = function(link)
        assert(link == near)
        calls = calls + 1
        return true
      end } }
      w.run(10)
      assert.is_true(calls >= 9)
      assert.is_true(pool:links()[1].up)
      assert.is_nil(near.probes)
    end)

    it("prefers its measured round-trip time to the link's own", function()
      near.figures = { srtt = 0.5 }
      local pool = pool_of { links = { near }, check = { with = function() return 0.123 end } }
      w.run(2)
      assert.near(0.123, pool:links()[1].srtt, 1e-9)
    end)

    it("is down when it returns nil and why not", function()
      local pool = pool_of { links = { near }, check = { with = function() return nil, "503" end } }
      w.run(1)
      assert.is_false(pool:links()[1].up)
      assert.equal("503", pool:links()[1].error)
    end)

    it("is down when it raises, which is logged once", function()
      pool_of { links = { near }, check = { with = function() error("s.lua:9: oops", 0) end } }
      w.run(20)
      assert.equal(1, w.logged "^warn s.lua:1: kt.pool: check.with: s.lua:9: oops; further mistakes of this kind are not logged$")
      assert.equal(1, w.logged "near is down: its check raised an error")
    end)

    it("is down when it returns nonsense, which is logged once", function()
      for _, nonsense in ipairs { "yes", {}, -1, 0 / 0, math.huge } do
        w.log = {}
        local pool = pool_of { links = { w.link "x" }, check = { with = function() return nonsense end } }
        w.run(5)
        assert.is_false(pool:links()[1].up)
        assert.equal(1, w.logged "check.with: expected true, a round%-trip time in seconds, or nil and a reason, got ")
        pool:close()
      end
    end)

    it("is down when it hangs, and is not started again before it has come back", function()
      local calls = 0
      local pool = pool_of { links = { near }, check = { with = function()
        calls = calls + 1
        w.env.park(30)
        return true
      end } }
      w.run(20)
      assert.equal(1, calls)
      assert.is_false(pool:links()[1].up)
      assert.equal("its previous check is still running", pool:links()[1].error)
      near.figures = {}
      w.run(15)
      assert.equal(2, calls)
    end)

    it("is started again when the previous one has died", function()
      local calls = 0
      local spawn = w.env.spawn
      w.env.spawn = function(fn, ...) -- as a slice that kt stops: nothing catches it
        if select("#", ...) < 3 then return spawn(fn, ...) end
        local _, _, job = ...
        w.expendable(function()
          calls = calls + 1
          job.task = w.env.self()
          error "stopped"
        end)
      end
      local pool = pool_of { links = { near }, check = { with = function() end } }
      w.run(10)
      assert.is_true(calls > 3)
      assert.is_false(pool:links()[1].up)
      assert.equal("its check took longer than 0.8 s", pool:links()[1].error)
    end)
  end)

  describe("by name of policy", function()
    it("first takes the first that is up", function()
      local pool = pool_of { policy = "first" }
      w.run(1)
      assert.same({ near = 10 }, spread(pool, 10))
      near.dead = true
      w.run(DOWN)
      assert.same({ far = 10 }, spread(pool, 10))
    end)

    it("round_robin takes each link that is up in turn", function()
      local pool = pool_of { policy = "round_robin" }
      w.run(1)
      assert.same({ near = 10, far = 10, spare = 10 }, spread(pool, 30))
      far.dead = true
      w.run(DOWN)
      assert.same({ near = 10, spare = 10 }, spread(pool, 20))
      far.dead = false
      w.run(DOWN)
      local counts = spread(pool, 30)
      assert.near(10, counts.far, 1)
    end)

    it("least_loaded takes the one with the fewest streams, by weight", function()
      local pool = pool_of { policy = "least_loaded", links = { { link = near, weight = 3 }, far } }
      w.run(1)
      assert.same({ near = 30, far = 10 }, spread(pool, 40))
    end)

    it("least_loaded counts streams that it opened just now", function()
      local pool = pool_of { policy = "least_loaded", check = { every = "60s" } }
      w.run(1)
      near.rtt, far.rtt, spare.rtt = 0, 0, 0
      assert.same({ near = 20, far = 20, spare = 20 }, spread(pool, 60))
      assert.is_true(near.stats_calls <= 3)
    end)

    it("lowest_rtt takes the fastest", function()
      local pool = pool_of { policy = "lowest_rtt", links = { spare, far, near }, hold = 0 }
      w.run(2)
      assert.equal("near", w.where(pool))
    end)

    it("lowest_rtt stays when another is hardly faster", function()
      near.figures, far.figures = { srtt = 0.050 }, { srtt = 0.049 }
      local pool = pool_of { policy = "lowest_rtt", links = { near, far }, hold = 0 }
      w.run(2)
      local at = w.where(pool)
      for i = 1, 20 do
        near.figures.srtt, far.figures.srtt = 0.050 - 0.002 * (i % 2), 0.048 + 0.002 * (i % 2)
        w.run(1)
        assert.equal(at, w.where(pool))
      end
    end)

    it("lowest_rtt does not prefer a link without a measurement", function()
      local unknown = w.link("unknown", { rtt = 0.01 })
      function unknown.probe() return 0.3 end
      near.figures = { srtt = 0.1 }
      local pool = pool_of { policy = "lowest_rtt", links = { unknown, near }, check = { with = function() return true end }, hold = 0 }
      w.run(2)
      assert.equal("near", w.where(pool))
      assert.equal(math.huge, pool:links()[1].srtt)
    end)

    it("weighted shares by weight, smoothly", function()
      local pool = pool_of { policy = "weighted", links = { { link = near, weight = 5 }, far, spare } }
      w.run(1)
      local order = {}
      for i = 1, 7 do order[i] = w.where(pool):sub(1, 1) end
      assert.equal("nnfnsnn", table.concat(order))
      assert.same({ near = 50, far = 10, spare = 10 }, spread(pool, 70))
    end)

    it("weighted shares among the remaining links", function()
      local pool = pool_of { policy = "weighted", links = { { link = near, weight = 5 }, { link = far, weight = 2 }, spare } }
      w.run(1)
      spread(pool, 3)
      near.dead = true
      w.run(DOWN)
      local counts = spread(pool, 30)
      assert.near(20, counts.far, 1)
      assert.near(10, counts.spare, 1)
    end)

    it("hash keeps each key at its link", function()
      local pool = pool_of { policy = "hash" }
      w.run(1)
      for i = 1, 30 do
        local at = w.where(pool, { key = "k" .. i })
        assert.equal(at, w.where(pool, { key = "k" .. i }))
      end
    end)

    it("hash moves only the keys of the link that went away, and brings them back", function()
      local pool = pool_of { policy = "hash" }
      w.run(1)
      local before, moved = {}, 0
      for i = 1, 100 do before[i] = w.where(pool, { key = "k" .. i }) end
      near.dead = true
      w.run(DOWN)
      for i = 1, 100 do
        local at = w.where(pool, { key = "k" .. i })
        if before[i] == "near" then moved = moved + 1 else assert.equal(before[i], at) end
      end
      assert.is_true(moved > 15 and moved < 55, moved)
      near.dead = false
      w.run(DOWN)
      for i = 1, 100 do assert.equal(before[i], w.where(pool, { key = "k" .. i })) end
    end)

    it("hash moves only the keys of a link that drains, and brings them back", function()
      local pool = pool_of { policy = "hash" }
      w.run(1)
      local before, moved = {}, 0
      for i = 1, 100 do before[i] = w.where(pool, { key = "k" .. i }) end
      assert.is_true(pool:set("near", { drain = true }))
      for i = 1, 100 do
        local at = w.where(pool, { key = "k" .. i })
        assert.not_equal("near", at)
        if before[i] == "near" then moved = moved + 1 else assert.equal(before[i], at) end
      end
      assert.is_true(moved > 15 and moved < 55, moved)
      pool:set(near, { drain = false })
      for i = 1, 100 do assert.equal(before[i], w.where(pool, { key = "k" .. i })) end
    end)

    it("hash shares keys by weight", function()
      local pool = pool_of { policy = "hash", links = { { link = near, weight = 3 }, far } }
      w.run(1)
      local counts = spread(pool, 400, function(i) return { key = "client " .. i } end)
      assert.near(300, counts.near, 45)
    end)

    it("hash agrees with a pool that has the links in another order", function()
      local one, other = pool_of { policy = "hash" }, pool_of { policy = "hash", links = { spare, near, far } }
      w.run(1)
      for i = 1, 30 do assert.equal(w.where(one, { key = "k" .. i }), w.where(other, { key = "k" .. i })) end
    end)

    it("hash uses the client's host without a key function", function()
      local pool = pool_of { policy = "hash" }
      w.run(1)
      local at = w.where(pool, { client = "10.0.0.7:1000" })
      for port = 1001, 1020 do assert.equal(at, w.where(pool, { client = "10.0.0.7:" .. port })) end
      assert.equal(w.where(pool), w.where(pool))
    end)

    it("hash uses the result of the script's key function", function()
      local pool = pool_of { policy = "hash", key = function(request) return request.client:sub(1, 2) end }
      w.run(1)
      for i = 1, 20 do assert.equal(w.where(pool, { key = "10" }), w.where(pool, { client = "10.0.0." .. i })) end
    end)

    it("hash uses the client's host when the key function raises or returns nonsense, which is logged once", function()
      for _, key in ipairs { function() error "oops" end, function() return {} end, function() return nil end } do
        w.log = {}
        local pool = pool_of { policy = "hash", key = key }
        w.run(1)
        assert.equal(w.where(pool, { key = "10.0.0.7" }), w.where(pool, { client = "10.0.0.7:1" }))
        assert.equal(w.where(pool, { client = "10.0.0.7:2" }), w.where(pool, { client = "10.0.0.7:1" }))
        assert.equal(1, w.logged "kt.pool: key: .*; using the client's address")
        pool:close()
      end
    end)
  end)

  describe("with a policy of the script's own", function()
    it("calls it with the facts of links that are up, and the request", function()
      local got, request
      near.figures = { srtt = 0.04, rttvar = 0.01, loss = 0.02, rate_in = 10, rate_out = 20, streams = 3 }
      local pool = pool_of { links = { { link = near, weight = 7, name = "a" }, far }, policy = function(up, r)
        got, request = up, r
        return 1
      end }
      w.run(2)
      far.dead = true
      w.run(DOWN)
      w.where(pool, { client = "10.0.0.7:99", key = "k" })
      assert.equal(1, #got)
      got[1].since = got[1].since // 1
      assert.same({ name = "a", weight = 7, srtt = 0.04, rttvar = 0.01, loss = 0.02, streams = 3, rate_in = 10, rate_out = 20,
        since = 7.0, draining = false }, got[1])
      assert.same({ client = "10.0.0.7:99", key = "k" }, request)
    end)

    it("gives every missing fact a number", function()
      local got
      function near.stats() return { loss = "much", srtt = 0 / 0, streams = {} } end
      local pool = pool_of { links = { near }, check = { with = function() return true end }, policy = function(up)
        got = up[1]
        return 1
      end }
      w.run(1)
      w.where(pool)
      got.since = 0
      assert.same({ name = "near", weight = 1, srtt = math.huge, rttvar = 0, loss = 0, streams = 0, rate_in = 0, rate_out = 0, since = 0,
        draining = false }, got)
    end)

    it("opens on the link that it returns", function()
      local pool = pool_of { policy = function(up) return #up end }
      w.run(1)
      assert.equal("spare", w.where(pool))
    end)

    it("accepts a float with an integer value", function()
      local pool = pool_of { policy = function() return 2.0 end }
      w.run(1)
      assert.equal("far", w.where(pool))
      assert.equal(0, w.logged "policy")
    end)

    it("understands an index into `up` as the policy has sorted it", function()
      local pool = pool_of { links = { spare, far, near }, policy = function(up)
        table.sort(up, function(a, b) return a.srtt < b.srtt end)
        return 1
      end }
      w.run(2)
      assert.equal("near", w.where(pool))
    end)

    local nonsense = {
      ["nil"] = { nil, "nil" }, zero = { 0, "0" }, ["an index out of range"] = { 4, "4" }, ["a negative one"] = { -1, "%-1" },
      ["half an index"] = { 1.5, "1.5" }, ["NaN"] = { 0 / 0, "NaN" }, ["a table"] = { {}, "a table" },
      ["a string"] = { "near", '"near"' }, ["a string of digits"] = { "1", '"1"' }, ["true"] = { true, "true" },
      ["a function"] = { print, "a function" },
    }
    for what, case in pairs(nonsense) do
      it("that returns " .. what .. ", opens on the first link, and logs once what it expected and got", function()
        local pool = pool_of { policy = function() return case[1] end }
        w.run(1)
        assert.same({ near = 5 }, spread(pool, 5))
        assert.equal(1, w.logged("^warn s.lua:1: kt.pool: policy: expected an index into up %(1 to 3%), got " .. case[2]
          .. "; using the first link that is up; further mistakes of this kind are not logged$"))
      end)
    end

    it("that raises opens on the first link that is up, and logs that once", function()
      local pool = pool_of { policy = function(up) return up[9].srtt end }
      w.run(1)
      near.dead = true
      w.run(DOWN)
      assert.same({ far = 5 }, spread(pool, 5))
      assert.equal(1, w.logged "^warn s.lua:1: kt.pool: policy: .*attempt to index a nil value.*; using the first link that is up")
    end)

    it("that raises a table does not call the table's __tostring", function()
      local pool = pool_of { policy = function() error(setmetatable({}, { __tostring = function() error "again" end })) end }
      w.run(1)
      assert.equal("near", w.where(pool))
      assert.equal(1, w.logged "policy: it raised a table; ")
    end)

    it("that yields opens on the first link", function()
      local pool = pool_of { policy = function() coroutine.yield() return 2 end }
      w.run(1)
      assert.equal("near", w.where(pool))
      assert.equal(1, w.logged "policy: attempt to yield")
    end)

    it("that was stopped in an endless loop is not called again", function()
      local calls = 0
      local pool = pool_of { policy = function()
        calls = calls + 1
        return 2
      end }
      w.run(1)
      local pure = w.env.pure
      w.env.pure = function() error("stopped", 0) end -- as the guard does: it unwinds the whole task
      w.expendable(function() pool:open { timeout = 5 } end)
      w.run(1)
      w.env.pure = pure
      assert.equal("near", w.where(pool))
      assert.equal("near", w.where(pool))
      assert.equal(0, calls)
      assert.equal(1, w.logged "policy: stopped for running too long; not called again")
    end)

    it("cannot harm the pool by what it does to its facts", function()
      local pool = pool_of { policy = function(up, request)
        up[1].name, up[1].srtt, request.client = nil, "quick", {}
        setmetatable(up[1], { __index = error, __newindex = error })
        for i = #up, 2, -1 do up[i] = nil end
        return 1
      end }
      w.run(1)
      assert.same({ near = 5 }, spread(pool, 5, function() return { client = "c" } end))
      assert.equal("near", pool:links()[1].name)
      assert.equal("c", near.asked.client)
    end)

    it("reads the figures of links at most ten times a second", function()
      local pool = pool_of { check = { every = "60s" }, policy = function() return 1 end }
      w.run(1)
      near.rtt = 0
      for _ = 1, 100 do w.where(pool) end
      assert.equal(1, near.stats_calls)
    end)
  end)

  describe("that holds", function()
    it("goes to the next link at once when the current one goes down", function()
      local pool = pool_of { hold = "60s" }
      w.run(1)
      assert.equal("near", w.where(pool))
      near.dead = true
      w.run(DOWN)
      assert.equal("far", w.where(pool))
      far.dead = true
      w.run(DOWN)
      assert.equal("spare", w.where(pool))
    end)

    it("switches when the link goes down, not only when the next stream comes", function()
      local pool = pool_of { hold = "10s" }
      w.run(1)
      w.where(pool)
      near.dead = true
      w.run(DOWN)
      assert.equal("far", pool:stats().current)
      assert.equal(1, w.logged "^info pool: new streams now go to far instead of near: near is down: no answer within 0.8 s$")
    end)

    it("goes back only when the better link has been up for that long", function()
      local pool = pool_of { hold = "10s" }
      w.run(1)
      w.where(pool)
      near.dead = true
      w.run(30)
      near.dead = false
      local back
      for second = 1, 30 do
        w.run(1)
        if not back and w.where(pool) == "near" then back = second end
      end
      assert.is_true(back >= 11 and back <= 15, tostring(back))
      assert.equal(2, pool:stats().switches)
    end)

    it("never goes back to a link that flaps faster than that", function()
      local pool = pool_of { hold = "10s" }
      w.run(1)
      w.where(pool)
      for _ = 1, 10 do
        near.dead = true
        w.run(8)
        near.dead = false
        w.run(8)
        w.where(pool)
      end
      assert.equal(1, pool:stats().switches)
    end)

    it("does not follow a measurement that swings", function()
      near.figures, far.figures = { srtt = 0.1 }, { srtt = 0.2 }
      local pool = pool_of { policy = "lowest_rtt", hold = "10s", links = { near, far } }
      w.run(1)
      w.where(pool)
      for i = 1, 100 do
        near.figures.srtt, far.figures.srtt = i % 2 == 0 and 0.1 or 0.2, i % 2 == 0 and 0.2 or 0.1
        w.run(1)
        w.where(pool)
      end
      assert.is_true(pool:stats().switches <= 11, pool:stats().switches)
    end)

    it("a function's choice too, if asked to", function()
      local choice = 1
      local pool = pool_of { policy = function() return choice end, hold = "10s" }
      w.run(20)
      assert.equal("near", w.where(pool))
      choice = 2
      assert.equal("far", w.where(pool))
      choice = 1
      assert.equal("far", w.where(pool))
      w.run(10)
      assert.equal("near", w.where(pool))
    end)

    it("not a function's choice, unless asked to", function()
      local n = 0
      local pool = pool_of { policy = function()
        n = n + 1
        return n % 2 + 1
      end }
      w.run(20)
      assert.same({ near = 5, far = 5 }, spread(pool, 10))
      assert.equal(0, pool:stats().switches)
    end)

    it("avoids a link on which a stream failed, for that long", function()
      local pool = pool_of { hold = "10s" }
      w.run(1)
      w.where(pool)
      near.refuses = "limit"
      assert.equal("far", w.where(pool))
      near.refuses = nil
      assert.equal("far", w.where(pool))
      assert.equal(1, w.logged "instead of near: near failed: refused by near$")
      w.run(15)
      assert.equal("near", w.where(pool))
    end)

    it("at start moves to the best link as soon as it is known", function()
      near.rtt = 0.4
      local pool = pool_of { hold = "10s" }
      w.run(0.3) -- far has answered, near not yet
      assert.equal("far", w.where(pool))
      w.run(1)
      assert.equal("near", w.where(pool))
    end)

    it("is refused with a policy that spreads", function()
      for _, policy in ipairs { "round_robin", "least_loaded", "weighted", "hash" } do
        assert.error_matches(function() pool_of { policy = policy, hold = "5s" } end,
          '^pool.hold: policy = "' .. policy .. '" spreads streams over all links; leave it out$')
      end
    end)
  end)

  describe("whose open fails", function()
    it("tries the next links by the policy, each once", function()
      local pool = pool_of { policy = "round_robin", check = { every = "60s" } }
      w.run(1)
      near.refuses, far.refuses = "limit", "limit"
      for _ = 1, 10 do assert.equal("spare", w.where(pool)) end
    end)

    it("tries at most `retries` more", function()
      local pool = pool_of { retries = 1, check = { every = "60s" } }
      w.run(1)
      near.refuses, far.refuses = "limit", "dead"
      local stream, err = w.open(pool)
      assert.is_nil(stream)
      assert.equal("dead", err.code)
      assert.equal("pool: no link opened a stream: near: refused by near; far: refused by far", tostring(err))
      assert.equal(0, spare.opened)
    end)

    it("returns the link's own err when it was the only attempt", function()
      local pool = pool_of { retries = 0, check = { every = "60s" } }
      w.run(1)
      near.refuses = "limit"
      local _, err = w.open(pool)
      assert.equal("refused by near", tostring(err))
      assert.equal(1, pool:stats().failed)
    end)

    it("gives each attempt its share of the time", function()
      local pool = pool_of { check = { every = "60s" } }
      w.run(1)
      near.dead, far.dead = true, true
      local began = w.now
      assert.equal("spare", w.where(pool, { timeout = 9 }))
      assert.near(3, near.asked.timeout, 1e-6)
      assert.near(3, far.asked.timeout, 1e-6)
      assert.is_true(w.now - began < 6.5)
    end)

    it("gives a single link all the time", function()
      local pool = pool_of { links = { near }, check = { every = "60s" } }
      w.run(1)
      w.where(pool, { timeout = 7 })
      assert.near(7, near.asked.timeout, 1e-6)
    end)

    it("takes no longer than its timeout in total", function()
      local pool = pool_of { check = { every = "60s" } }
      w.run(1)
      near.dead, far.dead, spare.dead = true, true, true
      local began = w.now
      local _, err = w.open(pool, { timeout = 6 })
      assert.equal("timeout", err.code)
      assert.near(6, w.now - began, 0.01)
    end)

    it("does not count an attempt at a closed link", function()
      local pool = pool_of { retries = 0, check = { every = "60s" } }
      w.run(1)
      near:close()
      assert.equal("far", w.where(pool))
    end)

    it("tries the link that was up most recently when all are down", function()
      local pool = pool_of { hold = "1s" }
      w.run(2)
      near.dead = true
      w.run(20)
      far.dead, spare.dead = true, true
      w.run(20)
      assert.equal(0, pool:stats().up)
      far.dead, spare.dead, near.dead = false, false, false
      assert.not_equal("near", w.where(pool))
    end)

    it("calls no policy when all are down", function()
      local pool = pool_of { policy = function(up) return assert(#up > 0) and 1 end }
      w.run(1)
      near.dead, far.dead, spare.dead = true, true, true
      w.run(10)
      local _, err = w.open(pool, { timeout = 3 })
      assert.equal("timeout", err.code)
      assert.equal(0, w.logged "policy")
    end)

    it("passes priority and weight on to the link", function()
      local pool = pool_of {}
      w.run(1)
      w.where(pool, { client = "c", priority = 1, weight = 99 })
      assert.equal(1, near.asked.priority)
      assert.equal(99, near.asked.weight)
      assert.equal("c", near.asked.client)
    end)
  end)

  describe("that changes while it runs", function()
    it("without links fails at once, with that reason", function()
      local pool = pool_of { links = {} }
      local _, err = w.open(pool)
      assert.equal("unreachable", err.code)
      assert.equal("pool: the pool has no links", tostring(err))
      assert.equal(0, w.now)
    end)

    it("gives a new link streams only once a check has succeeded", function()
      local pool = pool_of { policy = "round_robin", links = { near } }
      w.run(1)
      far.dead = true
      pool:enter { link = far }
      assert.same({ near = 5 }, spread(pool, 5))
      far.dead = false
      w.run(3)
      assert.same({ near = 5, far = 5 }, spread(pool, 10))
    end)

    it("stops checking a link that was taken out, and opens nothing on it", function()
      local pool = pool_of { policy = "round_robin" }
      w.run(1)
      assert.is_true(pool:leave(near))
      assert.is_false(pool:leave(near))
      assert.is_true(pool:leave "far")
      local before = near.probes
      w.run(10)
      assert.equal(before, near.probes)
      assert.same({ spare = 4 }, spread(pool, 4))
      assert.is_false(near.closed)
      assert.equal(1, #w.tasks)
    end)

    it("tries the next link when the one being opened is removed", function()
      local pool = pool_of { check = { every = "60s" } }
      w.run(1)
      near.dead = true
      w.env.spawn(function()
        w.env.park(1)
        pool:leave(near)
      end)
      assert.equal("far", w.where(pool, { timeout = 9 }))
      assert.equal("far", pool:stats().current)
    end)

    it("opens nothing on a link that drains, even if all others are down, and moves new streams at once", function()
      local pool = pool_of { hold = "1h", links = { near, far } }
      w.run(1)
      assert.equal("near", w.where(pool))
      pool:set("near", { drain = true })
      assert.equal(1, w.logged "^info pool: new streams now go to far instead of near: near is draining$")
      far.dead = true
      w.run(DOWN)
      local opened = near.opened
      local stream, err = w.open(pool, { timeout = 1 })
      assert.is_nil(stream)
      assert.equal("timeout", err.code)
      pool:set(far, { drain = true })
      stream, err = w.open(pool)
      assert.is_nil(stream)
      assert.equal("pool: all links are draining", tostring(err))
      assert.equal(opened, near.opened)
      assert.same({ true, true }, { pool:links()[1].draining, pool:links()[1].up })
      assert.is_false(pool:set("nobody", { drain = true }))
    end)

    it("shows a policy the links that drain, which it may choose", function()
      local seen
      local pool = pool_of { policy = function(up)
        seen = {}
        for i, link in ipairs(up) do seen[i] = link.draining end
        return seen[1] and 1 or "a mistake"
      end }
      w.run(1)
      pool:set("near", { drain = true })
      assert.equal("near", w.where(pool))
      assert.same({ true, false, false }, seen)
      pool:set("near", { drain = false })
      pool:set("far", { drain = true })
      assert.equal("near", w.where(pool))
      pool:leave "near"
      pool:enter { link = near }
      w.run(2)
      pool:set("spare", { drain = true })
      assert.equal("far", w.where(pool)) -- seen[1]: the policy chose it
    end)

    it("shares by a weight that is changed, which DNS does not change back", function()
      local pool = pool_of { policy = "weighted", links = { near, far } }
      w.run(1)
      pool:set("near", { weight = 3 })
      pool:change(near, 1, 0)
      assert.same({ near = 9, far = 3 }, spread(pool, 12))
    end)

    it("treats a link that is added again as a new one", function()
      local pool = pool_of { policy = "round_robin", links = { near, far } }
      w.run(1)
      pool:leave(near)
      pool:enter { link = near }
      w.run(2)
      assert.same({ near = 5, far = 5 }, spread(pool, 10))
    end)

    it("numbers links with the same address", function()
      local pool = pool_of { links = { near, w.link "near", w.link "near" } }
      local names = {}
      for i, facts in ipairs(pool:links()) do names[i] = facts.name end
      assert.same({ "near", "near#2", "near#3" }, names)
    end)

    it("when closed ends its tasks, and opens nothing more", function()
      local pool = pool_of {}
      w.run(1)
      pool:close()
      pool:close()
      w.run(2)
      assert.equal(0, #w.tasks)
      local _, err = w.open(pool)
      assert.equal("closed", err.code)
      assert.is_false(near.closed)
      assert.same({}, pool:links())
    end)

    it("when closed during an open fails that open", function()
      local pool = pool_of { check = { every = "60s" } }
      w.run(1)
      near.dead, far.dead, spare.dead = true, true, true
      w.env.spawn(function()
        w.env.park(1)
        pool:close()
      end)
      local _, err = w.open(pool, { timeout = 9 })
      assert.equal("closed", err.code)
    end)
  end)

  describe("with event handlers", function()
    local events = require "kt.pool.events"

    it("calls every handler with its own table", function()
      local pool = pool_of {}
      local got = {}
      for i = 1, 2 do
        events.on(pool, "switch", function(event)
          event.i = i
          got[#got + 1] = event
        end)
      end
      w.run(1)
      w.where(pool)
      near.dead = true
      w.run(DOWN)
      assert.same({
        { i = 1, from = "near", to = "far", reason = "near is down: no answer within 0.8 s" },
        { i = 2, from = "near", to = "far", reason = "near is down: no answer within 0.8 s" },
      }, got)
    end)

    it("of links that go up and down", function()
      local pool = pool_of { links = { near } }
      local got = {}
      for _, name in ipairs { "up", "down" } do
        events.on(pool, name, function(event)
          assert(event.link == near)
          got[#got + 1] = name .. " " .. event.name .. " " .. tostring(event.reason)
        end)
      end
      w.run(1)
      near.dead = true
      w.run(DOWN)
      near.dead = false
      w.run(4)
      assert.same({ "up near nil", "down near no answer within 0.8 s", "up near nil" }, got)
    end)

    it("continues when it cannot start a task for one", function()
      local pool = pool_of { links = { near } }
      events.on(pool, "up", function() end)
      w.env.handle = function() error("too many tasks", 0) end
      w.run(1)
      assert.is_true(pool:links()[1].proven)
      assert.equal(1, w.logged '^warn pool: could not run the handler of "up": too many tasks$')
    end)
  end)

  describe("that is declared wrongly", function()
    local cases = {
      { { links = { "near" } }, 'pool.links[1]: expected a link or a table, got "near"' },
      { { links = "near" }, 'pool.links: expected a list, got "near"' },
      { {}, "pool.links: missing; give links = { … }, discover = { … }, or both" },
      { function() return { links = { near, near } } end, "pool.links[2]: the same link as links[1]; give it a weight to increase its share" },
      { function() return { links = { { link = near, name = "a" }, { link = far, name = "a" } } } end,
        "pool.links[2].name: links[1] has the same name" },
      { function() return { links = { { link = near, wieght = 2 } } } end, "pool.links[1].wieght: unknown key; did you mean weight?" },
      { function() return { links = { { link = near, weight = 0 } } } end,
        "pool.links[1].weight: expected 1 to 65535, got 0" },
      { function() return { links = { near, up = far } } end,
        "pool.links.up: unexpected key in a list; write the elements in order: { a, b }" },
      { function() return { links = { near }, policy = "fist" } end, 'pool.policy: unknown value "fist"; did you mean "first"?' },
      { function() return { links = { near }, policy = 1 } end,
        'pool.policy: unknown value 1; expected one of "first", "round_robin", "least_loaded", "lowest_rtt", "weighted", "hash", or a function' },
      { function() return { links = { near }, migrate = "all" } end, 'pool.migrate: unknown value "all"; expected "new-only"' },
      { function() return { links = { near }, check = { fall = 0 } } end, "pool.check.fall: expected 1 to 100, got 0" },
      { function() return { links = { near }, key = function() end } end,
        'pool.key: policy = "first" does not use it; give policy = "hash", or leave it out' },
      { { discover = { name = "x", link = { key = "k" }, port = 1 } }, "pool.discover.port: SRV records contain the port; leave it out" },
      { { discover = { name = "x", type = "A", link = { key = "k" } } }, "pool.discover.port: missing; give the peers' port" },
      { { discover = { name = "x", link = {} } }, "pool.discover.link.key: missing; expected a string, or kt.secret_file \"psk.key\"" },
      { { discover = { name = "x", link = { key = "k", kcp = { sndwind = 1 } } } },
        "pool.discover.link.kcp.sndwind: unknown key; did you mean sndwnd?" },
    }
    for _, case in ipairs(cases) do
      it("says: " .. case[2], function()
        local config = type(case[1]) == "function" and case[1]() or case[1]
        local ok, text = pcall(w.pool, config)
        assert.is_false(ok)
        assert.equal(case[2], text)
      end)
    end
  end)
end)
