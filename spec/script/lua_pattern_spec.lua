-- string.find, match, gmatch and gsub of scripts: same results as stock Lua, but they can be stopped.
local h = require "harness"
local scripts = require "harness.scripts"

-- Ends with a function that returns a digest of all results, and some of them in words; run by kt and by stock Lua.
local CASES = [==[
local seed = 12345
local function rnd(n) seed = (seed * 1103515245 + 12345) % 2147483648 return (seed >> 8) % n + 1 end
local items = { "a", "b", ".", "%a", "%d", "%s", "%A", "%w", "%p", "%.", "%%", "[ab]", "[^ab]", "[a-c]", "[%a-]", "[]]", "[^]]",
  "[a%]]", "%f[%a]", "%f[^%w]", "%b()", "%bab", "%1", "%2", "(", ")", "()", "^", "$", "*", "+", "-", "?", "%", "[", "%f", "%b(",
  "\0", "%g", "%x", "%u", "%l", "%c", "[%", "[a-", "1", "=" }
local letters = { "a", "b", "ab", "(", ")", "1", " ", "", "\0", "]", "-", "A", "%", ".", "aaa", "\n", "\xe9" }
local suffix = { "", "", "", "*", "+", "-", "?" }
local function some(from, n) local t = {} for i = 1, rnd(n) do t[i] = from[rnd(#from)] end return table.concat(t) end
local function pattern()
  local t = {}
  for i = 1, rnd(6) do t[i] = items[rnd(#items)] .. suffix[rnd(#suffix)] end
  if rnd(3) == 1 then table.insert(t, 1, "(") t[#t + 1] = ")" end
  if rnd(5) == 1 then table.insert(t, 1, "^") end
  if rnd(5) == 1 then t[#t + 1] = "$" end
  return table.concat(t)
end
local replacements = { "x", "%0", "<%1>", "%2", "%%", "%", "", 7, { a = "A", b = false, ab = 1 }, function(a, b) return b or a end,
  function() return nil end, function() return {} end, { a = {} } }
local function line(...)
  local t = table.pack(...)
  for i = 1, t.n do t[i] = tostring(t[i]):gsub("table: 0x%x+", "table") end
  return (table.concat(t, ","):gsub("^false,[^:]-:%d+: ", "false,"):gsub("bad argument #%d+", "bad argument"))
end
local function all(s, p, init)
  local t = {}
  for a, b in string.gmatch(s, p, init) do t[#t + 1] = tostring(a) .. "/" .. tostring(b) end
  return table.concat(t, " ")
end
local out = {}
for i = 1, COUNT do
  local s, p, init = some(letters, 8), pattern(), rnd(3) == 1 and rnd(24) - 12 or nil
  local r = replacements[rnd(#replacements)]
  local n = rnd(4) == 1 and rnd(4) - 2 or nil
  out[#out + 1] = ("%q %q %s: "):format(s, p, init) .. table.concat({ line(pcall(string.find, s, p, init)), line(pcall(string.match, s, p, init)),
    line(pcall(string.find, s, p, init, true)), line(pcall(all, s, p, init)), line(pcall(string.gsub, s, p, r, n)) }, " | ")
end
return out
]==]

describe("string patterns in a script", function()
  local s = scripts.each(before_each, after_each)

  local function run(text)
    return s.exited("run", "--unsafe", s.write("s.lua", 'local kt = require "kt"\n' .. text))
  end

  it("match as in stock Lua, malformed ones and all", function()
    local text = CASES:gsub("COUNT", h.light and "3000" or "30000")
    local expected = assert(load(text, "=cases"))()
    s.write("cases.lua", text)
    local p = run [[
local out = require "cases"
local f = io.open("out", "wb")
f:write(table.concat(out, "\n;;\n"))
f:close()
kt.spawn(function() end)]]
    assert.equal("", p.err)
    local n = 0
    for got in (h.read_file(s.dir .. "/out") .. "\n;;\n"):gmatch("(.-)\n;;\n") do
      n = n + 1
      if expected[n] ~= got then assert.equal(expected[n], got) end
    end
    assert.equal(#expected, n)
  end)

  for what, call in pairs {
    ["find"] = '(("a"):rep(40)):find((".-"):rep(12) .. "b")',
    ["match"] = '(("a"):rep(40)):match(("(a*)"):rep(12) .. "b")',
    ["gmatch"] = 'for _ in (("a"):rep(40)):gmatch(("a?"):rep(30) .. ("a*"):rep(9) .. "b") do end',
    ["gsub"] = '(("a"):rep(40)):gsub(("a*"):rep(12) .. "b", "")',
    ["find on a long subject"] = '(("a"):rep(1 << 20)):find("a-b")',
    ["balance"] = '(("("):rep(1 << 20)):find("%b()")',
  } do
    it("that take too long are stopped: " .. what, function()
      local p = run("kt.spawn(function()\n" .. call .. "\nend)\nkt.spawn(print, 'on')")
      assert.equal("on\n", p.out)
      assert.matches("task failed: s.lua:3: stopped after 0%.5 s", p.err)
    end)
  end
end)
