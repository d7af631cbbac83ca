-- kt.schema: values checked by their descriptions, and what is reported of mistakes.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
local schema = require "kt.schema"
local api = require "kt.api"

-- The types that kt/init.lua adds when it runs inside kt.
for _, name in ipairs { "prefix", "client", "ip", "interface", "pipe", "opener", "endpoints",
  "endpoint", "name_server", "secret", "keys", "routes", "headers" } do
  schema.types[name] = schema.types[name] or function(_, value) return value end
end

local tank = {
  type = "table",
  keys = {
    { name = "litres", type = "integer", min = 1, max = 99, default = 40 },
    { name = "fuel", type = "enum", values = { "diesel", "petrol", "none" } },
    { name = "flush", type = "duration", default = 5 },
    { name = "label", type = "string" },
    { name = "sealed", type = "boolean" },
    { name = "on_empty", type = "function" },
    { name = "hose", type = "table", default = {}, off = true,
      keys = { { name = "sndwnd", type = "integer" }, { name = "length", type = "integer", default = 3 } } },
  },
}

local function check(value, description)
  return schema.check("tank", description or tank, value)
end

local function mistake(value, description)
  local out, mistakes = check(value, description)
  assert.is_nil(out)
  assert.equal(1, #mistakes, schema.text("tank", mistakes))
  return schema.line(mistakes[1])
end

describe("the schema", function()
  it("fills in defaults, nested ones too", function()
    assert.same({ litres = 40, flush = 5, hose = { length = 3 } }, check {})
  end)

  it("reads units", function()
    assert.equal(0.8, check({ flush = "800ms" }).flush)
  end)

  it("does not change its argument", function()
    local given = { flush = "800ms", hose = {} }
    check(given)
    assert.same({ flush = "800ms", hose = {} }, given)
  end)

  it("suggests the closest key", function()
    assert.equal("tank.hose.sndwind: unknown key; did you mean sndwnd?", mistake { hose = { sndwind = 3 } })
    assert.equal("tank.litters: unknown key; did you mean litres?", mistake { litters = 3 })
    assert.equal("tank.lable: unknown key; did you mean label?", mistake { lable = "x" })
  end)

  it("prefers a missing letter to a superfluous one", function()
    assert.equal("open", schema.suggest("opn", { "close", "on", "open" }))
    assert.equal("on", schema.suggest("onn", { "close", "on", "open" }))
  end)

  it("says where a misplaced key belongs", function()
    assert.equal("tank.sndwnd: unknown key; it goes inside hose: hose = { sndwnd = ... }", mistake { sndwnd = 3 })
  end)

  it("lists the keys when none is similar", function()
    assert.equal("tank.colour: unknown key; expected one of litres, fuel, flush, label, sealed, on_empty, hose",
      mistake { colour = "red" })
  end)

  it("refuses positional values", function()
    assert.equal("tank[1]: unexpected positional value; write name = value", mistake { 5 })
  end)

  it("names the range of a value out of range", function()
    assert.equal("tank.litres: expected 1 to 99, got 100", mistake { litres = 100 })
    assert.equal("tank.litres: expected 1 to 99, got 0", mistake { litres = 0 })
  end)

  it("writes a range in the unit of what it bounds, also where the bound itself is out of it", function()
    local function range(d, value)
      local _, mistakes = schema.check("it", d, value)
      return mistakes[1].message:match "^expected (.*), got [^,]*$"
    end
    assert.equal("8KiB to less than 2GiB", range({ type = "size", min = 8192, below = 1 << 31 }, 1 << 31))
    assert.equal("less than 1MiB", range({ type = "size", below = 1 << 20 }, "1MiB"))
    assert.equal("at most 1000 bytes", range({ type = "size", max = 1000 }, 1001))
    assert.equal("1s to 1m", range({ type = "duration", min = 1, max = 60 }, "2m"))
    assert.equal("at least 100ms", range({ type = "duration", min = 0.1 }, 0))
    assert.equal((1 << 31) - 1, schema.check("it", { type = "size", below = 1 << 31 }, (1 << 31) - 1))
  end)

  it("says that text of a number needs a unit", function()
    for kind, text in pairs { size = "250000B", rate = "250000B", duration = "250000s" } do
      local _, wrong = schema.types[kind]({}, "250000")
      assert.matches(('got "250000"; text needs a unit, such as "%s"'):format(text), wrong, 1, true)
    end
  end)

  it("takes a whole float as an integer, and no other", function()
    assert.equal("integer", math.type(check({ litres = 7.0 }).litres))
    assert.equal("tank.litres: expected an integer (1 to 99), got 7.5", mistake { litres = 7.5 })
    assert.equal('tank.litres: expected an integer (1 to 99), got "7"', mistake { litres = "7" })
  end)

  it("suggests the closest value", function()
    assert.equal('tank.fuel: unknown value "deisel"; did you mean "diesel"?', mistake { fuel = "deisel" })
    assert.equal('tank.fuel: unknown value "coal"; expected one of "diesel", "petrol", "none"', mistake { fuel = "coal" })
  end)

  it("names the expected type", function()
    assert.equal("tank.label: expected a string, got 5", mistake { label = 5 })
    assert.equal('tank.sealed: expected true or false, got "yes"', mistake { sealed = "yes" })
    assert.equal("tank.on_empty: expected a function, got a table", mistake { on_empty = {} })
    assert.equal("tank.hose: expected a table or false, got 5", mistake { hose = 5 })
    assert.equal("tank: expected a table, got 5", mistake(5))
  end)

  it("accepts false for settings that may be off", function()
    assert.is_false(check({ hose = false }).hose)
  end)

  it("names missing keys", function()
    local d = { type = "table", keys = { { name = "key", type = "string", required = true, expected = "a secret" } } }
    assert.equal("tank.key: missing; expected a secret", mistake({}, d))
  end)

  it("reports a missing argument", function()
    local out, mistakes = check(nil)
    assert.is_nil(out)
    assert.equal("tank: expected a table, got no value", schema.line(mistakes[1]))
  end)

  it("returns path, mistake and hint separately", function()
    local _, mistakes = check { hose = { sndwind = 3 }, fuel = "deisel", label = 5 }
    assert.same({
      { path = "tank.fuel", message = 'unknown value "deisel"', suggestion = 'did you mean "diesel"?' },
      { path = "tank.label", message = "expected a string, got 5" },
      { path = "tank.hose.sndwind", message = "unknown key", suggestion = "did you mean sndwnd?" },
    }, mistakes)
  end)

  it("finds all mistakes at once", function()
    local _, mistakes = check { litres = 0, fuel = "coal", label = 1, flush = "soon", hose = { sndwind = 1 }, colour = 1 }
    assert.equal(6, #mistakes)
    assert.matches("^tank: 6 mistakes\n  tank.litres: ", schema.text("tank", mistakes))
  end)

  it("quotes hostile values harmlessly", function()
    assert.equal('tank.fuel: unknown value "a\\10b\\27c"; expected one of "diesel", "petrol", "none"', mistake { fuel = "a\nb\27c" })
    assert.is_true(#mistake { fuel = ("x"):rep(1000) } < 120)
  end)

  it("measures typing mistakes", function()
    assert.equal(0, schema.distance("mode", "mode"))
    assert.equal(1, schema.distance("mdoe", "mode"))
    assert.equal(1, schema.distance("mod", "mode"))
    assert.equal(1, schema.distance("mopde", "mode"))
    assert.equal(4, schema.distance("", "mode"))
  end)
end)

describe("the description of kt.link", function()
  local link = api.functions["kt.link"]

  local function check_link(config)
    config.remote, config.key = config.remote or "vps:29900", config.key or "k"
    return schema.check("link", link.argument, config)
  end

  local function one_mistake(config)
    local out, mistakes = check_link(config)
    assert.is_nil(out)
    assert.equal(1, #mistakes, schema.text("link", mistakes))
    return schema.line(mistakes[1])
  end

  it("has kcptun's defaults, apart from the mode", function()
    local c = check_link {}
    assert.same({ "aes", "auto", true, false }, { c.crypt, c.mode, c.compress, c.qpp })
    assert.same({ mtu = 1350, acknodelay = false }, c.kcp) -- the wire adds what mode auto may choose
    assert.same({}, c.fec)
    assert.same({ version = 2, frame = 8192, keepalive = 10 }, c.smux)
    assert.same({ 1, 0, 600, 30, 0 }, { c.sessions, c.expire, c.scavenge, c.dead_after, c.rate })
  end)

  it("is in kcptun's mode if windows are given and no mode", function()
    assert.equal("fast", check_link({ kcp = { sndwnd = 512 } }).mode)
    assert.equal("fast", check_link({ kcp = { rcvwnd = 512 } }).mode)
    assert.equal("auto", check_link({ kcp = { mtu = 1200 } }).mode)
    local c = check_link { mode = "auto", kcp = { sndwnd = 512 } }
    assert.same({ "auto", 512 }, { c.mode, c.kcp.sndwnd })
  end)

  it("takes a bandwidth with mode auto only", function()
    assert.equal(6250000, check_link({ bandwidth = "50Mbit" }).bandwidth)
    assert.equal('link.bandwidth: only mode = "auto" takes it; give rate to limit what is sent',
      one_mistake { wire = "kcptun", mode = "fast", bandwidth = "50Mbit" })
  end)

  it("knows the mode names", function()
    for _, mode in ipairs { "normal", "fast", "fast2", "fast3", "auto", "manual", "default" } do
      assert.equal(mode, check_link({ mode = mode }).mode)
    end
    assert.equal('link.mode: unknown value "fst2"; did you mean "fast2"?', one_mistake { mode = "fst2" })
  end)

  it("lets mode = manual set what the modes set", function()
    local c = check_link { mode = "manual", kcp = { interval = 20, nodelay = 1 } }
    assert.same({ true, 20, 0, false }, { c.kcp.nodelay, c.kcp.interval, c.kcp.resend, c.kcp.nc })
  end)

  it("refuses them with any other mode", function()
    assert.equal('link.kcp.nodelay: mode = "fast" sets it; give mode = "manual" to set it yourself',
      one_mistake { kcp = { nodelay = true } })
  end)

  it("knows the wires", function()
    assert.equal('link.wire: unknown value "carrier pigeon"; expected one of "auto", "kt", "kcptun"', one_mistake { wire = "carrier pigeon" })
  end)

  it("limits FEC groups to the code's maximum", function()
    assert.equal("link.fec.parity: expected data + parity of at most 255, got 300", one_mistake { fec = { data = 200, parity = 100 } })
    assert.is_false(check_link({ fec = false }).fec)
  end)

  it("treats qpp = true as 61 pads", function()
    assert.same({ pads = 61 }, check_link({ qpp = true }).qpp)
    assert.same({ pads = 7 }, check_link({ qpp = { pads = 7 } }).qpp)
  end)

  it("keeps a stream's buffer within the session's", function()
    assert.equal("link.smux.stream_buffer: expected at most buffer (1048576), got 4194304",
      one_mistake { smux = { buffer = "1MiB", stream_buffer = "4MiB" } })
  end)
end)

describe("a list", function()
  local fleet = {
    type = "table",
    keys = {
      { name = "tanks", type = "list", of = { type = "table", bare = "pump", keys = {
        { name = "pump", type = "handle", kind = "pump", required = true }, { name = "litres", type = "integer", default = 40 } } } },
      { name = "names", type = "list", of = { type = "string" } },
      { name = "order", type = "enum", values = { "oldest", "newest" }, fn = true },
    },
  }
  local pump = setmetatable({}, { __name = "pump" })
  local kind = schema.kind
  before_each(function()
    function schema.kind(value) return rawequal(value, pump) and "pump" or nil end
  end)
  after_each(function() schema.kind = kind end)

  it("has each element checked, with its defaults", function()
    assert.same({ tanks = { { pump = pump, litres = 9 } }, names = { "a", "b" } },
      check({ tanks = { { pump = pump, litres = 9 } }, names = { "a", "b" } }, fleet))
    assert.equal("tank.names[2]: expected a string, got 7", mistake({ names = { "a", 7 } }, fleet))
    assert.equal("tank.tanks[1].liters: unknown key; did you mean litres?", mistake({ tanks = { { pump = pump, liters = 1 } } }, fleet))
  end)

  it("accepts a handle in place of a table with only that handle", function()
    assert.same({ tanks = { { pump = pump, litres = 40 } } }, check({ tanks = { pump } }, fleet))
  end)

  it("refuses a handle of another kind", function()
    assert.equal('tank.tanks[1]: expected a pump or a table, got "x"', mistake({ tanks = { "x" } }, fleet))
    assert.equal("tank.tanks[1].pump: expected a pump, got a table", mistake({ tanks = { { pump = {} } } }, fleet))
  end)

  it("is not a table with other keys, nor anything else", function()
    assert.equal("tank.names.first: unexpected key in a list; write the elements in order: { a, b }",
      mistake({ names = { first = "a" } }, fleet))
    assert.equal('tank.names: expected a list, got "a"', mistake({ names = "a" }, fleet))
  end)

  it("may be empty", function()
    assert.same({ names = {} }, check({ names = {} }, fleet))
  end)

  it("may not hold functions, unless an enum allows them", function()
    assert.equal(print, check({ order = print }, fleet).order)
    assert.equal("tank.names: expected a list, got a function", mistake({ names = print }, fleet))
    assert.equal('tank.order: unknown value 5; expected one of "oldest", "newest", or a function', mistake({ order = 5 }, fleet))
  end)
end)

describe("the description of the API", function()
  it("gives context, syntax and purpose of every function", function()
    for _, f in ipairs(api.functions) do
      assert.truthy(({ declare = 1, task = 1, any = 1 })[f.context], f.name)
      assert.equal(f.name, f.signature:sub(1, #f.name))
      assert.is_true(#f.doc > 10, f.name)
    end
  end)

  it("documents every key", function()
    local function walk(path, d)
      for _, key in ipairs(d.keys or {}) do
        local at = path .. "." .. key.name
        assert.is_string(key.doc, at)
        local inner = key.type == "list" and key.of or key
        assert.truthy(inner.type == "table" or schema.types[inner.type], at)
        walk(at, inner)
      end
    end
    for _, f in ipairs(api.functions) do
      if f.argument then walk(f.name, f.argument) end
    end
  end)

  it("explains a mistake of a call that is checked in C", function()
    assert.equal("kt.connect.timout: unknown key; did you mean timeout?", api.explain("kt.connect", { to = "a:1", timout = 3 }))
    assert.equal("kt.connect.to: missing; expected \"host:port\", or \"unix:/path\"", api.explain("kt.connect", {}))
    assert.matches('^kt.sleep: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got "soon"', api.explain("kt.sleep", "soon"))
    assert.is_nil(api.explain("kt.splice", { idle = "10m" }))
  end)
end)
