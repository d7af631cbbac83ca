-- The drawings of `kt test --plot`.
package.path = "./lua/?.lua;" .. package.path
local plot = require "kt.sim.plot"

local function line(svg, n)
  local i = 0
  for points in svg:gmatch '<polyline points="(.-)"' do
    i = i + 1
    if i == n then
      local list = {}
      for x, y in points:gmatch "([%d.]+),([%d.]+)" do list[#list + 1] = { tonumber(x), tonumber(y) } end
      return list
    end
  end
end

describe("a drawing", function()
  it("puts greater values higher and later ones further right", function()
    local svg = plot.svg { panels = { { name = "srtt", unit = "ms", series = { { name = "a", points = { { 0, 10 }, { 5, 40 }, { 10, 20 } } } } } } }
    local drawn = line(svg, 1)
    assert.equal(3, #drawn)
    assert.is_true(drawn[1][1] < drawn[2][1] and drawn[2][1] < drawn[3][1])
    assert.is_true(drawn[2][2] < drawn[3][2] and drawn[3][2] < drawn[1][2])
  end)

  it("draws all panels on one time axis", function()
    local svg = plot.svg { panels = {
      { name = "one", series = { { name = "a", points = { { 0, 1 }, { 100, 1 } } } } },
      { name = "two", series = { { name = "b", points = { { 50, 1 } } } } },
    } }
    local first, second = line(svg, 1), line(svg, 2)
    assert.near((first[1][1] + first[2][1]) / 2, second[1][1], 0.1)
  end)

  it("keeps a spike of a series that has too many points to draw", function()
    local points = {}
    for i = 1, 20000 do points[i] = { i, i == 7777 and 900 or 1 } end
    local drawn = line(plot.svg { panels = { { name = "loss", series = { { name = "a", points = points } } } } }, 1)
    local top = math.huge
    for _, point in ipairs(drawn) do top = math.min(top, point[2]) end
    assert.is_true(#drawn <= 1100)
    assert.near(34, top, 0.5)
  end)

  it("says what the faults were", function()
    local svg = plot.svg { marks = { { 10, "cut a > b" } }, panels = { { name = "x", series = { { name = "a", points = { { 0, 1 }, { 20, 1 } } } } } } }
    assert.matches("cut a &gt; b", svg, 1, true)
  end)

  it("lets no name break out of the text", function()
    local svg = plot.svg { title = "<script>&", panels = {} }
    assert.matches("&lt;script&gt;&amp;", svg, 1, true)
    assert.is_nil(svg:find("<script>", 1, true))
  end)

  it("stands without any figures", function()
    local svg = plot.svg { panels = { { name = "goodput", series = { { name = "a", points = {} } } } } }
    assert.matches("</svg>\n$", svg)
    assert.is_nil(svg:find("nan", 1, true))
    assert.is_nil(svg:find("inf", 1, true))
  end)
end)
