-- The output of kt VERB -h, for every verb: one flag per row, aligned, within 100 columns.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
local options = require "kt.cli.options"

local kt = os.getenv "KT_BIN" or "build/kt"

--- The output of kt, and whether it exits with 0.
local function output(args)
  local pipe = assert(io.popen(kt .. " " .. args .. " 2>&1"))
  local text = pipe:read "a"
  return text, pipe:close()
end

local function run(args)
  local text, ok = output(args)
  assert.is_true(ok, text)
  return text
end

--- The names of all verbs, in the order of the list.
local function verbs()
  local list = {}
  for verb in output(""):gmatch "\n  (%l+) +%l" do list[#list + 1] = verb end
  return list
end

--- The rows of flags in a help text, each { names, column } with the column where its text begins; a line that carries on a text must
--- begin there too.
local function rows(text)
  local list, last = {}, nil
  for line in text:gmatch "[^\n]+" do
    local names, column = line:match "^  (%-%a.-)   +()%S"
    if not names then names, column = line:match "^      (%-%-%a.-)   +()%S" end
    if names then
      last = { names = names, column = column }
      list[#list + 1] = last
    elseif line:find "^  " and last then
      assert.equal(last.column, line:find "%S", line)
    else
      last = nil
    end
  end
  return list
end

describe("kt VERB -h", function()
  it("exists for every verb, and kt help VERB prints the same", function()
    local list = verbs()
    assert.is_true(#list >= 9)
    for _, verb in ipairs(list) do
      local text = run(verb .. " -h")
      assert.matches("^usage: kt " .. verb, text)
      assert.equal(text, run(verb .. " --help"))
      assert.equal(text, run("help " .. verb))
    end
  end)

  it("has one flag per row, all texts at one column, and no line over 100 columns", function()
    for _, verb in ipairs(verbs()) do
      local text = run(verb .. " -h")
      for line in text:gmatch "[^\n]+" do
        assert.is_true(#line <= 100, line)
        assert.is_nil(line:find "%s$", line)
      end
      local list = rows(text)
      assert.is_true(#list >= 1, verb)
      for _, row in ipairs(list) do
        assert.equal(list[1].column, row.column, verb .. ": " .. row.names)
      end
      assert.equal("-h, --help", list[#list - (list[#list].names:find "version" and 1 or 0)].names)
    end
  end)
end)

describe("kt client -h and kt server -h", function()
  for _, side in ipairs { "client", "server" } do
    it(("list each flag of the table once, in its group: %s"):format(side), function()
      local text = run(side .. " -h")
      local at = 1
      for _, group in ipairs(options.groups) do
        at = assert(text:find("\n\n" .. group[2] .. ":\n", at, true), group[2])
        local section = text:sub(at, (text:find("\n\n", at + 2, true)))
        local expected = {}
        for _, row in ipairs((options.of(side))) do
          if row.group == group[1] then
            local names = #row.name > 1 and (row.short and "-" .. row.short .. ", --" or "--") .. row.name or "-" .. row.name
            expected[#expected + 1] = names .. (row.alias and ", --" .. row.alias or "") .. (row.arg and " " .. row.arg or "")
          end
        end
        local found = {}
        for i, row in ipairs(rows(section)) do found[i] = row.names end
        assert.same(expected, found)
      end
    end)
  end

  it("show the default value of a flag", function()
    local text = run "client -h"
    assert.matches("\n  %-l, %-%-localaddr ADDR   +where applications connect:[^%-]+%(default :12948%)\n", text)
    assert.matches("\n      %-%-mtu BYTES   +largest UDP payload %(default 1350%)\n", text)
    assert.matches("%-%-sndwnd N   +[^\n]+%(default 128%)", text)
    assert.matches("%-%-sndwnd N   +[^\n]+%(default 1024%)", run "server -h")
    assert.is_nil(text:find("secrect", 1, true))
  end)
end)
