-- kt.units: durations, sizes and rates, read and written.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
local units = require "kt.units"

describe("a duration", function()
  it("is read in every unit", function()
    local wanted = { ["250us"] = 250e-6, ["800ms"] = 0.8, ["5s"] = 5, ["10m"] = 600, ["1h"] = 3600, ["2d"] = 172800 }
    for text, seconds in pairs(wanted) do assert.near(seconds, units.duration(text), 1e-12) end
  end)

  it("may be a fraction, a sum, and spaced", function()
    assert.equal(1.5, units.duration "1.5s")
    assert.equal(5400, units.duration "1h30m")
    assert.equal(90, units.duration "1m 30 s")
  end)

  it("is in seconds when it is a plain number", function()
    assert.equal(0.25, units.duration(0.25))
    assert.equal(0, units.duration(0))
    assert.equal(0, units.duration "0")
  end)

  it("is refused with what was wanted", function()
    for _, bad in ipairs { "5", "", "s", "5 parsecs", "-1s", "5s!", "1h30", "0x5s", -1, 0 / 0, math.huge, true, {} } do
      local value, wanted = units.duration(bad)
      assert.is_nil(value, tostring(bad))
      assert.truthy(wanted:find('a duration such as "5s"', 1, true))
    end
  end)
end)

describe("a number with a unit", function()
  it("is refused beyond its maximum, however large it is written", function()
    local digits = ("9"):rep(400)
    for _, text in ipairs { "1000001GB", "99999999999GiB", "17179869185GiB", digits .. "B", 1e300, 1 << 62 } do
      assert.same({ nil, "at most 1e15 bytes", true }, { units.size(text) })
      assert.same({ nil, "at most 1e15 bytes per second", true }, { units.rate(text) })
    end
    assert.equal(1000000000000000, units.size "1000000GB")
    assert.same({ nil, "at most 1e15 bytes per second", true }, { units.rate "8000001Gbit" })
    for _, text in ipairs { "5124095576030432h", digits .. "s", "800000h100000h" } do
      assert.same({ nil, "at most 3.2e9 seconds (a hundred years)", true }, { units.duration(text) })
    end
  end)
end)

describe("a size", function()
  it("distinguishes binary from decimal units", function()
    assert.equal(2097152, units.size "2MiB")
    assert.equal(65536, units.size "64KiB")
    assert.equal(1000000, units.size "1MB")
    assert.equal(1 << 30, units.size "1GiB")
    assert.equal(512, units.size "512B")
  end)

  it("is whole", function()
    assert.equal("integer", math.type(units.size "1.5MiB"))
    assert.equal(1572864, units.size "1.5MiB")
    assert.equal("integer", math.type(units.size(4096.0)))
  end)

  it("is refused with what was wanted", function()
    for _, bad in ipairs { "64", "64K", "2 megabytes", "MiB", "-1MiB", -5, 1.9, false } do
      local value, wanted = units.size(bad)
      assert.is_nil(value, tostring(bad))
      assert.truthy(wanted:find('a size such as "64KiB"', 1, true))
    end
  end)
end)

describe("a rate", function()
  it("in bits comes out in bytes", function()
    assert.equal(2500000, units.rate "20Mbit")
    assert.equal(125, units.rate "1kbit")
    assert.equal(1, units.rate "1bit") -- not 0, which means unlimited
  end)

  it("in bytes stays, with or without /s", function()
    assert.equal(2097152, units.rate "2MiB")
    assert.equal(2097152, units.rate "2MiB/s")
    assert.equal(2500000, units.rate "20Mbit/s")
    assert.equal(1000, units.rate(1000))
    assert.equal(0, units.rate "0")
  end)

  it("is refused with what was wanted", function()
    for _, bad in ipairs { "20", "20Mb", "fast", "2MiB/m" } do
      local value, wanted = units.rate(bad)
      assert.is_nil(value, bad)
      assert.truthy(wanted:find('a rate such as "20Mbit"', 1, true))
    end
  end)
end)
