-- The two backends of the I/O seam, for specs that must hold for both:
--   for _, backend in ipairs(require "backends") do … io = backend.new() … io:free() …
-- backend.name; backend.real: uses the machine's sockets and files; backend.beside(io): another io on the same machine; backend.open(io): how
-- many sockets are open.
local spec_io = require "spec_io"
local spec_sim = require "spec_sim"

local function sockets()
  local pipe <close> = assert(io.popen "ls -l /proc/$PPID/fd | grep -c socket:")
  return pipe:read "n"
end

local uv = { name = "io/uv", real = true, new = spec_io.new, beside = function() return spec_io.new() end, open = sockets }

local sim = { name = "io/sim", real = false }
local places = setmetatable({}, { __mode = "k" })

local function process(on)
  local place = { world = on.world, host = on.host, process = assert(on.world:process(on.host)) }
  local io = spec_io.new(place.process, place.world)
  places[io] = place
  return io
end

function sim.new()
  local world = spec_sim.new { seed = 1 }
  return process { world = world, host = assert(world:host "here") }
end

function sim.beside(io) return process(places[io]) end

function sim.open(io) return places[io].world:open(places[io].host) end

--- The world and the host of an io of io/sim.
function sim.place(io) return places[io].world, places[io].host end

function sim.process(io) return places[io].process end

return { uv, sim, uv = uv, sim = sim }
