-- kt.args: what a script's user may write, and what the script gets.
local sim = require "kt.sim"

local SCRIPT = [[
  local kt = require "kt"
  local args = kt.args {
    { name = "server", required = true, help = "the peer" }, { name = "more" },
    port = { default = 12948, help = "port to listen on" },
    idle = { type = "duration", default = "10m", help = "idle limit" },
    max_rate = { type = "rate" },
    verbose = { type = "boolean", help = "log each connection" },
    share = { default = 0.5 },
  }
  print(args[1], args[2], args.port, args.idle, args.max_rate, args.verbose, args.share)
  kt.spawn(function() end)]]

--- Runs a script with these arguments; returns what it printed and its exit code, or nil and why it did not start.
local function run(text, ...)
  local w = sim.world { seed = 1, files = { ["s.lua"] = text } }
  local ok, script = pcall(w:host("a").run, w:host "a", "s.lua", { args = { ... } })
  if not ok then return nil, (script:gsub("^.-: script s.lua on host a: ", "")) end
  w:run_for "1s"
  return script:output(), script.exit_code
end

describe("kt.args", function()
  it("gives flags in both spellings, operands, and defaults, as values of their types", function()
    assert.equal("far:1\tnil\t12948\t600\tnil\tfalse\t0.5\n", (run(SCRIPT, "far:1")))
    assert.equal("far:1\t-x\t9\t1.5\t2500000\ttrue\t2\n",
      (run(SCRIPT, "--port", "9", "--verbose", "--idle=1500ms", "far:1", "--max-rate", "20Mbit", "--share=2", "--", "-x")))
    assert.equal("a\tnil\t12948\t600\t8\tfalse\t0.5\n", (run(SCRIPT, "--max_rate=8B", "--verbose=false", "a")))
  end)

  it("prints the declared arguments with --help, and ends", function()
    local out, code = run(SCRIPT, "--help")
    assert.equal(0, code)
    assert.equal([[
usage: kt run s.lua [FLAG...] SERVER [MORE]

  SERVER                         the peer (required)
  MORE
  --idle TIME                    idle limit (default 10m)
  --max-rate RATE
  --port N                       port to listen on (default 12948)
  --share N                      (default 0.5)
  --verbose                      log each connection
  --help                         show this help
]], out)
  end)

  it("ends with a message for a wrong argument", function()
    for _, case in ipairs {
      { "SERVER: missing" },
      { "--port: expected an integer, got \"x\"", "a", "--port", "x" },
      { "--prot: unknown flag; did you mean --port?", "--prot", "9", "a" },
      { "--idle: expected a value", "a", "--idle" },
      { "c: unexpected argument", "a", "b", "c" },
      { "--verbose: expected true or false, got \"1\"", "a", "--verbose=1" },
    } do
      local out, why = run(SCRIPT, table.unpack(case, 2))
      assert.is_nil(out)
      assert.equal(case[1] .. "; --help lists the arguments", why)
    end
  end)

  it("raises for a table that makes no sense", function()
    for _, case in ipairs {
      { "{ port = 8388 }", 'kt.args.port: expected a table such as { default = 8388, help = "…" }, got 8388' },
      { "{ port = { default = 1, required = true } }", "kt.args.port: has both required and default; leave one out" },
      { "{ { name = 'a' }, { name = 'b', required = true } }", "kt.args[2]: required, after one that is not; put required operands first" },
      { "{ port = { defualt = 1 } }", 'kt.args.port: unknown key "defualt"; expected one of default, help, name, required, type' },
      { "{ port = { type = 'port' } }", "kt.args.port.type: expected one of boolean, duration, integer, number, rate, size, string" },
      { "{ t = { type = 'duration', default = 'x' } }", "kt.args.t.default: expected a duration such as" },
      { "{ t = { type = 'duration', default = -1 } }", "kt.args.t.default: expected a duration such as" },
      { "{ n = { default = 0 / 0 } }", "kt.args.n.default: expected a number, got" },
      { "{ help = {} }", "kt.args: expected names of flags" },
    } do
      local _, why = run('local kt = require "kt"\nkt.args ' .. case[1])
      assert.truthy(why:find("s.lua:2: " .. case[2], 1, true), why)
    end
  end)
end)
