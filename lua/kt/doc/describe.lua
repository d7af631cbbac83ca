--- Builds the description of an API: kt.api for scripts, kt.sim.api for specs. kt/api.lua documents the format.
local describe = {}

--- root: the prefix of its functions ("kt" in kt.link). class: the prefix of its types for the Lua language server.
function describe.new(root, class)
  local api = { root = root, class = class, functions = {}, values = {}, handles = {}, records = {}, codes = {}, units = {} }

  --- All names in order, for kt help, the reference and the specs: values, functions and methods, then handles and records
  --- ("conn", "stats"), each followed by its fields ("conn.peer").
  function api.symbols()
    local out = {}
    for _, v in ipairs(api.values) do out[#out + 1] = { name = v.name, value = v } end
    for _, f in ipairs(api.functions) do out[#out + 1] = { name = f.name, fn = f } end
    for _, list in ipairs { api.handles, api.records } do
      for _, h in ipairs(list) do
        out[#out + 1] = { name = h.name, holder = h }
        for _, field in ipairs(h.fields) do out[#out + 1] = { name = h.name .. "." .. field.name, value = field } end
      end
    end
    return out
  end

  --- Whether f is a plain function ("kt.link"), not a method.
  function api.is_free(f) return f.name:sub(1, #root + 1) == root .. "." end

  return api
end

--- The functions that add to a description: def, handle, method, record.
function describe.writers(api)
  local with = { api = api }

  function with.def(f)
    f.since = f.since or "0.1.0"
    if f.argument then f.argument.called = f.name end
    api.functions[#api.functions + 1] = f
    api.functions[f.name] = f
  end

  function with.handle(h)
    api.handles[#api.handles + 1] = h
    api.handles[h.name] = h
    h.fields, h.methods = h.fields or {}, {}
  end

  --- A method of a handle: as def, but name and signature leave out the handle. The handle's `shown` replaces its name in signatures.
  function with.method(kind, m)
    m.signature = (api.handles[kind].shown or kind) .. ":" .. m.signature
    m.name = kind .. ":" .. m.name
    m.path = m.name
    with.def(m)
    local methods = api.handles[kind].methods
    methods[#methods + 1] = m
  end

  function with.record(r)
    api.records[#api.records + 1] = r
    api.records[r.name] = r
  end

  return with
end

return describe
