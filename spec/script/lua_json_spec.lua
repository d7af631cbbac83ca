-- kt.json: what decode accepts and refuses, and what encode writes. The parser's own checks: spec/fuzz/fuzz_json.c.
local lone_host = require "lone_host"

--- Runs the lines as a script, with `j` as kt.json; returns what it printed.
local function run(text) return lone_host.task(text, "local j = kt.json") end

describe("kt.json", function()
  it("writes what it has read: integers and floats, null, text, empty arrays and objects", function()
    assert.equal('{"":"","a":[],"b":{},"c":[1,-2,0.5,1e+300,9007199254740992,true,false,null],"d":"é \\"\\n\\u0001"}\n'
      .. "integer\tfloat\tnil\n", (run [=[
        local text = [[ {"d":"\u00e9 \"\n\u0001","c":[1,-2,0.5,1e300,9007199254740992,true,false,null],"b":{},"a":[],"":""} ]]
        local value = j.decode(text)
        print(j.encode(value))
        print(math.type(value.c[1]), math.type(value.c[4]), rawequal(value.c[8], j.null) and "nil")]=]))
  end)

  it("reads whole numbers as integers below 2^53, beyond which a float may stand for several", function()
    assert.equal("integer\tinteger\tfloat\tfloat\n", run [[
      local function kind(text) return math.type(j.decode(text)) end
      print(kind "9007199254740991", kind "-9007199254740991", kind "9007199254740992", kind "9007199254740993")]])
  end)

  it("refuses what is not JSON, with the place, and what is beyond its bounds", function()
    local cases = {
      { "''", "line 1, column 1: the text ends too early" },
      { "'[1,\\n2,]'", "line 2, column 3: not JSON from here on" },
      { "'[1] 2'", "line 1, column 5: not JSON from here on" },
      { "'[01]'", "line 1, column 2: not a number" },
      { "'[1.]'", "line 1, column 2: not a number" },
      { "'NaN'", "line 1, column 1: not JSON from here on" },
      { "'1e999'", "line 1, column 1: the number is too large" },
      { "'\"a'", "line 1, column 1: missing the closing quote of a string" },
      { "'\"\\\\u0000\"'", "line 1, column 2: \\u0000 is not supported" },
      { "'\"\\\\ud800\"'", "line 1, column 2: not JSON from here on" },
      { "'\"\\xc0\\xaf\"'", "line 1, column 2: the text is not UTF-8" },
      { "'\"\\t\"'", "line 1, column 2: a control character in a string; write \\n, \\t or the like" },
      { "('['):rep(101)", "line 1, column 101: nested more than 100 deep" },
      { "'[' .. ('0,'):rep(200000) .. '0]'", "line 1, column 262145: more than 131072 values" },
      { "(' '):rep((4 << 20) + 1)", "more than 4 MiB of JSON" },
    }
    local lines, expected = {}, {}
    for i, case in ipairs(cases) do
      lines[i] = ("print(select(2, j.decode(%s)))"):format(case[1])
      expected[i] = "kt.json.decode: " .. case[2]
    end
    assert.equal(table.concat(expected, "\n") .. "\n", run(table.concat(lines, "\n")))
  end)

  it("writes integers exactly, floats so that they are read back, and other bytes than UTF-8 as U+FFFD", function()
    assert.equal('[9223372036854775807,0.1,"\u{FFFD}a\\u0000",[],{},[]]\n',
      run [[print(j.encode { math.maxinteger, 0.1, "\xffa\0", j.array(), {}, j.array {} })]])
  end)

  it("writes the statistics of a link, an acceptor and a conversation that have never heard from a peer", function()
    assert.equal("nil\tnil\tnil\n", run [[
      local far = kt.link { remote = "127.0.0.1:29900", key = "our secret" }
      local acceptor = kt.accept { on = "127.0.0.1:29901", key = "our secret" }
      acceptor:serve(function() end)
      local pool = kt.pool { links = { far } }
      local talk = kt.kcp { conv = 1, output = function() end }
      kt.sleep "1s"
      for _, value in ipairs { far:stats(), acceptor:stats(), pool:stats(), talk:stats(), kt.inspect() } do assert(j.encode(value)) end
      print(far:stats().since_heard, acceptor:stats().since_heard, talk:stats().since_heard)]])
  end)

  it("raises for what JSON cannot hold", function()
    local mixed = "a table is neither a list 1..n nor one with strings as keys; kt.json.array marks a list\n"
    assert.equal("JSON has no NaN\nJSON has no infinity\nJSON has no function\nJSON has no secret\na[2].b: JSON has no NaN\n" .. mixed .. mixed
      .. "nested more than 100 deep; does a table contain itself?\nmore than 4 MiB of JSON\n", run [[
        local circle = {}
        circle[1] = circle
        for _, value in ipairs { 0 / 0, 1 / 0, print, kt.secret "x",
          { a = { 1, { b = 0 / 0 } } }, { 1, a = 2 }, j.array { a = 1 }, circle, ("x"):rep(5 << 20) } do
          local ok, err = pcall(j.encode, value)
          assert(not ok)
          print((err:gsub("^.-kt.json.encode: ", "")))
        end]])
  end)
end)
