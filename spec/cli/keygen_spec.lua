-- kt keygen: shared keys and key pairs.
local h = require "harness"
local scripts = require "harness.scripts"

local kt = io.popen("readlink -f " .. h.peer.kt):read "l"

local function mode_of(path)
  local pipe = assert(io.popen("stat -c %a " .. path))
  local mode = pipe:read "l"
  pipe:close()
  return mode
end

describe("kt keygen", function()
  local s = scripts.each(before_each, after_each)

  --- Runs it in an empty folder; returns exit code, stdout, stderr.
  local function keygen(...)
    local p = s.kt("keygen", ...)
    return p:wait_exit(20), p.stdout, p.stderr
  end

  local function written(name) return h.read_file(s.dir .. "/" .. name) end
  local KEY = "(" .. ("[%w+/]"):rep(43) .. "=)\n"

  it("prints a new key each time", function()
    h.run(function()
      local code, first, err = keygen()
      assert.same({ 0, "" }, { code, err })
      assert.matches("^" .. KEY .. "$", first)
      local _, second = keygen()
      assert.matches("^" .. KEY .. "$", second)
      assert.not_equal(first, second)
    end)
  end)

  it("writes a shared key to a file for its owner alone", function()
    h.run(function()
      assert.same({ 0, "wrote psk, which only you can read; copy it to the other end\n", "" }, { keygen("--out", "psk") })
      assert.matches("^" .. KEY .. "$", written "psk")
      assert.equal("600", mode_of(s.dir .. "/psk"))
    end)
  end)

  it("writes a key pair, the private key for its owner alone", function()
    h.run(function()
      assert.same({ 0, "wrote alice.key, which stays here, and alice.pub for the other end\n", "" }, { keygen("--pair", "alice") })
      assert.matches("^# kt private key\n" .. KEY .. "$", written "alice.key")
      assert.matches("^# kt public key\n" .. KEY .. "$", written "alice.pub")
      assert.equal("600", mode_of(s.dir .. "/alice.key"))
      assert.not_equal("600", mode_of(s.dir .. "/alice.pub"))
    end)
  end)

  it("does not overwrite", function()
    h.run(function()
      for _, case in ipairs { { "psk", "--out", "psk" }, { "a.key", "--pair", "a" }, { "b.pub", "--pair", "b" } } do
        s.write(case[1], "mine")
        local code, out, err = keygen(case[2], case[3])
        assert.same({ 1, "", ("kt keygen: %s already exists; not overwritten\n"):format(case[1]) }, { code, out, err })
        assert.equal("mine", written(case[1]))
      end
      assert.is_nil(io.open(s.dir .. "/a.pub"))
      assert.is_nil(io.open(s.dir .. "/b.key"))
    end)
  end)

  it("reports the folder that is missing", function()
    h.run(function()
      assert.same({ 1, "", "kt keygen: no/psk: no such folder: no\n" }, { keygen("--out", "no/psk") })
      assert.same({ 1, "", "kt keygen: no/a.key: no such folder: no\n" }, { keygen("--pair", "no/a") })
    end)
  end)

  it("leaves no half-written key on a full disk", function()
    h.run(function()
      -- The limit on the size of files stands for the disk.
      for _, args in ipairs { "--out psk", "--pair a" } do
        local p = h.start { name = "kt", cwd = s.dir, cmd = { "sh", "-c", 'trap "" XFSZ; ulimit -f 0; exec "$0" keygen ' .. args, kt } }
        assert.equal(1, p:wait_exit(20))
        assert.matches("^kt keygen: [%w.]+: File too large\n$", p.stderr)
      end
      for _, name in ipairs { "psk", "a.key", "a.pub" } do assert.is_nil(io.open(s.dir .. "/" .. name)) end
    end)
  end)

  it("refuses what it does not know", function()
    h.run(function()
      for _, case in ipairs {
        { "--size: unknown flag", "--size", "64" }, { "psk: unexpected argument", "psk" }, { "--out: expected a value", "--out" },
        { "--pair: give one of --out and --pair", "--out", "psk", "--pair", "a" },
      } do
        local code, out, err = keygen(table.unpack(case, 2))
        assert.same({ 1, "" }, { code, out })
        assert.equal("kt keygen: " .. case[1], err:match "[^\n]*")
        assert.matches("\nusage: kt keygen ", err)
      end
      assert.is_nil(io.open(s.dir .. "/psk"))
    end)
  end)
end)
