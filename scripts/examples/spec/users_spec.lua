-- users.lua: each user reaches what users.json says, at the rate that it says, and a change of the file applies at once.
local sim = require "kt.sim"

-- Pairs made by kt keygen --pair, for this spec only.
local SERVER = { key = "tp01CrTZJFyRhhSvGJsFBsX87M+Li8Re7Bj42CDKtxg=", pub = "ekOArnGKLi2MKmcUM8bbkIP4W+FQOHNSHA++i1b2Flw=" }
local USERS = {
  alice = { key = "ICgTjdsxEeW+PxaePyE3oDQiKS21zSlkkAuPWcrEokw=", pub = "yeaR36fqJWwp3wZqqI9j8tIm38AQRQX3f/vzkZsso2s=" },
  bob = { key = "7E4ilN5olbjinXMh1MTH0KW26REagwy5aShvuU3x2Dw=", pub = "Y9pB6I0/c0FIFiOB7OHrLxj39spMtY4bN9Ov5RejRW8=" },
}
local BOTH = ([[{ "alice": { "key": "%s", "rate": "10Mbit", "targets": ["127.0.0.1:5432", "127.0.0.1:22"] },
  "bob": { "key": "%s", "rate": "2Mbit", "targets": ["127.0.0.1:22"] } }]]):format(USERS.alice.pub, USERS.bob.pub)
local LIST = "scripts/examples/users.json"

describe("users.lua", function()
  local w, server, far
  before_each(function()
    w = sim.world {}
    server = w:host "server"
    w:name("vps.example", "server")
    for _, at in ipairs { "127.0.0.1:22", "127.0.0.1:5432" } do server:serve { on = at, kind = "echo" } end
    far = server:run("scripts/examples/users.lua", { files = { ["server.key"] = SERVER.key, ["users.json"] = BOTH } })
    for name in pairs(USERS) do
      w:host(name)
      w:link(name, "server", { delay = "20ms" })
    end
  end)

  -- Starts the near end of a user, who asks for a target.
  local function start(name, target)
    return w:host(name):run("scripts/examples/users.lua", { args = { "near", "--to", target },
      files = { ["own.key"] = USERS[name].key, ["server.pub"] = "# kt public key\n" .. SERVER.pub .. "\n" } })
  end

  local function served(name) return w:host(name):connect "127.0.0.1:12948":try_echo "hello" ~= nil end

  it("connects each user to the targets of that user only", function()
    start("alice", "127.0.0.1:5432")
    local bob = start("bob", "127.0.0.1:5432")
    assert.is_true(served "alice")
    assert.is_false(served "bob")
    bob:kill()
    start("bob", "127.0.0.1:22")
    assert.is_true(served "bob")
  end)

  it("limits all connections of a user together, and no other's", function()
    local ends = {}
    for name in pairs(USERS) do
      start(name, "127.0.0.1:22")
      for _ = 1, 2 do table.insert(ends, w:transfer { from = name, to = "127.0.0.1:12948", bytes = name == "bob" and "500kB" or "2500kB", kind = "echo" }) end
    end
    for _, t in ipairs(ends) do t:wait() end -- there and back: 2 MB of bob's at 250 kB/s, 10 MB of alice's at 1.25 MB/s
    assert.near(8, w:now(), 1)
  end)

  it("follows users.json: a new rate applies to open streams, and a user who is removed opens no more", function()
    start("bob", "127.0.0.1:22")
    local upload = w:transfer { from = "bob", to = "127.0.0.1:12948", bytes = "5MB", kind = "echo" }
    w:run_for "2s"
    server:file(LIST, (BOTH:gsub("2Mbit", "100Mbit")))
    upload:wait()
    assert.is_true(w:now() < 6, w:now())
    server:file(LIST, (BOTH:gsub('"bob"', '"bill"'):gsub("targets.-22", "%0", 1)))
    w:run_for "1s"
    assert.is_false(served "bob")
  end)

  it("applies nothing of a file with a mistake, which it names; a user without a rate has no limit", function()
    start("bob", "127.0.0.1:22")
    local function seconds(bytes)
      local from = w:now()
      w:transfer { from = "bob", to = "127.0.0.1:12948", bytes = bytes, kind = "echo" }:wait()
      return w:now() - from
    end
    server:file(LIST, (BOTH:gsub("2Mbit", "1kbit"):gsub('"key": "y', '"kee": "y')))
    w:run_for "1s"
    far:wait_log "users.json: alice: expected a key"
    assert.is_true(seconds "100kB" < 3)
    server:file(LIST, (BOTH:gsub('"rate": "2Mbit", ', "")))
    w:run_for "1s"
    assert.is_true(seconds "2MB" < 3)
  end)

  it("keeps the users when the file is wrong or gone", function()
    start("alice", "127.0.0.1:22")
    for _, text in ipairs { "{", '{ "alice": { "rate": 5 } }', false } do
      server:file(LIST, text or nil)
      w:run_for "1s"
      assert.is_true(served "alice")
    end
    far:wait_log "users.json: .*; the users stay as they are"
    assert.equal(2, (far:failed_tasks()))
  end)
end)
