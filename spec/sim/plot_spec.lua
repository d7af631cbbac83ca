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

  -- Texts with their places.
  local function texts(svg)
    local list = {}
    for x, y, rest, text in svg:gmatch '<text x="([-%d.]+)" y="([-%d.]+)"([^>]*)>(.-)</text>' do
      list[#list + 1] = { x = tonumber(x), y = tonumber(y), text = text, left = not rest:find "anchor" }
    end
    return list
  end

  it("has room for the names of many series, without overlap", function()
    local many = {}
    for i = 1, 18 do many[i] = { name = ("host%d: link vps%d.example:29900"):format(i, i), points = { { 0, i }, { 1, i } } } end
    local svg = plot.svg { panels = { { name = "srtt", unit = "ms", series = many }, { name = "next", series = { many[1] } } } }
    local height = tonumber(svg:match 'height="(%d+)"')
    local names, last = {}, nil
    for _, t in ipairs(texts(svg)) do
      assert.is_true(t.x >= 0 and t.x <= 960 and t.y >= 0 and t.y <= height, t.text)
      if t.text:find "^host" then
        names[#names + 1] = t
        assert.is_true(t.x + #t.text * 6 <= 960, t.text)
        if last and last.y == t.y then assert.is_true(last.x + #last.text * 6 <= t.x) end
        last = t
      elseif t.text == "next" then
        assert.is_true(t.y > names[18].y + 10)
      end
    end
    assert.equal(19, #names)
  end)

  it("gives each series its own style, and reports the number left out", function()
    local many = {}
    for i = 1, 30 do many[i] = { name = "s" .. i, points = { { 0, i }, { 1, i } } } end
    local svg = plot.svg { panels = { { name = "srtt", series = many } } }
    local looks, n = {}, 0
    for look in svg:gmatch '<polyline points="[^"]*" fill="none" ([^>]*)>' do
      assert.is_nil(looks[look])
      looks[look], n = true, n + 1
    end
    assert.equal(21, n)
    assert.matches("and 9 more, not drawn", svg, 1, true)
  end)

  it("draws a series' limit with it, under one name", function()
    local svg = plot.svg { panels = { { name = "flight", series = { { name = "only", points = { { 0, 1 }, { 1, 2 } }, limit = { { 0, 4 }, { 1, 4 } } } } } } }
    assert.is_table(line(svg, 2))
    local n = 0
    for _, t in ipairs(texts(svg)) do n = n + (t.text == "only" and 1 or 0) end
    assert.equal(1, n)
  end)

  it("writes faults that come close together below one another", function()
    local marks = {}
    for i = 1, 5 do marks[i] = { 10 + i / 10, "a fault, number " .. i } end
    local seen = {}
    for _, t in ipairs(texts(plot.svg { marks = marks, panels = { { name = "x", series = { { name = "a", points = { { 0, 1 }, { 20, 1 } } } } } } })) do
      if t.text:find "^a fault" then
        assert.is_nil(seen[t.y])
        seen[t.y] = true
      end
    end
    assert.is_truthy(next(seen))
  end)

  it("names the faults", function()
    local svg = plot.svg { marks = { { 10, "cut a > b" } }, panels = { { name = "x", series = { { name = "a", points = { { 0, 1 }, { 20, 1 } } } } } } }
    assert.matches("cut a &gt; b", svg, 1, true)
  end)

  it("escapes names", function()
    local svg = plot.svg { title = "<script>&", panels = {} }
    assert.matches("&lt;script&gt;&amp;", svg, 1, true)
    assert.is_nil(svg:find("<script>", 1, true))
  end)

  it("works without any figures", function()
    local svg = plot.svg { panels = { { name = "goodput", series = { { name = "a", points = {} } } } } }
    assert.matches("</svg>\n$", svg)
    assert.is_nil(svg:find("nan", 1, true))
    assert.is_nil(svg:find("inf", 1, true))
  end)
end)
