-- kt.crypto.argon2id on its thread, in a real process. Its results: lua_crypto_spec.lua.
local h = require "harness"
local scripts = require "harness.scripts"

describe("kt.crypto.argon2id", function()
  local s = scripts.each(before_each, after_each)

  it("refuses more than 16 calls at a time, and gives up at its timeout", function()
    h.run(function()
      local code, out, err = s.run("%s", [[
local salt, refused = ("s"):rep(16), kt.event()
local slow = { memory = "16MiB", passes = 16 }
kt.spawn(function()
  local tasks, code = {}, nil
  for i = 1, 17 do
    tasks[i] = kt.spawn(function()
      local _, wrong = kt.crypto.argon2id("p", salt, slow)
      code = wrong and wrong.code
      refused:set()
    end)
  end
  refused:wait { timeout = "10s" }
  for i = 2, 17 do tasks[i]:cancel() end
  print(code, select(2, kt.crypto.argon2id("p", salt, { timeout = "1ms" })).code)
  tasks[1]:cancel()
  print(kt.crypto.argon2id("p", salt, { memory = "8KiB", passes = 1 }))
end)]])
      assert.equal("limit\ttimeout\n<secret>\n", out, err)
      assert.equal(0, code, err)
    end)
  end)

  it("lets other tasks run, runs one call at a time, and can be canceled before and while it runs", function()
    h.run(function()
      local code, out, err = s.run("%s", [[
local salt = ("s"):rep(16)
local options = { memory = "16MiB", passes = 16 }
local order, turns = {}, 0
local clock = kt.every("1ms", function() turns = turns + 1 end)
kt.spawn(function()
  local running = kt.spawn(kt.crypto.argon2id, "a", salt, options)
  local waiting = kt.spawn(kt.crypto.argon2id, "b", salt, options)
  local tasks = {}
  for i, password in ipairs { "c", "d" } do
    tasks[i] = kt.spawn(function()
      local key = assert(kt.crypto.argon2id(password, salt, options))
      order[#order + 1] = password
      return key
    end)
  end
  kt.sleep "5ms"
  running:cancel()
  waiting:cancel()
  local one, two = tasks[1]:wait(), tasks[2]:wait()
  print(running.state, waiting.state, table.concat(order), turns > 10, kt.crypto.equal(one, two))
  clock:cancel()
  local last = kt.spawn(kt.crypto.argon2id, "runs on while the script ends", salt, options)
  kt.sleep "1ms"
  last:cancel()
end)]])
      assert.equal("canceled\tcanceled\tcd\ttrue\tfalse\n", out, err)
      assert.equal(0, code, err)
    end)
  end)
end)
