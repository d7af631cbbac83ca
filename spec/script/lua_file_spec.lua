-- kt.file, kt.append and kt.env on simulated hosts. On a real machine: spec/cli/allow_spec.lua.
local sim = require "kt.sim"

describe("on a simulated host", function()
  local function run(text, opts)
    local w = sim.world { seed = 1 }
    local host = w:host "a"
    host:file("etc/rules.txt", "allow all\n")
    host:file("etc/app/s.lua", 'local kt = require "kt"\n' .. text)
    host:file("etc/app/deny.txt", "10.0.0.1\n")
    local script = host:run("etc/app/s.lua", opts)
    w:run_for "2s"
    return script:output(), host
  end

  it("kt.file reads beside the script, and elsewhere as far as allow_read says", function()
    local text = [[
      for _, path in ipairs { "deny.txt", "./x/../deny.txt", "../rules.txt", "/etc/passwd", "nothing.txt" } do print(kt.file(path)) end
      kt.spawn(function() end)]]
    assert.equal("10.0.0.1\n\n10.0.0.1\n\n"
      .. "nil\tkt.file: ../rules.txt: outside of the script's folder; allow it with --allow-read DIR\n"
      .. "nil\tkt.file: /etc/passwd: outside of the script's folder; allow it with --allow-read DIR\n"
      .. "nil\tkt.file: etc/app/nothing.txt: no such file\n", (run(text)))
    assert.matches("\nallow all\n\nnil\tkt.file: /etc/passwd", (run(text, { allow_read = "etc" })))
  end)

  it("kt.append writes to the host's files where allow_write says, and only there", function()
    local out, host = run([[
      kt.spawn(function()
        print(kt.append("log/a.log", "one\n"), kt.append("log/./a.log", "two\n"))
        for _, path in ipairs { "a.log", "log/../a.log", "/etc/a.log", "logs/a.log" } do print(kt.append(path, "x")) end
        local ok, err
        for i = 1, 20 do ok, err = kt.append("log/" .. i, "x") end
        print(ok, err.code)
      end)]], { allow_write = "etc/app/log" })
    assert.equal("true\ttrue\n" .. ("nil\tkt.append: %s: not allowed; start kt with --allow-write DIR\n"):rep(4):format(
      "a.log", "log/../a.log", "/etc/a.log", "logs/a.log") .. "nil\tlimit\n", out)
    assert.equal("one\ntwo\n", host:read_file "etc/app/log/a.log")
  end)

  it("kt.env has the host's environment, and cannot be changed", function()
    assert.equal("8388\tnil\nkt.env.PORT: kt.env is read-only; use a local instead\n", (run([[
      print(kt.env.PORT, kt.env.HOME)
      print((select(2, pcall(function() kt.env.PORT = 1 end)):gsub("^.-:%d+: ", "")))
      kt.spawn(function() end)]], { env = { PORT = "8388" } })))
  end)

  it("kt.watch runs a function once for each change of the content, until closed", function()
    local w = sim.world { seed = 1 }
    local host = w:host "a"
    host:file("app/s.lua", [[
      local kt = require "kt"
      print(select(2, kt.watch("../../etc/hosts", print)))
      print(select(2, kt.watch("none/x", print)))
      local began, watch = kt.now()
      watch = kt.watch("deny.txt", function(text, err)
        print(kt.now() - began, text, err and err.code)
        if text == "last" then watch:close() end
        kt.sleep "50ms"
      end)
      kt.spawn(function() kt.sleep "1h" end)]])
    host:file("app/deny.txt", "one")
    local script = host:run "app/s.lua"
    for at, text in pairs { ["1s"] = "two", ["1050ms"] = "three", ["2s"] = "three", ["4s"] = "four", ["5s"] = "last", ["6s"] = "after" } do
      w:at(at, function() host:file("app/deny.txt", text) end)
    end
    w:at("3s", function() host:file("app/deny.txt", nil) end)
    w:run "10s"
    local times = {}
    local out = script:output():gsub("(%d+%.%d+)\t", function(time)
      times[#times + 1] = tonumber(time)
      return ""
    end)
    assert.equal("kt.file: ../../etc/hosts: outside of the script's folder; allow it with --allow-read DIR\n"
      .. "kt.watch: app/none/x: cannot be watched: no such file or directory\nthree\tnil\nnil\tnot_found\nfour\tnil\nlast\tnil\n", out)
    assert.near(1.1, times[1], 0.02)
  end)
end)
