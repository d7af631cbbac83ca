-- lua/kt/pool/discovery.lua without kt: from DNS answers to links.
local world = require "pool_world"
local discovery = require "kt.pool.discovery"

local function remotes(entries)
  local out = {}
  for i, entry in ipairs(entries) do out[i] = entry.remote end
  return out
end

describe("the plan", function()
  it("of addresses has each once, with the port", function()
    local plan, ttl = discovery.plan({ { address = "192.0.2.2", ttl = 60 }, { address = "192.0.2.1", ttl = 30 },
      { address = "192.0.2.2", ttl = 90 } }, "A", 29900)
    assert.same({ "192.0.2.1:29900", "192.0.2.2:29900" }, remotes(plan))
    assert.equal(30, ttl)
  end)

  it("writes IPv6 addresses as links expect them", function()
    local plan = discovery.plan({ { address = "2001:db8::1", ttl = 60 } }, "AAAA", 1)
    assert.same({ "[2001:db8::1]:1" }, remotes(plan))
  end)

  it("of SRV records is ordered by priority, then weight", function()
    local plan = discovery.plan({
      { target = "c.example.", port = 3, priority = 20, weight = 9, ttl = 60 },
      { target = "a.example", port = 1, priority = 10, weight = 5, ttl = 60 },
      { target = "b.example", port = 2, priority = 10, weight = 50, ttl = 60 },
    }, "SRV")
    assert.same({
      { remote = "b.example:2", tier = 10, weight = 50 }, { remote = "a.example:1", tier = 10, weight = 5 },
      { remote = "c.example:3", tier = 20, weight = 9 },
    }, plan)
  end)

  it("gives weight 0 the smallest share", function()
    assert.equal(1, discovery.plan({ { target = "a", port = 1, priority = 0, weight = 0, ttl = 1 } }, "SRV")[1].weight)
  end)

  it("of an empty answer has no lifetime", function()
    for _, answers in ipairs { {}, { { target = ".", port = 0, priority = 0, weight = 0, ttl = 60 } }, { "rubbish" }, { { ttl = 1 } },
      { { target = "a", ttl = 1 } }, { { target = "a", port = 0, ttl = 1 } } } do
      local plan, ttl = discovery.plan(answers, "SRV")
      assert.same({}, plan)
      assert.is_nil(ttl)
    end
  end)

  it("never holds shorter than a second, nor longer than a day", function()
    local function ttl_of(ttl) return select(2, discovery.plan({ { address = "192.0.2.1", ttl = ttl } }, "A", 1)) end
    assert.equal(1, ttl_of(0))
    assert.equal(1, ttl_of(-5))
    assert.equal(1, ttl_of(nil))
    assert.equal(86400, ttl_of(1e9))
  end)

  it("has at most 64 links, the best ones", function()
    local answers = {}
    for i = 1, 1000 do answers[i] = { target = ("h%d"):format(i), port = 1, priority = 1000 - i, weight = 1, ttl = 9 } end
    local plan, _, dropped = discovery.plan(answers, "SRV")
    assert.equal(64, #plan)
    assert.equal(936, dropped)
    assert.equal("h1000:1", plan[1].remote)
  end)
end)

describe("the difference", function()
  it("lists links to add, keep and drop", function()
    local add, keep, drop = discovery.diff({ a = true, b = true, z = true }, { { remote = "b" }, { remote = "c" } })
    assert.same({ "c" }, remotes(add))
    assert.same({ "b" }, remotes(keep))
    assert.same({ "a", "z" }, drop)
  end)
end)

describe("a pool that discovers its links", function()
  local w
  before_each(function() w = world.new() end)

  local function srv(...)
    local out = {}
    for i, r in ipairs { ... } do
      out[i] = { target = r[1], port = 1, priority = r.priority or 0, weight = r.weight or 1, ttl = r.ttl or 10 }
    end
    return out
  end

  local function pool_of(config)
    config = config or {}
    config.discover = config.discover or { name = "kt.test", servers = { "127.0.0.1:5353" }, link = { key = "k" } }
    return w.pool(config)
  end

  local function names(pool)
    local out = {}
    for i, facts in ipairs(pool:links()) do out[i] = facts.name end
    return out
  end

  it("makes them with the settings given", function()
    w.names["kt.test"] = srv({ "a" }, { "b" })
    local pool = pool_of { discover = { name = "kt.test", link = { key = "k", mode = "fast3", rate = "2MiB" } } }
    w.run(1)
    assert.same({ "a:1", "b:1" }, names(pool))
    assert.equal("k", w.made["a:1"].settings.key)
    assert.equal("fast3", w.made["a:1"].settings.mode)
    assert.equal(2 << 20, w.made["a:1"].settings.rate)
  end)

  it("asks for the configured name and type", function()
    pool_of()
    w.run(1)
    assert.same({ name = "kt.test", type = "SRV", servers = { "127.0.0.1:5353" }, timeout = 5 }, w.asked)
  end)

  it("lets an open wait for the first one", function()
    local pool = pool_of()
    w.env.spawn(function()
      w.env.park(2)
      w.names["kt.test"] = srv { "a" }
    end)
    assert.equal("a:1", w.where(pool, { timeout = 8 }))
  end)

  it("fails an open when none is found in time", function()
    local pool = pool_of()
    local _, err = w.open(pool, { timeout = 3 })
    assert.equal("timeout", err.code)
    assert.equal("pool: no link found in kt.test within 3 s", tostring(err))
    assert.near(3, w.now, 0.01)
  end)

  it("asks again when the shortest TTL expires, or slightly later", function()
    w.names["kt.test"] = srv({ "a", ttl = 30 }, { "b", ttl = 300 })
    pool_of()
    w.run(29.9)
    assert.equal(1, w.lookups)
    w.run(3.5)
    assert.equal(2, w.lookups)
  end)

  it("adds new links and removes missing ones", function()
    w.names["kt.test"] = srv({ "a" }, { "b" })
    local pool = pool_of { policy = "round_robin" }
    w.run(1)
    w.names["kt.test"] = srv({ "b" }, { "c" })
    w.run(11)
    assert.same({ "b:1", "c:1" }, names(pool))
    assert.equal(1, w.logged "^info pool: added c:1 from kt.test$")
    assert.equal(1, w.logged "^info pool: removed a:1, no longer in kt.test; its streams stay open$")
  end)

  it("closes a link that is gone when its last stream has ended, not before", function()
    w.names["kt.test"] = srv({ "a" }, { "b" })
    local pool = pool_of()
    w.run(1)
    assert.equal("a:1", w.where(pool))
    w.names["kt.test"] = srv { "b" }
    w.run(60)
    local gone = w.made["a:1"]
    assert.is_false(gone.closed)
    gone.streams = 0
    w.run(6)
    assert.is_true(gone.closed)
    assert.is_false(w.made["b:1"].closed)
  end)

  it("uses a worse priority only while none of a better one is up", function()
    w.names["kt.test"] = srv({ "c", priority = 20 }, { "a", priority = 10 }, { "b", priority = 10 })
    local pool = pool_of { policy = "round_robin" }
    w.run(1)
    local seen = {}
    for _ = 1, 10 do seen[w.where(pool)] = true end
    assert.same({ ["a:1"] = true, ["b:1"] = true }, seen)
    w.made["a:1"].dead, w.made["b:1"].dead = true, true
    w.run(5)
    assert.equal("c:1", w.where(pool))
  end)

  it("applies changed weights and priorities", function()
    w.names["kt.test"] = srv({ "a", weight = 3 }, { "b", weight = 1 })
    local pool = pool_of { policy = "weighted" }
    w.run(1)
    w.names["kt.test"] = srv({ "a", priority = 9 }, { "b", weight = 7 })
    w.run(12)
    assert.same({ "b:1", "a:1" }, names(pool))
    assert.equal(7, pool:links()[1].weight)
    for _ = 1, 5 do assert.equal("b:1", w.where(pool)) end
  end)

  it("keeps its links when the lookup fails, logs that once, and retries with backoff", function()
    w.names["kt.test"] = srv { "a" }
    local pool = pool_of()
    w.run(1)
    w.names["kt.test"] = nil
    w.run(600)
    assert.same({ "a:1" }, names(pool))
    assert.equal(1, w.logged "^warn pool: no SRV records of kt.test: no such name; keeping the current links$")
    assert.is_true(w.lookups > 8 and w.lookups < 20, w.lookups)
    w.names["kt.test"] = srv { "b" }
    w.run(60)
    assert.same({ "b:1" }, names(pool))
  end)

  it("keeps its links when the answer is empty", function()
    w.names["kt.test"] = srv { "a" }
    local pool = pool_of()
    w.run(1)
    w.names["kt.test"] = {}
    w.run(60)
    assert.same({ "a:1" }, names(pool))
    assert.equal(1, w.logged "no usable record in the answer")
  end)

  it("skips an address that no link can be made for, and tries it at the next lookup", function()
    w.names["kt.test"] = srv { "a" }
    w.refuse_links = "link.remote: out of luck"
    local pool = pool_of()
    w.run(1)
    assert.same({}, names(pool))
    assert.equal(1, w.logged "^warn pool: skipped a:1 from kt.test: link.remote: out of luck$")
    w.refuse_links = nil
    w.run(12)
    assert.same({ "a:1" }, names(pool))
  end)

  it("puts them behind those that the script names", function()
    w.names["kt.test"] = srv { "a" }
    local pool = pool_of { links = { w.link "near" }, policy = "first" }
    w.run(1)
    assert.same({ "near", "a:1" }, names(pool))
  end)

  it("when closed makes no more links, and closes those it made with their last streams", function()
    w.names["kt.test"] = srv({ "a" }, { "b" })
    local pool = pool_of()
    w.run(1)
    w.where(pool)
    pool:close()
    w.run(20)
    assert.is_true(w.made["b:1"].closed)
    assert.is_false(w.made["a:1"].closed)
    w.made["a:1"].streams = 0
    w.run(6)
    assert.is_true(w.made["a:1"].closed)
    assert.equal(0, #w.tasks)
    assert.equal(1, w.lookups)
  end)
end)
