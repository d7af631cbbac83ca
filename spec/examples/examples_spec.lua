-- scripts/examples: rules for all examples. Each has a spec in simulated time beside it, for users to copy.
local h = require "harness"
local scripts = require "harness.scripts"

--- Files that scripts read when they start, besides psk.key.
local KEY = ("A"):rep(43) .. "="
local files = { ["http-proxy"] = { ["deny.txt"] = "" }, users = { ["users.json"] = "{}", ["server.key"] = KEY, ["server.pub"] = KEY, ["own.key"] = KEY } }

--- The argument with which a script that runs at both ends is the other end.
local other_end = { ["interactive-vs-bulk"] = "far", ["route-by-port"] = "far", reverse = "inside", udp = "near", users = "near",
  router = "near" }

local names = {}
for path in io.popen "ls scripts/examples/*.lua":lines() do names[#names + 1] = path:match "([^/]+)%.lua$" end

local function text_of(name) return h.read_file("scripts/examples/" .. name .. ".lua") end

describe("scripts/examples", function()
  local s = scripts.each(before_each, after_each)

  it("has the documented ones", function()
    local there = {}
    for _, name in ipairs(names) do there[name] = true end
    for _, name in ipairs { "client", "server", "socks5", "route-by-port", "proxy-protocol", "quota", "schedule", "reverse",
      "interactive-vs-bulk", "failover", "balance", "udp", "sticky", "breaker", "mirror", "race", "users", "token-gate",
      "http-proxy", "metrics", "game", "router" } do
      assert.is_true(there[name], name)
    end
  end)

  for _, name in ipairs(names) do
    describe(name .. ".lua", function()
      it("opens with a line that says what it does, and with how to run it", function()
        local first, rest = text_of(name):match "^(.-\n)(.*)$"
        assert.matches("^%-%- %u[^\n]+%.\n$", first)
        assert.is_true(#first <= 105, "too long for a list")
        assert.matches("^%-%-     kt run " .. name:gsub("%-", "%%-") .. "%.lua%f[%s]", rest)
      end)

      it("passes kt check as kt new writes it", function()
        h.run(function()
          s.write("psk.key", "correct horse\n")
          for file, text in pairs(files[name] or {}) do s.write(file, text) end
          assert(os.execute("chmod 600 " .. s.dir .. "/*.key"))
          assert.equal(0, (s.kt("new", name):wait_exit(20)))
          assert.equal(text_of(name), h.read_file(s.dir .. "/" .. name .. ".lua"))
          for end_ = 1, other_end[name] and 2 or 1 do
            local check = s.kt("check", name .. ".lua", end_ == 2 and other_end[name] or nil)
            assert.equal(0, check:wait_exit(20), check.stdout)
            assert.equal(name .. ".lua: no mistakes\n", check.stdout)
          end
        end)
      end)

      it("passes luacheck", function()
        local luacheck = io.popen("luacheck --no-color scripts/examples/" .. name .. ".lua 2>&1")
        local said = luacheck:read "a"
        assert.is_true(luacheck:close(), said)
      end)

      it("is in the list of the README", function()
        local list = h.read_file "scripts/examples/README.md"
        assert.truthy(list:find(("[%s.lua](%s.lua)"):format(name, name), 1, true))
        assert.truthy(list:find(("](spec/%s_spec.lua)"):format(name), 1, true))
      end)

      it("has a spec in simulated time that runs it unmodified", function()
        local path = ("scripts/examples/spec/%s_spec.lua"):format(name)
        local text = h.read_file(path)
        assert.truthy(text:find('require "kt.sim"', 1, true), path)
        assert.truthy(text:find((':run[ (]"scripts/examples/%s%%.lua"'):format(name:gsub("%-", "%%-"))), path)
      end)
    end)
  end
end)
