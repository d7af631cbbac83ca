-- table.sort of scripts: the same order as stock Lua, plus stability.
local h = require "harness"
local scripts = require "harness.scripts"

local CASES = [==[
local seed = 12345
local function rnd(n) seed = (seed * 1103515245 + 12345) % 2147483648 return (seed >> 8) % n + 1 end
local out = {}
local function sorted(t, less)
  table.sort(t, less)
  for i, v in ipairs(t) do t[i] = tostring(v) end
  local digest = 0
  for c in table.concat(t, " "):gmatch "." do digest = digest * 31 + c:byte() end
  out[#out + 1] = ("%d: %x"):format(#t, digest)
end
for n = 0, 70 do
  local numbers, words, back = {}, {}, {}
  for i = 1, n do
    numbers[i] = rnd(3) == 1 and rnd(20) / 4 or rnd(20)
    words[i], back[i] = ("abc"):rep(rnd(3)):sub(rnd(6)), rnd(1000)
  end
  for i = 1, n do if numbers[i] % 1 == 0 then numbers[i] = numbers[i] // 1 | 0 end end
  sorted(numbers)
  sorted(words)
  sorted(back, function(a, b) return a > b end)
end
local long = {}
for i = 1, 20000 do long[i] = i % 2 == 0 and i or -i end
sorted(long)
sorted(setmetatable({}, { __len = function() return 3 end, __index = function(_, i) return i < 4 and 10 - i or nil end }))
return out
]==]

describe("table.sort of a script", function()
  local s = scripts.each(before_each, after_each)

  local function print_of(text)
    local said
    h.run(function()
      local code, out, err = s.run("%s", text .. "\nkt.spawn(function() end)")
      assert.equal(0, code, err)
      said = out
    end)
    return said
  end

  it("orders as stock Lua does", function()
    local want = table.concat(load(CASES)(), "\n") .. "\n"
    assert.equal(want, (print_of("print(table.concat((function()\n" .. CASES .. '\nend)(), "\\n"))')))
  end)

  it("is stable", function()
    assert.equal("1 4 7 2 5 8 3 6 9\n", print_of [[
      local t = { 1, 2, 3, 4, 5, 6, 7, 8, 9 }
      table.sort(t, function(a, b) return (a - 1) % 3 < (b - 1) % 3 end)
      print(table.concat(t, " "))]])
  end)

  it("leaves the list unchanged when the comparator raises", function()
    assert.equal("false\tenough\t5 3 4 1 2\n", print_of [[
      local t, n = { 5, 3, 4, 1, 2 }, 0
      local ok, why = pcall(table.sort, t, function(a, b) n = n + 1 if n == 5 then error("enough", 0) end return a < b end)
      print(ok, why, table.concat(t, " "))]])
  end)

  it("terminates and keeps all elements with an inconsistent comparator", function()
    assert.equal("6\t6\n", print_of [[
      local function all(less)
        local t, seen, n = { 1, 2, 3, 4, 5, 6 }, {}, 0
        table.sort(t, less)
        for _, v in ipairs(t) do if not seen[v] then seen[v], n = true, n + 1 end end
        return n
      end
      print(all(function() return true end), all(function(a, b) return (a * 7 + b * 3) % 5 > 2 end))]])
  end)

  it("reports values that it cannot sort", function()
    local said = print_of [[
      print(select(2, pcall(table.sort, 5)))
      print(select(2, pcall(table.sort, { 1, 2 }, 5)))
      print(select(2, pcall(table.sort, { 1, "x" })))]]
    assert.matches("^bad argument #1 to '.-' %(table expected, got number%)\nbad argument #2 to '.-' %(function expected, got number%)\n"
      .. "attempt to compare .-string.-number.-\n$", said)
  end)
end)
