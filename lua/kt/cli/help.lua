--- kt help NAME for names of the API, and the output for editors and specs.
local core = require "kt.core"
local help = require "kt.doc.help"

local name = ...

--- All names that are bound, in Lua or in C, one per line; spec/script/api_spec.lua compares them with the description.
local function bound()
  local out = {}
  require "kt"
  for path, t in next, core.api do
    for key in next, t do out[#out + 1] = path .. "." .. key end
  end
  for _, module in ipairs { "kt.pool", "kt.watch", "kt.cache", "kt.limit_count", "kt.http.server" } do require(module) end -- they define their handles
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
  ["--luals"] = function() return require "kt.doc.luals".text(require "kt.api") end,
  ["--luals=sim"] = function() return require "kt.doc.luals".text(require "kt.sim.api") end,
  ["--markdown"] = function() return require "kt.doc.reference".text(require "kt.api") end,
  ["--markdown=sim"] = function() return require "kt.doc.reference".text(require "kt.sim.api") end,
  ["--bound"] = bound,
  ["--values"] = function() return require "kt.cli.values".text() end,
}

local text, near
if makers[name] then text = makers[name]() else text, near = help.of(name) end
if text then
  core.stdout(text)
  core.exit(0)
end
core.stderr(("kt help: unknown name %s; %s\n"):format(name, near and ("did you mean %s?"):format(near) or "run kt help for a list"))
core.exit(1)
