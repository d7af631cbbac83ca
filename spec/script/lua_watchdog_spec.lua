-- Functions of Lua's library that could run long within one instruction: each returns soon, or is stopped.
local script = require "spec_script"
local sim = require "kt.sim"

local light = os.getenv "KT_SPEC_LIGHT"

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local EVERY = read("spec/fixtures/every_function.lua"):gsub("MIB", light and "1" or "4"):gsub("EACH", light and "2" or "1")

--- Runs the text as a script on libuv.
local function run(text, opts)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  opts.file, opts.seconds = path, 800
  local r = script.run(opts)
  os.remove(path)
  return r
end

--- The output of the text as the body of a task.
local function task(text, opts)
  opts = opts or {}
  opts.memory = 256 << 20
  return (run('local kt = require "kt"\nkt.spawn(function()\n' .. text .. "\nend)", opts).said:gsub("[^\n]*a slice took[^\n]*\n", ""):gsub("[^\n]-:%d+: ", ""))
end

describe("every library function, with proxies, chains of tables, giant strings and huge numbers,", function()
  for what, unsafe in pairs { [""] = 0, [", those of os and io"] = 1 } do
    local here = light and unsafe == 0 and pending or it -- the sanitizers see the same calls on a simulated host
    here("returns or is stopped in time, by the watchdog's own account" .. what, function()
      local r = run(EVERY, { memory = 256 << 20, unsafe = unsafe, line_max = 120 })
      local functions, calls, stopped = r.said:match "done: (%d+) functions, (%d+) calls, (%d+) stopped"
      assert.is_true(functions ~= nil, r.said:sub(-500))
      if unsafe == 0 then assert.is_true(tonumber(functions) > 100 and tonumber(calls) > 6000 and tonumber(stopped) > 5) end
      -- Processor time, but with io and os the time on the clock, which others on the machine stretch.
      assert.is_true(r.overrun < (unsafe == 1 and 5 or 0.25), ("stopped %.2f s late"):format(r.overrun))
    end)
  end

  local here = light and it or pending -- with the sanitizers only, as it takes long
  here("returns or is stopped on a simulated host, which counts only instructions", function()
    local w = sim.world { seed = 1 }
    w:host "a":file("s.lua", EVERY)
    local s = w:host "a":run "s.lua"
    w:run "1h"
    assert.matches("done: %d+ functions, %d+ calls, %d+ stopped", s:log())
    local stopped = 0
    for millions in s:log():gmatch "stopped after (%d+) million instructions" do
      stopped = stopped + 1
      assert.equal("25", millions)
    end
    assert.is_true(stopped > 5)
  end)
end)

describe("a slice that is stopped", function()
  it("stays stopped, even between calls of C functions by C functions", function()
    local r = run([[
      local kt = require "kt"
      kt.spawn(function()
        local t = setmetatable({}, { __index = getmetatable, __metatable = "" })
        while true do pcall(table.concat, t, "", 1, 1 << 50) end
      end)
      kt.spawn(function() print "on" end)]], { memory = 64 << 20 })
    assert.matches(":4: stopped after 0.5 s", r.said)
    assert.matches("on\n", r.said)
    assert.is_true(r.overrun < (light and 1 or 0.25))
  end)

  it("is stopped in the compiling of a source without line breaks", function()
    assert.matches("stopped after 0.5 s", task 'load("x=" .. ("1+"):rep(30 << 20) .. "1")')
    assert.matches("stopped after 0.5 s", task 'load("if a then " .. ("elseif a then "):rep(1 << 20) .. "end")')
  end)
end)

describe("a call that no watchdog could stop is refused, with its limit:", function()
  for text, said in pairs {
    ['string.unpack((" "):rep(1 << 20), "")'] = "string.unpack: a format of 1024 KiB; at most 64 KiB",
    ['string.packsize((" "):rep(1 << 20))'] = "string.packsize: a format of 1024 KiB; at most 64 KiB",
    ['string.format(("%%"):rep(1 << 20))'] = "string.format: a format of 2048 KiB; at most 64 KiB",
    ['string.format("%q", ("x"):rep(5 << 20))'] = "string.format: %%q with strings of 5 MiB; at most 4 MiB at once",
    ['local s = ("0"):rep(33 << 20) math.max(s, s)'] = "math.max: strings of 66 MiB; at most 64 MiB at once",
    ['("x"):rep((64 << 20) + 1000)'] = "not enough memory: a string of 64.0 MiB exceeds the limit of 64 MiB; kt run %-%-memory none lifts it",
  } do
    it(text, function() assert.matches(said .. " %(at", task(text)) end)
  end
end)

describe("table.concat, insert, move, remove and unpack", function()
  it("give the same results and errors as Lua's own", function()
    local program = [[
      local function show(...)
        local out = table.pack(...)
        for i = 1, out.n do
          local text = tostring(out[i]):gsub("^table: .*", "table"):gsub("(#%%d to )'[%%w_.]+'", "%%1'it'"):gsub("^[^\n]-:%%d+: ", "")
          out[i] = text:gsub("#[12] to 'it' %%(pos", "#2 to 'it' (pos")
        end
        return table.concat(out, " ", 1, out.n)
      end
      local logged
      local function list(n, proxied)
        local t = {}
        for i = 1, n do t[i] = i * 10 end
        if not proxied then return t end
        return setmetatable({}, {
          __index = function(_, k) logged[#logged + 1] = "r" .. tostring(k) return t[k] end,
          __newindex = function(_, k, v) logged[#logged + 1] = "w" .. tostring(k) t[k] = v end,
          __len = function() return #t end,
        })
      end
      local lines = {}
      local numbers = { -1, 0, 1, 2, 3, 4, 5, 7, 1.5, "2", "x", math.maxinteger, math.mininteger, math.maxinteger - 1, false }
      local function try(what, fn, t, ...)
        local after = {}
        local result = show(pcall(fn, t, ...))
        if type(t) == "table" then for i = -1, 9 do after[#after + 1] = show(t[i]) end end
        lines[#lines + 1] = what .. " " .. show(...) .. ": " .. result .. " | " .. table.concat(after, " ") .. " | " .. table.concat(logged, " ")
      end
      for n = 0, 4 do
        for _, proxied in ipairs { false, true } do
          for _, a in ipairs(numbers) do
            local a = a or nil
            -- (Lua 5.4.4 blames the first argument for a wrong position of remove; which name of a function it finds differs.)
            logged = {} try("remove", table.remove, list(n, proxied), a)
            logged = {} try("insert", table.insert, list(n, proxied), a, "v")
            logged = {} try("unpack", table.unpack, list(n, proxied), a)
            logged = {} try("concat", table.concat, list(n, proxied), a)
            for _, b in ipairs(numbers) do
              local b = b or nil
              if a ~= math.mininteger then
                if b ~= math.maxinteger and b ~= math.maxinteger - 1 then
                  logged = {} try("unpack", table.unpack, list(n, proxied), a, b)
                  logged = {} try("concat", table.concat, list(n, proxied), ",", a, b)
                end
                for _, c in ipairs { -2, 0, 1, 2, 3, 5, "x", math.maxinteger } do
                  if b ~= math.maxinteger and b ~= math.maxinteger - 1 then
                    logged = {} try("move", table.move, list(n, proxied), a, b, c)
                    logged = {} try("move into", table.move, list(n, proxied), a, b, c, {})
                  end
                end
              end
            end
          end
        end
        if kt then kt.sleep(0) end
      end
      logged = {}
      for _, fn in ipairs { "concat", "insert", "move", "remove", "unpack" } do
        try(fn, table[fn])
        try(fn, table[fn], 1, 1, 2, 3)
        try(fn, table[fn], "s", 1, 1)
        try(fn, table[fn], {}, 1, 1, 1, 1)
        try(fn, table[fn], { {} }, "", 1, 1)
        try(fn, table[fn], setmetatable({}, { __len = function() return "x" end }))
      end
      try("unpack", table.unpack, {}, 1, 1 << 40)
      local hash, hashes = 0, {}
      for at, line in ipairs(lines) do
        for i = 1, #line do hash = (hash * 31 + line:byte(i)) & 0xffffffff end
        hashes[at] = hash
        if kt and at % 1000 == 0 then kt.sleep(0) end
      end
      return lines, hashes]]
    program = program:gsub("%%%%", "%%")
    local lines, hashes = assert(load("local kt " .. program))()
    local function ours(what)
      return (task("local function run(kt) " .. program .. " end local lines, hashes = run(kt) print(" .. what .. ")"):gsub("\n$", ""))
    end
    if ours "#lines, hashes[#hashes]" == ("%d\t%d"):format(#lines, hashes[#hashes]) then return end
    local good, bad = 0, #lines -- up to where they agree; where they do not
    while bad - good > 1 do
      local middle = (good + bad) // 2
      if ours(("hashes[%d]"):format(middle)) == tostring(hashes[middle]) then good = middle else bad = middle end
    end
    assert.equal(lines[bad], ours(("lines[%d]"):format(bad)))
    error "they differ in number"
  end)
end)
