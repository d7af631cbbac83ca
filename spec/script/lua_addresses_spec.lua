-- The forms of an address that the reference lists, in every key that takes one.
package.path = package.path .. ";./lua/?.lua;./lua/?/init.lua"
local sim = require "kt.sim"
local api = require "kt.api"

-- Tries its arguments, "key form", each in a task that prints "key form" and "taken", or why it is not.
local SCRIPT = [[
local kt = require "kt"
local calls = {
  ["link.remote"] = function(a) return kt.link { remote = a, key = "k" } end,
  ["accept.on"] = function(a) return kt.accept { on = a, key = "k" } end,
  ["listen.on"] = function(a) return kt.listen { on = a } end,
  ["http.serve.on"] = function(a) return kt.http.serve { on = a, routes = { ["GET /"] = function() end } } end,
  ["http.request.to"] = function(a) return kt.http.request { url = "http://x/", to = a, timeout = "1s" } end,
  ["listen.udp"] = function(a) return kt.listen { udp = a } end,
  ["connect.to"] = function(a) return kt.connect { to = a, timeout = "1s" } end,
  ["connect.udp"] = function(a) return kt.connect { udp = a, timeout = "1s" } end,
  ["udp.on"] = function(a) return kt.udp { on = a } end,
  ["udp.to"] = function(a) return kt.udp { to = a, timeout = "1s" } end,
}
local tries = { ... }
kt.spawn(function()
  for _, try in ipairs(tries) do
    local key, form = try:match "^(%S+) (.*)$"
    local ok, handle, err = pcall(calls[key], form)
    local taken = ok and (handle or err.code ~= "config")
    if ok and handle and handle.close then handle:close() end
    print(("%s %s: %s"):format(key, form, taken and "taken" or tostring(ok and err or handle)))
  end
end)]]

local function outcomes(tries)
  local w = sim.world { seed = 1 }
  local host = w:host "a"
  w:name("vps.example", "a")
  host:file("s.lua", SCRIPT)
  local script = host:run("s.lua", { args = tries })
  w:run "5m"
  local out = {}
  for try, outcome in script:output():gmatch "(%S+ [^\n]-): ([^\n]+)\n" do out[try] = outcome end
  return out
end

describe("the forms of an address", function()
  local taken, refused = {}, {}
  local keys = {}
  for _, row in ipairs(api.addresses) do
    for _, key in ipairs(row.keys) do keys[key] = true end
  end
  for i, row in ipairs(api.addresses) do
    for _, form in ipairs(row.forms) do
      form = form:gsub("%%eth0", "%%1")
      local takes = {}
      for _, key in ipairs(row.keys) do
        takes[key] = true
        taken[#taken + 1] = key .. " " .. form
      end
      for key in pairs(keys) do
        local also = i <= 2 or i == 4 -- an address with a port is taken everywhere, if only to say that it is not this machine's
        if not takes[key] and not also then refused[#refused + 1] = key .. " " .. form end
      end
    end
  end

  it("are taken by the keys that the reference lists", function()
    local out = outcomes(taken)
    for _, try in ipairs(taken) do assert.equal("taken", out[try], try) end
  end)

  it("are refused by all other keys", function()
    local out = outcomes(refused)
    for _, try in ipairs(refused) do
      assert.is_string(out[try], try)
      assert.not_equal("taken", out[try], try)
    end
  end)
end)
