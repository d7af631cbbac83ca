-- kt check on scripts with random mistakes: it always finishes and reports what it has found.
local h = require "harness"
local mutants = require "mutants"
local kt = require "harness.scripts".kt

local EACH = os.getenv "KT_SPEC_LIGHT" and 4 or 25 -- mutants of each script

--- The output of kt check for the script, and its exit code.
local function check(path)
  local p = io.popen(("timeout 60 '%s' check '%s' 2>&1; echo $?"):format(kt, path))
  local out, code = p:read("a"):match "^(.*\n)(%d+)\n$"
  p:close()
  return out, tonumber(code)
end

local scripts = { "spec/fixtures/twenty_mistakes.lua" }
for path in io.popen("ls scripts/examples/*.lua"):lines() do scripts[#scripts + 1] = path end

describe("kt check finishes on scripts with random mistakes, made of", function()
  for _, path in ipairs(scripts) do
    it(path, function()
      local source, mutant = assert(io.open(path)), h.temporary_path()
      for i, text in ipairs(mutants.of(source:read "a", EACH, 19)) do
        h.write_file(mutant, text)
        local out, code = check(mutant)
        local last = ((out or ""):match "[^\n]*\n$" or ""):gsub(", %d+ hints?\n$", "\n")
        local ended = code == 0 and last:find ": no mistakes\n$" or code == 1 and last:find ": %d+ mistakes?\n$"
        -- "[kt.": the place of an error in kt's own modules
        if not ended or out:find("[kt.", 1, true) then error(("mutant %d: exit code %s: %s\n%s"):format(i, code, out, text)) end
      end
      source:close()
      os.remove(mutant)
    end)
  end
end)
