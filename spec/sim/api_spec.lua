-- The one description of kt.sim (lua/kt/sim/api.lua) against the callable functions, the files generated from it, and returned records.
-- In package.path, lua/ follows the place that kt.sim itself comes from.
package.path = package.path .. ";./lua/?.lua;./lua/?/init.lua"
local sim = require "kt.sim"
local api = require "kt.sim.api"

local kt = os.getenv "KT_BIN" or "build/kt"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function said(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read "a"
  pipe:close()
  return text
end

local SCRIPT = [[
  local kt = require "kt"
  local far = kt.link { remote = "server:29900", key = "our secret" }
  local pool = kt.pool { links = { far } }
  kt.listen { on = ":1" }:serve(function(conn) kt.splice(conn, pool:open()) end)]]

-- One of each kind of handle and record, by the name that it has in the description.
local function one_of_each()
  local w = sim.world { seed = 1, files = { ["psk.key"] = "our secret" } }
  local client, server = w:host "client", w:host "server"
  local out = { world = w, host = client, link = w:link(client, server, { delay = "10ms" }) }
  client:file("s.lua", SCRIPT)
  out.server = server:serve { on = "127.0.0.1:8388", kind = "echo" }
  server:run "scripts/examples/server.lua"
  out.script = client:run "s.lua"
  out.rule = w:rule { fn = function(packet) out.packet = packet end }
  out.ticker = w:every("1s", function() end)
  out.app = client:connect "127.0.0.1:1"
  out.socket = client:udp { to = "server:9" }
  out.reply = out.app:echo "hello"
  server:serve { on = ":80", fn = function(conn) conn:write "HTTP/1.0 200 OK\r\n\r\n" end }
  out.httpresponse = client:http { url = "http://server/" }
  out.transfer = w:transfer { from = "client", to = "127.0.0.1:1", bytes = 10, kind = "echo" }
  out.keystrokes = w:keystrokes { from = "client", to = "127.0.0.1:1", count = 1 }
  w:run "5s"
  out.err = select(2, client:try_connect "server:9")
  out.line_stats, out.host_stats, out.script_stats = out.link:stats(), client:stats(), out.script:stats()
  out.link_stats, out.pools = out.script_stats.links[1], out.script:pools()
  out.pool = out.pools[1]
  out.pool_link = out.pool.links[1]
  return out
end

-- Names of functions that a handle has of its class and of what that is like; its own, if it is of no class.
local function functions_of(handle)
  local names = {}
  local function add(t)
    if type(t) ~= "table" then return end
    for name, value in next, t do
      if type(value) == "function" and not name:find "^__" then names[name] = true end
    end
    local meta = getmetatable(t)
    if meta and meta.__index ~= t then add(meta.__index) end
  end
  local meta = getmetatable(handle)
  add(meta and meta.__index or handle)
  return names
end

local function described(holder)
  local names = {}
  for _, m in ipairs(holder.methods) do names[m.name:match "[%w_]+$"] = true end
  if holder.like then
    for name in next, described(api.handles[holder.like]) do names[name] = true end
  end
  return names
end

local function internal(holder)
  local names = {}
  for _, name in ipairs(api.internal[holder.like or holder.name] or {}) do names[name] = true end
  return names
end

describe("the description of kt.sim", function()
  local each
  setup(function() each = one_of_each() end)
  teardown(function()
    each.world:close()
    each = nil
  end)

  it("has every function visible to a spec, or marks it as internal", function()
    for name, value in next, sim do
      if type(value) == "function" then assert.is_table(api.functions["sim." .. name], name) end
    end
    for _, h in ipairs(api.handles) do
      assert.is_not_nil(each[h.name], h.name)
      local known, inside = described(h), internal(h)
      for name in next, functions_of(each[h.name]) do
        assert.is_true(known[name] or inside[name] or false, h.name .. ":" .. name)
      end
    end
  end)

  it("has only functions visible to a spec", function()
    for _, f in ipairs(api.functions) do
      if api.is_free(f) then assert.is_function(rawget(sim, f.name:match "[%w_]+$"), f.name) end
    end
    for _, h in ipairs(api.handles) do
      local bound, inside = functions_of(each[h.name]), internal(h)
      for name in next, described(h) do
        assert.is_true(bound[name] or false, h.name .. ":" .. name)
        assert.is_nil(inside[name], h.name .. ":" .. name .. " is described, and not for specs")
      end
      for name in next, inside do assert.is_true(bound[name] or false, h.name .. ":" .. name) end
    end
  end)

  it("has the fields of handles, with their types", function()
    for _, h in ipairs(api.handles) do
      for _, field in ipairs(h.fields) do
        local value = each[h.name][field.name]
        local wanted = field.type:gsub("^integer", "number")
        assert.is_true(wanted:find(type(value), 1, true) ~= nil, h.name .. "." .. field.name .. " is a " .. type(value))
      end
    end
    assert.equal(sim.version, each.world and sim.version)
    assert.is_string(sim.version)
  end)

  it("has exactly the counters of a script", function()
    local counters, known = each.script_stats.counters, {}
    for _, row in ipairs(require("kt.api").counters) do
      known[row.name] = true
      assert.equal("integer", math.type(counters[row.name]), row.name)
      assert.is_true(row.kind == "counter" or row.kind == "gauge", row.name)
      assert.matches("^%u.*%.$", row.doc)
    end
    for name in next, counters do assert.is_true(known[name], name) end
  end)

  it("has exactly the fields of returned records", function()
    for _, r in ipairs(api.records) do
      local value, known = each[r.name], {}
      assert.is_table(value, r.name)
      for _, field in ipairs(r.fields) do
        known[field.name] = true
        if not field.type:find "nil" and not field.name:find "^%[" then assert.is_not_nil(value[field.name], r.name .. "." .. field.name) end
      end
      for name in next, value do
        assert.is_true(known[name] or math.type(name) ~= nil, r.name .. "." .. tostring(name))
      end
    end
  end)

  it("describes everything in sentences", function()
    local function doc_of(what, doc) assert.matches("^[%u`\".].*[%.]$", doc, nil, nil, what) end
    local function keys_of(path, argument)
      for _, key in ipairs(argument.keys or {}) do
        assert.is_string(key.doc, path .. "." .. key.name)
        keys_of(path .. "." .. key.name, key)
      end
    end
    for _, s in ipairs(api.symbols()) do doc_of(s.name, (s.fn or s.holder or s.value).doc) end
    for _, f in ipairs(api.functions) do
      assert.is_not_nil(({ spec = true, body = true, waits = true })[f.context], f.name)
      for _, p in ipairs(f.params or {}) do assert.is_true(p.name and p.type and #p.doc > 3, f.name) end
      if f.argument then keys_of(f.name, f.argument) end
      if f.example then assert(load(f.example, "=" .. f.name)) end
    end
  end)

  it("returns only what it describes", function()
    local plain = { ["nil"] = true, string = true, number = true, integer = true, boolean = true, any = true }
    for _, f in ipairs(api.functions) do
      for kind in (f.returns or ""):gmatch "[^|,%s]+" do
        kind = kind:gsub("%[%]$", "")
        assert.truthy(plain[kind] or api.handles[kind] or api.records[kind], f.name .. ": " .. kind)
      end
    end
  end)
end)

describe("what is generated from it", function()
  local types, reference = read "lua/meta/kt/sim.lua", read "docs/reference-sim.md"

  it("is up to date; if not, run scripts/generate", function()
    assert.equal(types, require("kt.doc.luals").text(api))
    assert.equal(reference, require("kt.doc.reference").text(api))
  end)

  it("is the same in the binary", function()
    assert.equal(types, said(kt .. " help --luals=sim"))
    assert.equal(reference, said(kt .. " help --markdown=sim"))
  end)

  it("has every symbol, and is valid Lua", function()
    assert(load(types))
    for _, s in ipairs(api.symbols()) do
      if s.fn then
        assert.truthy(types:find("\nfunction " .. s.name .. "(", 1, true), s.name)
        assert.truthy(reference:find(" " .. s.name .. "\n", 1, true), s.name)
      elseif s.holder then
        assert.truthy(types:find("\n---@class kt.sim." .. s.name .. "\n", 1, true) or types:find("\n---@class kt.sim." .. s.name .. ": ", 1, true), s.name)
        assert.truthy(reference:find("\n### " .. s.name .. "\n", 1, true), s.name)
      end
    end
  end)

  it("names only existing types", function()
    local known = { ["kt.sim"] = true }
    for _, text in ipairs { types, read "lua/meta/kt.lua" } do
      for _, what in ipairs { "class", "class %(exact%)", "alias" } do
        for name in text:gmatch("\n%-%-%-@" .. what .. " (kt[%w_.]*)") do known[name] = true end
      end
    end
    local seen = 0
    for _, form in ipairs { "field %S+", "param %S+", "return" } do
      for of_type in types:gmatch("\n%-%-%-@" .. form .. " (%S+)") do
        for name in of_type:gmatch "kt%.[%w_.]+" do
          seen = seen + 1
          assert.is_true(known[name], name)
        end
      end
    end
    assert.is_true(seen > 100, seen)
  end)
end)

describe("kt help", function()
  it("lists all of kt.sim", function()
    local list = said(kt .. " help kt.sim")
    for _, s in ipairs(api.symbols()) do
      if not api.records[s.name:match "^[%l_]+"] then assert.truthy(list:find(" " .. s.name .. " ", 1, true), s.name) end
    end
  end)

  it("explains each of its symbols", function()
    local help = require "kt.doc.help"
    for _, s in ipairs(api.symbols()) do assert.is_true(#help.of(s.name) > 20, s.name) end
  end)

  it("explains a function, also by its name in specs", function()
    assert.matches('^w:link%(a, b, { delay = "40ms", .*\n  loss: share\n      Share of packets lost at random%.\n', said(kt .. " help world:link"))
    assert.equal(said(kt .. " help world:link"), said(kt .. " help w:link"))
    assert.equal(said(kt .. " help sim.world"), said(kt .. " help kt.sim.world"))
    assert.matches("\nReturns line_stats:\nsent_packets: integer\n", (said(kt .. " help link:stats"):gsub("\n +", "\n")))
  end)

  it("explains both symbols where scripts and specs share a name", function()
    assert.matches("^link:stats.*\nIn specs %(kt%.sim%):\n\nlink:stats%(%[from%]%)", said(kt .. " help link:stats"))
  end)

  it("suggests the closest name", function()
    assert.equal("kt help: unknown name sim.swep; did you mean sim.sweep?\n", said(kt .. " help sim.swep"))
    assert.equal("kt help: unknown name transfer:goodputt; did you mean transfer:goodput?\n", said(kt .. " help transfer:goodputt"))
  end)
end)
