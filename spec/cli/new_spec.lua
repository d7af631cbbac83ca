-- kt new: examples out of the binary.
local h = require "harness"
local scripts = require "harness.scripts"

describe("kt new", function()
  local s = scripts.each(before_each, after_each)

  --- Runs it in an empty folder; returns exit code, stdout, stderr.
  local function new(...)
    local p = s.kt("new", ...)
    return p:wait_exit(20), p.stdout, p.stderr
  end

  local function written(name) return h.read_file(s.dir .. "/" .. name) end

  it("writes an example unchanged to a file of its name", function()
    h.run(function()
      local code, out, err = new "socks5"
      assert.equal(0, code)
      assert.equal("wrote socks5.lua; edit it, then: kt check socks5.lua\n", out)
      assert.equal("", err)
      assert.equal(h.read_file "scripts/examples/socks5.lua", written "socks5.lua")
    end)
  end)

  it("accepts the name with .lua appended", function()
    h.run(function()
      assert.equal(0, (new "client.lua"))
      assert.equal(h.read_file "scripts/examples/client.lua", written "client.lua")
    end)
  end)

  it("writes into the file that it is given", function()
    h.run(function()
      assert.equal(0, (new("server", "mine.lua")))
      assert.equal(h.read_file "scripts/examples/server.lua", written "mine.lua")
    end)
  end)

  it("writes to standard output when the file is -", function()
    h.run(function()
      local code, out = new("server", "-")
      assert.equal(0, code)
      assert.equal(h.read_file "scripts/examples/server.lua", out)
    end)
  end)

  it("does not overwrite an existing file", function()
    h.run(function()
      s.write("server.lua", "mine")
      local code, out, err = new "server"
      assert.equal(1, code)
      assert.equal("", out)
      assert.equal("kt new: server.lua already exists; not overwritten\n", err)
      assert.equal("mine", written "server.lua")
    end)
  end)

  it("does not follow a dangling symlink", function()
    h.run(function()
      os.execute(("ln -s %s/elsewhere %s/server.lua"):format(s.dir, s.dir))
      assert.equal(1, (new "server"))
      assert.is_nil(io.open(s.dir .. "/elsewhere"))
    end)
  end)

  it("reports the path that it cannot write", function()
    h.run(function()
      local code, _, err = new("server", "no/such/folder.lua")
      assert.equal(1, code)
      assert.equal("kt new: no/such/folder.lua: no such folder: no/such\n", err)
    end)
  end)

  it("lists the examples, each with the line that it opens with", function()
    h.run(function()
      local code, out = new()
      assert.equal(0, code)
      assert.matches("^usage: kt new NAME %[FILE%]\n\n", out)
      assert.matches("\n  client +The near end of a tunnel: accepts local connections and carries each one through the link%.\n", out)
      assert.matches("\n  socks5 +A SOCKS5 proxy at the far end: ", out)
    end)
  end)

  it("suggests the closest example", function()
    h.run(function()
      local code, _, err = new "sock5"
      assert.equal(1, code)
      assert.equal("kt new: unknown example sock5; did you mean socks5?\n", err)
      assert.matches("^kt new: unknown example xyzzy; expected one of .*client, .*server", select(3, new "xyzzy"))
    end)
  end)

  it("reads no file outside the binary, for any name", function()
    h.run(function()
      s.write("own.lua", "secret")
      assert.equal(1, (new("../own", "copy.lua")))
      assert.is_nil(io.open(s.dir .. "/copy.lua"))
    end)
  end)

  it("explains its usage, and refuses other arguments", function()
    h.run(function()
      local code, out = new "--help"
      assert.equal(0, code)
      assert.matches("^usage: kt new %[NAME %[FILE%]%]\n", out)
      for _, args in ipairs { { "--force" }, { "client", "a.lua", "b.lua" } } do
        local wrong, _, err = new(table.unpack(args))
        assert.equal(1, wrong)
        assert.matches("\nusage: kt new ", err)
        assert.is_nil(io.open(s.dir .. "/a.lua"))
      end
    end)
  end)
end)
