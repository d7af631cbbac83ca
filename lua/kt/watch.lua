--- kt.watch: runs a function when the content of a file has changed.
---
--- A task of its own waits for a sign of a change, and reads the file once that has settled: programs write in several steps. It compares
--- with what it read before, so signs without a change do nothing.
local core = require "kt.core"
local misuse = require "kt.misuse"
local schema = require "kt.schema"

local watch = {}

local SETTLE = 0.1 -- seconds

local function close(self)
  if self.closed then return end
  self.closed = true
  core.unwatch(self.events)
end

local function run(self)
  while core.await_change(self.events) do
    core.park(SETTLE)
    if not core.watching(self.events) then break end
    local text, err = core.file(self.path)
    if text ~= self.text then
      self.text = text
      local ok, wrong = pcall(core.handle, self.handler, "change", self.fn, text, err)
      if not ok then core.log.warn('%s: could not run the function for a change: %s', self.path, wrong) end
    end
  end
  close(self)
end

local make, inside

make, inside = core.kind("watch", { { "close", function(handle) close(inside(handle, "close")) end } }, function() end)

--- kt.watch(path, fn) → watch | nil, err
function watch.new(path, fn)
  if type(path) ~= "string" then misuse("kt.watch: expected a path, got %s", schema.show(path)) end
  if type(fn) ~= "function" then misuse("kt.watch: expected a function, got %s", schema.show(fn)) end
  local _, err = core.file(path)
  if err and (err.code == "denied" or err.code == "invalid") then return nil, err end
  local events
  events, err = core.watch_file(path)
  if not events then return nil, err end
  local text = core.file(path) -- again: a change before the watch began gives no sign
  local self = { path = path, fn = fn, text = text, events = events, handler = core.handler(), closed = false }
  core.spawn_aside(run, self)
  return make(self)
end

return watch
