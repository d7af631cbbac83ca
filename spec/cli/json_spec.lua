-- kt.json: values as they are read, and mistakes at their line and column.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
local json = require "kt.json"

--- A node as plain Lua: objects as lists of { name, value }, numbers as they are written, null as "null".
local function plain(node)
  if node.kind == "object" then
    local out = {}
    for i, member in ipairs(node.members) do out[i] = { member.name, plain(member.value) } end
    return out
  elseif node.kind == "array" then
    local out = {}
    for i, item in ipairs(node.items) do out[i] = plain(item) end
    return out
  end
  if node.kind == "null" then return "null" end
  return node.value
end

local function read(text) return plain(assert(json.read(text))) end

--- Line, column and message of the mistake in a text.
local function mistake(text)
  local node, wrong = json.read(text)
  assert.is_nil(node, text)
  local line, column = json.place(text, wrong.at)
  return line, column, wrong.message
end

describe("JSON", function()
  it("is read with its members in order, repeated ones too", function()
    assert.same({ { "b", "1" }, { "a", { true, false, "null", {}, {} } }, { "b", "-2.50e+3" } },
      read ' { "b" : 1,\r\n\t"a":[true,false,null,{},[]],"b":-2.50e+3 } ')
  end)

  it("has strings with every escape", function()
    assert.equal("\"\\/\b\f\n\r\t\0\u{e9}\u{1f600}\127", read([["\"\\\/\b\f\n\r\t\u0000\u00e9\uD83D\ude00]] .. '\127"'))
  end)

  it("has U+FFFD where a string is not Unicode, as in Go", function()
    assert.equal("\u{fffd}\u{fffd}x", read '"\xc3\xffx"')
    assert.equal("\u{fffd}x", read [["\ud800x"]])
    assert.equal("\u{fffd}x", read [["\udc00x"]])
    assert.equal("\u{fffd}a", read [["\ud800\u0061"]])
    assert.equal("\u{fffd}\u{1f600}", read [["\ud800\ud83d\ude00"]])
    assert.equal("\u{fffd}\u{fffd}\u{fffd}", read '"\xed\xa0\x80"') -- a surrogate in UTF-8
  end)

  it("may begin with a byte order mark", function()
    assert.same({ { "a", "1" } }, read '\xef\xbb\xbf{"a": 1}')
  end)

  it("ends with its first value, and reports the position of what follows", function()
    local text = "{}\n  }"
    local _, rest = json.read(text)
    assert.same({ 2, 3 }, { json.place(text, rest) })
    assert.is_nil(select(2, json.read "{} \n"))
  end)

  it("has mistakes at their line and column, in characters", function()
    local cases = {
      { "", 1, 1, "expected a value, got the end of the file" },
      { "{", 1, 2, "expected a name in double quotes, got the end of the file" },
      { '{"é": 1,\n "ü" 2}', 2, 6, "expected ':' after \"ü\", got '2'" },
      { '{"a": 1 "b": 2}', 1, 9, "expected ',' or '}', got '\"'" },
      { '{"a": 1,}', 1, 9, "expected a value after ',', got '}'" },
      { "[1,\n2,\n]", 3, 1, "expected a value after ',', got ']'" },
      { "{'a': 1}", 1, 2, "expected a name in double quotes, got '''" },
      { '{"a": aes}', 1, 7, "expected a value, got aes" },
      { '{"a": True}', 1, 7, "expected a value, got True" },
      { '{"a": 01}', 1, 7, "not a number: 01" },
      { '{"a": 1.}', 1, 7, "not a number: 1." },
      { '{"a": 1e}', 1, 7, "not a number: 1e" },
      { '{"a": -}', 1, 7, "expected a number after '-'" },
      { '{"a": +1}', 1, 7, "expected a value, got '+'" },
      { '{"a": "b\n"}', 1, 9, "expected \\n, \\t or the like in a string, got byte 0x0a" },
      { '{"a": "b}', 1, 7, "missing the closing quote of a string" },
      { [[{"a": "\x41"}]], 1, 8, "unknown escape \\x in a string" },
      { [[{"a": "\u12"}]], 1, 10, "expected four hexadecimal digits after \\u" },
      { '// no\n{"a": 1}', 1, 1, "expected a value, got '/'" },
      { "\xff\xfe{\0}\0", 1, 1, "the file is UTF-16; save it as UTF-8" },
      { ("["):rep(200), 1, 101, "nested more than 100 deep" },
    }
    for _, case in ipairs(cases) do
      local line, column, message = mistake(case[1])
      assert.same({ case[2], case[3], case[4] }, { line, column, message }, case[1])
    end
  end)

  it("is either read or has a mistake within the text, for any bytes", function()
    local good = '{"key": "a\\u00e9\\ud83d\\ude00", "mtu": 1350, "x": [true, null, -1.5e3, {"y": false}]}'
    local state = 1
    local function random(n)
      state = (state * 1103515245 + 12345) & 0x7fffffff
      return (state >> 8) % n
    end
    local read_ones = 0
    for _ = 1, 3000 do
      local at, kind = 1 + random(#good), random(3)
      local text = good:sub(1, at - 1) .. (kind == 0 and "" or string.char(random(256))) .. good:sub(kind == 2 and at or at + 1)
      local node, wrong = json.read(text)
      if node then
        read_ones = read_ones + 1
      else
        assert.is_true(wrong.at >= 1 and wrong.at <= #text + 1)
        assert.is_true(#wrong.message > 0)
      end
    end
    assert.is_true(read_ones > 100 and read_ones < 2900)
  end)
end)
