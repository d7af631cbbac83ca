--- kt test: runs busted inside kt. Removes its own options from the arguments and passes the rest to busted.
local readable, settings = pcall(require, "kt.sim.settings") -- or the error in the environment

local help = [==[
usage: kt test [OPTION...] [BUSTED-OPTION...] [PATH...]

Run specs with busted and kt.sim (docs/testing.md), by default those in spec/. Exits with 0 if all
pass.

      --trace[=DIR]     write what happens in each world to DIR (default kt-trace): a log, and a
                        pcapng file for Wireshark
      --plot FILE.svg   draw each world's links over time to FILE.svg, FILE-2.svg, ...
      --path DIR        give the scripts in the worlds the modules in DIR, as kt run --path does
  -h, --help            show this help; kt test -- --help shows busted's

KT_SEED=N sets the seed of worlds that have none of their own, and is the only one sim.sweep runs.
]==]

local function take(args)
  local rest, plain = {}, false
  local i = 1
  while i <= #args do
    local a = args[i]
    local dir = a:match "^%-%-trace=(.*)$"
    local plot = a:match "^%-%-plot=(.*)$"
    if plain then
      rest[#rest + 1] = a
    elseif a == "--" then
      plain = true
    elseif a == "-h" or a == "--help" then
      return nil
    elseif dir == "" then
      return nil, "--trace=: expected a folder; --trace alone writes to kt-trace"
    elseif a == "--trace" or dir then
      settings.trace = dir or "kt-trace"
    elseif plot == "" then
      return nil, "--plot: expected a file"
    elseif plot then
      settings.plot = plot
    elseif a == "--plot" or a == "--path" then
      i = i + 1
      if not args[i] then return nil, ("%s: expected a %s"):format(a, a == "--plot" and "file" or "folder") end
      settings[a:sub(3)] = args[i]
    else
      rest[#rest + 1] = a
    end
    i = i + 1
  end
  return rest
end

return function()
  if not readable then
    io.stderr:write("kt test: ", tostring(settings), "\n")
    return 1
  end
  local rest, wrong = take(arg)
  if not rest then
    (wrong and io.stderr or io.stdout):write(wrong and "kt test: " .. wrong .. "\n" or "", help)
    return wrong and 1 or 0
  end
  local found, runner = pcall(require, "busted.runner")
  if not found then
    io.stderr:write("kt test: busted for Lua 5.4 is not installed; run apt-get install lua-busted\n")
    if not tostring(runner):find "module 'busted.runner' not found" then io.stderr:write(tostring(runner), "\n") end
    return 1
  end
  -- kt.sim.report prints how to reproduce a failure.
  arg = { [0] = "kt test", "-e", 'require "kt.sim.report"', table.unpack(rest) } -- luacheck: ignore
  runner { standalone = false }
  return 0
end
