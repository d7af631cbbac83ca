-- The one description of the API (lua/kt/api.lua) against the bound functions, the files generated from it, and error messages.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
local h = require "harness"
local scripts = require "harness.scripts"
local api = require "kt.api"
local schema = require "kt.schema"
local units = require "kt.units"

local records = {}
for _, r in ipairs(api.records) do records[r.name] = true end

local function run(...) return scripts.exited(nil, ...) end

local function run_script(text)
  local path = h.temporary_path()
  h.write_file(path, text)
  return run("run", path)
end

local function lines(text)
  local out = {}
  for line in text:gmatch "[^\n]+" do out[#out + 1] = line end
  return out
end

describe("the description of the API", function()
  after_each(h.cleanup)

  -- Held only by the modules in the binary.
  local internal = { signal = true }
  it("has what the guide names beside OpenResty and Tarantool", function()
    local described, found = { ["kt.sim"] = true }, 0
    for _, s in ipairs(api.symbols()) do described[s.name] = true end
    local section = h.read_file("docs/scripts.md"):match "## Coming from OpenResty or Tarantool\n(.-)\n## "
    for kt in section:gmatch "\n| [^|]+ | ([^|]+) |" do
      for name in kt:gmatch "`(%l+[.:][%l_.]+)" do
        found = found + 1
        assert.is_true(described[name] or false, name)
      end
    end
    assert.is_true(found > 25)
  end)

  it("has every bound symbol", function()
    local described = {}
    for _, s in ipairs(api.symbols()) do described[s.name] = true end
    local missing = {}
    for _, name in ipairs(lines(run("help", "--bound").out)) do
      if not described[name] and not internal[name] then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
  end)

  it("has only bound symbols", function()
    local bound = {}
    for _, name in ipairs(lines(run("help", "--bound").out)) do bound[name] = true end
    assert.is_true(bound["kt.link"] and bound["link:open"] and bound["conn.peer"])
    local missing = {}
    for _, s in ipairs(api.symbols()) do
      if not bound[s.name] and not records[s.name:match "^%l+"] then missing[#missing + 1] = s.name end
    end
    assert.same({}, missing)
  end)

  it("has every function in kt", function()
    local r = run_script [[
local kt = require "kt"
local function walk(path, t)
  for name, value in pairs(t) do
    if type(value) == "function" then print(path .. "." .. name) else if value == kt.log then walk(path .. "." .. name, value) end end
  end
end
walk("kt", kt)
kt.spawn(function() end)]]
    assert.equal(0, r.code, r.err)
    local found = lines(r.out)
    assert.is_true(#found > 15)
    for _, name in ipairs(found) do assert.is_table(api.functions[name], name) end
  end)

  it("has every code of an err, in the order of base/err.h", function()
    local codes = {}
    for name in h.read_file("runtime/base/err.h"):gmatch 'X%(KT_E%u+, %-%d+, "([%w_]+)"' do codes[#codes + 1] = name end
    local described, known = {}, {}
    for i, code in ipairs(api.codes) do
      described[i] = code.name
      known[code.name] = true
    end
    assert.same(codes, described)
    for _, f in ipairs(api.functions) do
      for _, code in ipairs(f.fails or {}) do assert.is_true(known[code], f.name .. ": " .. code) end
    end
  end)

  it("has the fields of returned records", function()
    local r = run_script [[
local kt = require "kt"
local far = kt.link { remote = "127.0.0.1:9", key = "k", wire = "kcptun" }
local acceptor = kt.accept { on = "127.0.0.1:0", key = "k", wire = "kt" }:serve(print)
local socket = kt.udp { on = "127.0.0.1:0" }
local function keys(t)
  local names = {}
  for name, value in pairs(t) do names[#names + 1] = name .. "=" .. (math.type(value) or type(value)):gsub("float", "number") end
  table.sort(names)
  print(table.concat(names, " "))
end
keys(far:stats())
keys(acceptor:stats())
keys(socket:stats())
local pool = kt.pool { links = { far } }
keys(pool:stats())
keys(pool:links()[1])
keys(kt.date())
acceptor:close()
kt.spawn(function() end)]]
    local printed = lines(r.out)
    assert.equal(6, #printed, r.err)
    for n, record in ipairs { "stats", "stats", "traffic", "tally", "facts", "date" } do
      local names, wire = {}, ({ "Only on kcptun's wire", "Only on kt's wire" })[n]
      for _, field in ipairs(api.records[record].fields) do -- one that may be nil is not there yet, or only on one wire
        if not field.type:find "nil" or wire and field.doc:find(wire, 1, true) then names[#names + 1] = field.name end
      end
      table.sort(names)
      assert.equal(table.concat(names, " "), (printed[n]:gsub("=%a+", "")))
    end
  end)

  it("describes every symbol in sentences", function()
    for _, s in ipairs(api.symbols()) do
      local doc = (s.fn or s.holder or s.value).doc
      assert.matches("^[%u`\".].*%.$", doc, nil, nil, s.name)
    end
  end)

  it("gives version, context and parameters of every function", function()
    for _, f in ipairs(api.functions) do
      assert.matches("^%d+%.%d+%.%d+$", f.since, nil, nil, f.name)
      for _, p in ipairs(f.params or {}) do assert.is_true(p.name and p.type and #p.doc > 3, f.name) end
      assert.is_true(not f.argument or f.path ~= nil, f.name)
    end
  end)

  it("returns only what it describes", function()
    local plain = { ["nil"] = true, any = true, string = true, number = true, integer = true, boolean = true, table = true }
    for _, f in ipairs(api.functions) do
      for kind in (f.returns or ""):gmatch "[^|,%s]+" do
        assert.truthy(plain[kind] or api.handles[kind] or api.records[kind:gsub("%[%]$", "")], f.name .. ": " .. kind)
      end
    end
  end)

  it("gives keys a type that has a name, and defaults that pass its own checks", function()
    local named = require "kt.api.key_types"
    local basic = { string = true, boolean = true, integer = true, enum = true, handle = true, list = true, table = true, any = true, ["function"] = true }
    local function walk(path, d)
      for _, key in ipairs(d.keys or {}) do
        local at = path .. "." .. key.name
        assert.truthy(basic[key.type] or named[key.type], at)
        if key.default ~= nil and schema.types[key.type] and key.type ~= "endpoint" and key.type ~= "secret" then
          assert.is_not_nil(schema.types[key.type](key, key.default), at)
        end
        walk(at, key)
      end
    end
    for _, f in ipairs(api.functions) do
      if f.argument then walk(f.name, f.argument) end
    end
    assert.is_function(units.duration)
  end)

  it("gives examples that are Lua", function()
    for _, f in ipairs(api.functions) do
      if f.example then assert(load(f.example, "=" .. f.name)) end
    end
  end)
end)

describe("what is generated from it", function()
  it("is up to date; if not, run scripts/generate", function()
    assert.equal(h.read_file("lua/meta/kt.lua"), require("kt.doc.luals").text(api))
    assert.equal(h.read_file("docs/reference.md"), require("kt.doc.reference").text(api))
  end)

  it("has every symbol in each", function()
    local types, reference = h.read_file "lua/meta/kt.lua", h.read_file "docs/reference.md"
    for _, s in ipairs(api.symbols()) do
      local kind, field = s.name:match "^(%l+)%.([%w_]+)$"
      if s.fn then
        assert.truthy(types:find("\nfunction " .. s.name .. "(", 1, true), s.name)
        assert.truthy(reference:find(" " .. s.name .. "\n", 1, true), s.name)
      elseif s.holder then
        assert.truthy(types:find("\n---@class kt." .. s.name .. "\n", 1, true), s.name)
        assert.truthy(reference:find("\n### " .. s.name .. "\n", 1, true), s.name)
      else
        assert.truthy(types:find("\n---@field " .. (field or "") .. " ", 1, true) or types:find("\n" .. s.name .. " = ", 1, true), s.name)
        assert.truthy(reference:find("| `" .. (kind ~= "kt" and field or s.name) .. "` |", 1, true), s.name)
      end
    end
  end)

  it("is Lua", function()
    assert(loadfile "lua/meta/kt.lua")
  end)

  it("is the same in the binary", function()
    assert.equal(h.read_file "lua/meta/kt.lua", run("help", "--luals").out)
    assert.equal(h.read_file "docs/reference.md", run("help", "--markdown").out)
  end)
end)

describe("kt help", function()
  after_each(h.cleanup)

  it("lists the verbs and every symbol", function()
    local r = run "help"
    assert.equal(0, r.code)
    assert.matches("\n  check +%l", r.out)
    for line in r.out:gmatch "[^\n]+" do assert.is_true(utf8.len(line) <= 100, line) end
    for _, s in ipairs(api.symbols()) do
      if not records[s.name:match "^(%l+)%."] then
        assert.truthy(r.out:find(" " .. s.name .. " ", 1, true), s.name)
      end
    end
  end)

  it("explains each of them", function()
    local help = require "kt.doc.help"
    for _, s in ipairs(api.symbols()) do
      local text = help.of(s.name)
      assert.is_string(text, s.name)
      assert.is_true(#text > 20, s.name)
    end
  end)

  it("explains a function: its syntax, context and keys", function()
    local r = run("help", "kt.link")
    assert.equal(0, r.code)
    assert.matches("^kt.link { remote = …, key = …, … } → link | nil, err\n", r.out)
    assert.matches("\nCallable from the main chunk and tasks. Since 0.1.0.\n", r.out)
    assert.matches("\n    sndwnd: integer, 1 to 65535; default 128\n        Send window", r.out)
    assert.matches("\nExample:\n    local far = kt.link {", r.out)
  end)

  it("explains a method, a handle, a field", function()
    assert.matches("^link:open {.*\nCallable from tasks.*\nOn failure: nil and an err; common codes: timeout,", run("help", "link:open").out)
    assert.matches("^conn\n.*\n  conn:reset%(%[err%]%)\n.*\n  conn.peer: string", run("help", "conn").out)
    assert.matches("^err.code: string\n", run("help", "err.code").out)
  end)

  it("accepts a function's name without kt", function()
    assert.equal(run("help", "kt.splice").out, run("help", "splice").out)
  end)

  it("explains an err.code, a unit, and a key", function()
    local out = run("help", "refused").out
    assert.matches('^err.code "refused"\n\nNo one listens at that address.\n\nCommon in: .*kt.connect', out)
    assert.matches('^duration\n\nWritten as a duration such as "5s"', run("help", "duration").out)
    assert.equal(run("help", "kt.link.kcp.sndwnd").out, run("help", "link.kcp.sndwnd").out)
    assert.matches("^kt.link.kcp.sndwnd: integer, 1 to 65535.*\n\n%u.*%.\n$", run("help", "kt.link.kcp.sndwnd").out)
    assert.matches("^link:open.timeout: duration; default \"10s\"\n", run("help", "link:open.timeout").out)
    assert.equal(1, run("help", "kt.link.kcp.nothing").code)
  end)

  it("lists the functions of a table, and finds keys, methods and topics by a word", function()
    assert.matches("^kt.json: table\n\nJSON.\n\n  kt.json.decode +Reads JSON\n", run("help", "kt.json").out)
    assert.equal("tap: a key of kt.splice (kt help kt.splice.tap)\n", run("help", "tap").out)
    assert.equal("peek: a method of conn (kt help conn:peek)\npeek: a method of stream (kt help stream:peek)\n", run("help", "peek").out)
    assert.matches("^kt.address .-\nAddresses:\n.-192.0.2.1:443.-", run("help", "address").out)
    assert.matches("^Addresses:\n.-192.0.2.1:443.-", run("help", "addresses").out)
    for word, text in pairs { handles = "^Handles with", counters = "stats", require = "Modules", loopback = "kt.http.serve" } do
      assert.matches(text, run("help", word).out)
    end
  end)

  it("still explains a verb", function()
    assert.matches("^usage: kt run ", run("help", "run").out)
    assert.matches("^usage: kt help ", run("help", "help").out)
  end)

  it("suggests the closest name", function()
    assert.same({ code = 1, out = "", err = "kt help: unknown name kt.conect; did you mean kt.connect?\n" }, run("help", "kt.conect"))
    assert.same({ code = 1, out = "", err = "kt help: unknown name kt.crypto.aead; did you mean kt.crypto.aead_seal?\n" }, run("help", "kt.crypto.aead"))
    assert.same({ code = 1, out = "", err = "kt help: unknown name xyzzy; run kt help for a list\n" }, run("help", "xyzzy"))
  end)
end)

describe("a call in the wrong context", function()
  after_each(h.cleanup)

  -- How each function is called so that nothing but the context is wrong.
  local head = [[
local kt = require "kt"
local link = kt.link { remote = "127.0.0.1:9", key = "k" }
local listener = kt.listen { on = "127.0.0.1:0" }
local acceptor = kt.accept { on = "127.0.0.1:0", key = "k" }
local socket = kt.udp { on = "127.0.0.1:0" }
local pool, task, event, queue = kt.pool { links = { link } }, kt.spawn(function() end), kt.event(), kt.queue()
]]

  --- The call of f with no arguments, as an expression.
  local function call(f) return f.name .. "()" end

  for _, f in ipairs(api.functions) do
    local held = true -- by a main chunk, which never has these
    for _, kind in ipairs { "conn", "stream", "request", "response", "kcp" } do held = held and not f.name:find("^" .. kind .. ":") end
    if f.context == "task" and held then
      it("of " .. f.name .. " names it, the main chunk, and what to do", function()
        local r = run_script(head .. call(f))
        assert.equal(1, r.code)
        local message = (":7: %s: not allowed in the main chunk; call it in a function passed to :serve or kt.spawn\n"):format(f.name)
        assert.truthy(r.err:find(message, 1, true), r.err)
      end)
    elseif f.context == "declare" then
      it("of " .. f.name .. " names it, the task, and what to do", function()
        local r = run_script(head .. "listener:close() acceptor:close() kt.spawn(function() print(pcall(function() " .. call(f) .. " end)) end)")
        local message = (":7: %s: only allowed in the main chunk; call it at the top level of the script"):format(f.name)
        assert.truthy(r.out:find(message, 1, true), r.out .. r.err)
      end)
    end
  end
end)
