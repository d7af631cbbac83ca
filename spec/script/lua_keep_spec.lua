-- kt.keep: what a reload hands to the new script, in virtual time.
local sim = require "kt.sim"

describe("kt.keep", function()
  local w, host, script
  before_each(function()
    w = sim.world { seed = 1 }
    host = w:host "a"
  end)

  local function write(text)
    host:file("s.lua", 'local kt = require "kt"\n' .. text .. '\nkt.listen { on = "127.0.0.1:80" }:serve(function(conn) on_conn(conn) end)')
  end

  local function start(text)
    write(text)
    script = host:run "s.lua"
    w:run_for "10ms"
  end

  local function reload(text)
    if text then write(text) end
    script:signal "HUP"
    w:run_for "500ms"
  end

  it("hands plain tables to the new script, as they are at the reload; the old conns change the old ones only", function()
    start [[
state = kt.keep("state", { n = 0, list = { "a", "b" }, deep = { [1.5] = { yes = true } }, text = "\0x" })
kept = kt.keep("other", {})
print(state.n, #state.list)
function on_conn(conn)
  state.n = state.n + 1
  state.list[#state.list + 1] = conn:read(1)
  while conn:read(1) do state.n = state.n + 100 end
end]]
    local first = host:connect "127.0.0.1:80"
    first:write "c"
    w:run_for "10ms"
    reload [[
state = kt.keep("state", { n = 0 })
print(state.n, table.concat(state.list), state.deep[1.5].yes, state.text == "\0x", math.type(state.n))
print(next(kt.keep("new", { 1 })))
function on_conn() print(state.n) end]]
    first:write "d"
    w:run_for "10ms"
    host:connect "127.0.0.1:80"
    w:run_for "10ms"
    reload()
    assert.equal("0\t2\n1\tabc\ttrue\ttrue\tinteger\n1\t1\n1\n1\tabc\ttrue\ttrue\tinteger\n1\t1\n", script:output())
  end)

  it("refuses what belongs to one script, and a reload that finds it changes nothing", function()
    start [[
state = kt.keep("state", { peers = {} })
function on_conn(conn) state.peers[3] = { conn = conn } conn:read(1, { timeout = "1h" }) end]]
    host:connect "127.0.0.1:80"
    w:run_for "10ms"
    reload()
    assert.matches('reload failed; still running the previous script: s.lua:2: kt.keep "state": state.peers[3].conn is a conn; '
      .. "only tables, strings, numbers and booleans can be kept", script:log(), 1, true)
    reload [[
state = kt.keep("instead", {})
function on_conn() print "new" end]]
    host:connect "127.0.0.1:80"
    w:run_for "10ms"
    assert.equal("new\n", script:output())
  end)

  it("names what is wrong with its arguments and the default", function()
    start [[
local loop = {} loop[1] = loop
local big = {} for i = 1, 5 do big[i] = ("x"):rep(1 << 20) .. i end
for _, args in ipairs {
  { "a", { f = print } }, { "a", setmetatable({}, {}) }, { "a", { [print] = 1 } }, { "a", loop }, { "a", big }, { "a", 1 }, { "", {} },
} do
  print((select(2, pcall(kt.keep, args[1], args[2])):gsub("^s.lua:%d+: kt.keep", "")))
end
kt.keep("twice", {})
print((select(2, pcall(kt.keep, "twice", {})):gsub("^s.lua:%d+: kt.keep", "")))
function on_conn() end]]
    local only = "; only tables, strings, numbers and booleans can be kept\n"
    assert.equal(' "a": a.f is a function' .. only .. ' "a": a has a metatable' .. only .. ' "a": a has a key that is a function' .. only
      .. ' "a": a' .. ("[1]"):rep(32):sub(1, 40) .. "... is nested too deeply, or in itself" .. only .. ' "a": more than 4 MiB of data; keep less\n'
      .. ' "a": argument 2: expected a table, got number; keep a table, and change what is in it\n'
      .. ": argument 1: expected a name, of up to 64 bytes\n"
      .. ' "twice": kept already; give each table a name of its own\n', script:output())
  end)
end)
