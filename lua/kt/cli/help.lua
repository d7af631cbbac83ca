--- kt help, as far as it is about the API: kt help NAME, and what editors and specs ask for.
local core = require "kt.core"
local help = require "kt.doc.help"

local name = ...

--- The names that are bound, in Lua or in C, one a line: what spec/script/api_spec.lua holds the description against.
local function bound()
  local out = {}
  local function walk(path, t)
    for key, value in pairs(t) do
      out[#out + 1] = path .. "." .. key
      if type(value) == "table" then walk(path .. "." .. key, value) end
    end
  end
  walk("kt", require "kt")
  require "kt.pool" -- which brings its handle
  for kind, h in next, core.handles() do
    out[#out + 1] = kind
    for _, method in ipairs(h.methods) do out[#out + 1] = kind .. ":" .. method end
    for _, field in ipairs(h.fields) do out[#out + 1] = kind .. "." .. field end
  end
  table.sort(out)
  return table.concat(out, "\n") .. "\n"
end

local makers = {
  [""] = help.list,
  ["--luals"] = function() return require "kt.doc.types".text(require "kt.api") end,
  ["--luals=sim"] = function() return require "kt.doc.types".text(require "kt.sim.api") end,
  ["--markdown"] = function() return require "kt.doc.reference".text(require "kt.api") end,
  ["--markdown=sim"] = function() return require "kt.doc.reference".text(require "kt.sim.api") end,
  ["--bound"] = bound,
}

local text, near
if makers[name] then text = makers[name]() else text, near = help.of(name) end
if text then
  core.stdout(text)
  core.exit(0)
end
core.stderr(("kt help: nothing is called %s; %s\n"):format(name, near and ("did you mean %s?"):format(near) or "kt help lists what there is"))
core.exit(1)
