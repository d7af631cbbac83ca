-- kt.wall and kt.date: the wall clock, held against that of the spec's own process.
local h = require "harness"
local scripts = require "harness.scripts"

describe("the wall clock of a script", function()
  local s = scripts.each(before_each, after_each)

  --- Returns the output of the body in a time zone 5 h 30 min ahead of UTC.
  local function in_india(body)
    local file = s.write("s.lua", 'local kt = require "kt"\n' .. body .. "\nkt.spawn(function() end)")
    local p = h.start { name = "kt", cmd = { h.peer.kt, "run", s.dir .. "/" .. file }, env = { TZ = "IST-5:30" } }
    assert.equal(0, p:wait_exit(20), p.stderr)
    return p.stdout
  end

  --- The date at a time that is `offset` seconds ahead of UTC, as kt.date has it, and Lua's %w for the day of the week.
  local function date_at(time, offset)
    local d = os.date("!*t", time + offset)
    return ("%d-%d-%d %d:%d:%d %d"):format(d.year, d.month, d.day, d.hour, d.min, d.sec, d.wday == 1 and 7 or d.wday - 1)
  end

  --- Whether the text is the date at one of the seconds from `since` until now.
  local function is_date_since(since, offset, text)
    for time = since, os.time() do
      if date_at(time, offset) == text then return true end
    end
    return false
  end

  local PRINT = [[
    print(("%d-%d-%d %d:%d:%d %d"):format(d.year, d.month, d.day, d.hour, d.minute, d.second, d.weekday))]]

  it("counts the seconds since 1970", function()
    h.run(function()
      local before = os.time()
      local wall = tonumber((in_india "print(kt.wall())"))
      assert.is_true(wall >= before and wall < os.time() + 1)
    end)
  end)

  it("gives the date in the machine's time zone", function()
    h.run(function()
      local since = os.time()
      local text = in_india("local d = kt.date()" .. PRINT):match "[^\n]+"
      assert.is_true(is_date_since(since, 5.5 * 3600 // 1, text), text)
    end)
  end)

  it("gives the date in UTC", function()
    h.run(function()
      local since = os.time()
      local text = in_india('local d = kt.date { zone = "utc" }' .. PRINT):match "[^\n]+"
      assert.is_true(is_date_since(since, 0, text), text)
    end)
  end)

  it("suggests the closest zone", function()
    h.run(function()
      local code, _, err = s.run 'kt.date { zone = "UTC" }'
      assert.equal(1, code)
      assert.equal('kt: s.lua:2: kt.date.zone: unknown value "UTC"; did you mean "utc"?\n  run kt check to list all mistakes\n', err)
    end)
  end)
end)
