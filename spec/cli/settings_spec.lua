-- Settings of kt client and kt server from flags, files and the environment, without running them. kcptun_settings_spec.lua compares with kcptun.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
local flags = require "kt.cli.flags"
local options = require "kt.cli.options"
local settings = require "kt.cli.settings"

--- Parses a line for one side; file: the text of c.json; key: of $KCPTUN_KEY. Returns the values, and the warnings as one text; or nil, what
--- is printed and the exit code.
local function parse(side, args, file, key)
  local ok, values, notes, from = pcall(settings.parse, side, args, {
    version = "9",
    getenv = function(name) return name == "KCPTUN_KEY" and key or nil end,
    read_file = function(path)
      if path == "c.json" and file then return file end
      return nil, "no such file: " .. path
    end,
  })
  if ok then return values, table.concat(notes, "\n"), from end
  assert.is_table(values, values)
  return nil, values.text, values.code
end

local function client(file, ...) return parse("client", { "-c", "c.json", ... }, file) end

local function has(text, part) assert.truthy(text:find(part, 1, true), ("%q is not in %q"):format(part, text)) end
local function has_not(text, part) assert.is_nil(text:find(part, 1, true), ("%q is in %q"):format(part, text)) end

describe("the mode", function()
  it("is auto, and kcptun's fast once a flag or a file gives windows or what a mode sets", function()
    for _, side in ipairs { "client", "server" } do
      assert.equal("auto", parse(side, {}).mode)
      assert.equal("auto", parse(side, { "--mtu", "1200", "--ds", "4", "--bandwidth", "50Mbit" }).mode)
      for _, flag in ipairs { "sndwnd", "rcvwnd", "nodelay", "interval", "resend", "nc" } do
        assert.equal("fast", parse(side, { "--" .. flag, "32" }).mode, flag)
      end
      assert.equal("auto", parse(side, { "--mode", "auto", "--sndwnd", "32" }).mode)
    end
    assert.equal("fast", client('{"sndwnd": 1024}').mode)
    assert.equal("auto", client('{"sndwnd": 1024, "mode": "auto"}').mode)
  end)

  it("auto is left to choose what was not given", function()
    local function config(args)
      local values, _, from = parse("client", args)
      return settings.link("client", values, from)
    end
    local own = config { "--mode", "auto", "--rcvwnd", "300", "--streambuf", "100000" }
    assert.same({ rcvwnd = 300 }, own.kcp)
    assert.same({ stream_buffer = 100000 }, own.smux)
    assert.is_nil(config({}).mode)
    assert.equal("fast", config({ "--nodelay", "1" }).mode)
  end)
end)

describe("a whole number in a flag", function()
  it("may be written as in Go", function()
    local good = {
      ["0"] = 0, ["7"] = 7, ["+7"] = 7, ["-7"] = -7, ["0x1F"] = 31, ["0b101"] = 5, ["0o17"] = 15, ["017"] = 15, ["1_000"] = 1000,
      ["-0X10"] = -16, ["007"] = 7, ["9000000000000000000"] = 9000000000000000000,
    }
    for text, n in pairs(good) do assert.equal(n, flags.int(text), text) end
    for _, text in ipairs { "", "-", "x", "1x", "1.0", "1e3", " 1", "1 ", "08", "0x", "0b2", "1__0", "1_", "_1", "--1", "99999999999999999999" } do
      assert.is_nil(flags.int(text), text)
    end
  end)
end)

describe("a size or a rate", function()
  it("may be written with a unit, in a flag and in a file, or as kcptun's integer", function()
    for name, cases in pairs {
      maxbuffered = { ["8MiB"] = 8 << 20, ["8388608"] = 8 << 20, ["0x800000"] = 8 << 20, ["1.5GiB"] = 3 << 29 }, smuxbuf = { ["2MB"] = 2000000 },
      streambuf = { ["64KiB"] = 65536 }, sockbuf = { ["1MiB"] = 1 << 20 }, ratelimit = { ["20Mbit"] = 2500000, ["1MiB/s"] = 1 << 20, ["0"] = 0 },
    } do
      for text, n in pairs(cases) do
        assert.equal(n, parse("client", { "--key", "k", "--" .. name, text })[name], text)
        if text:find "%a%a" then assert.equal(n, client(('{"%s": "%s"}'):format(name, text), "--key", "k")[name], text) end
      end
    end
  end)

  it("that is neither is refused with what was expected, and other numbers have no unit", function()
    local _, said = parse("client", { "--maxbuffered", "8MiBs" })
    has(said, 'kt client: --maxbuffered: expected a size such as "64KiB", "2MiB", "1MB", or a whole number of bytes, got "8MiBs"')
    _, said = parse("client", { "--sndwnd", "8MiB" })
    has(said, '--sndwnd: expected an integer, got "8MiB"')
    _, said = client '{"smuxbuf": "4194304"}'
    has(said, 'smuxbuf: expected a size such as "64KiB", "2MiB", "1MB", or a whole number of bytes, got the string "4194304"')
  end)
end)

describe("the table of settings", function()
  it("has for each row what the help needs", function()
    local groups = {}
    for _, group in ipairs(options.groups) do groups[group[1]] = true end
    for _, side in ipairs { "client", "server" } do
      for _, row in ipairs((options.of(side))) do
        assert.is_true(groups[row.group], row.name)
        assert.is_string(row.help, row.name)
        assert.equal(row.type ~= "bool", row.arg ~= nil, row.name)
      end
    end
  end)

  it("turns a number that is out of range into one that is in range", function()
    for _, row in ipairs((options.of "client")) do
      for rule, numbers in pairs { low = { -1 << 62, -1, 1, 40 }, high = { 1 << 62, 70000 } } do
        for _, n in ipairs(row[rule] and numbers or {}) do
          local to = row[rule]
          if type(to) == "function" then to = to(n, row) end
          assert.is_true(to == nil or to >= row.min and to <= row.max, row.name)
        end
      end
    end
  end)
end)

describe("a setting that is out of range", function()
  -- flag, value, what becomes of it, other flags that make it count
  local changed = {
    { "scavengettl", -1, 0, "--autoexpire=60" }, { "autoexpire", -1, 0 }, { "autoexpire", 1 << 40, 315360000 },
    { "interval", 1, 10, "--mode=manual" }, { "interval", -1, 100, "--mode=manual" }, { "interval", 9999, 5000, "--mode=manual" },
    { "nodelay", 2, 1, "--mode=manual" }, { "nodelay", -1, 0, "--mode=manual" }, { "nc", 2, 1, "--mode=manual" },
    { "resend", -1, 0, "--mode=manual" }, { "sndwnd", 0, 32 }, { "rcvwnd", 70000, 65535 }, { "mtu", 9000, 1500 }, { "mtu", 0, 1400 },
    { "mtu", 60, 128 }, { "datashard", -1, 0 }, { "dscp", 64, 0 }, { "dscp", -1, 63 }, { "sockbuf", -1, 1 << 30 }, { "ratelimit", -1, 0 },
    { "smuxbuf", 1000, 65536, "--streambuf=8192" }, { "streambuf", 1, 8192 }, { "closewait", -1, 0 }, { "snmpperiod", -1, 0, "--snmplog=x" },
  }
  for _, case in ipairs(changed) do
    local name, given, becomes = case[1], case[2], case[3]
    it(("is used as kcptun does, with a warning: %s %d becomes %d"):format(name, given, becomes), function()
      local values, notes = parse("client", { "--key=k", "--" .. name, tostring(given), case[4] })
      assert.equal(becomes, values[name], notes)
      has(notes, ("--%s: %d is out of range"):format(name, given))
      has(notes, ("using %d"):format(becomes))
      values, notes = client(('{"key": "k", "%s": %d}'):format(name, given), case[4])
      assert.equal(becomes, values[name])
      has(notes, ("-c c.json: line 1, column %d: %s: %d is out of range"):format(#name + 18, name, given))
    end)
  end

  it("is not mentioned where nothing uses it", function()
    for _, line in ipairs { "--scavengettl=-1", "--snmpperiod=-1", "--QPPCount=0" } do
      local values, notes = parse("client", { "--key=k", line })
      assert.truthy(values, notes)
      assert.equal("", notes)
    end
    assert.equal(61, parse("client", { "--QPPCount=0" }).QPPCount)
  end)

  it("is refused with its range where no tunnel could work", function()
    for line, range in pairs {
      ["--conn=0"] = "1 to 1024", ["--conn=-1"] = "1 to 1024", ["--keepalive=0"] = "1 to 30", ["--keepalive=31"] = "1 to 30", ["--smuxver=0"] = "1 to 2",
      ["--smuxbuf=0"] = "65536 to", ["--streambuf=-1"] = "8192 to", ["--framesize=0"] = "1 to 65535", ["--ds=256"] = "0 to 255", ["--deadpeer=0"] = "1 to 60",
    } do
      local values, said, code = parse("client", { line })
      assert.is_nil(values, line)
      assert.equal(1, code)
      has(said, line:match "^[^=]+" .. ": " .. "expected " .. range)
      has(said, ", got " .. line:match "=(.*)")
    end
    local _, said = parse("client", { "--QPP", "--QPPCount=0" })
    has(said, "--QPPCount: expected 1 to 4096, got 0")
  end)
end)

describe("an address to dial", function()
  it("without a host is this machine's", function()
    for given, dialled in pairs {
      [":8388"] = "127.0.0.1:8388", ["0.0.0.0:8388"] = "127.0.0.1:8388", ["[::]:8388"] = "[::1]:8388", ["vps:8388"] = "vps:8388",
      ["10.0.0.0:80"] = "10.0.0.0:80", ["[::1]:80"] = "[::1]:80", [":300-310"] = "127.0.0.1:300-310",
    } do
      assert.equal(dialled, parse("client", { "-r", given }).remoteaddr)
      assert.equal(dialled, parse("server", { "-t", given }).target)
    end
    assert.equal(":8388", parse("server", { "-l", ":8388" }).listen)
  end)
end)

describe("a name of a cipher or mode that is not known", function()
  it("is refused with what was meant and what kcptun would do", function()
    for given, meant in pairs { ["aes-256"] = "aes", AES = "aes", ["aes-256-cfb"] = "aes", ["aes-129"] = "aes-128" } do
      local _, said = parse("client", { "--crypt", given })
      has(said, ('--crypt: unknown value "%s"; did you mean "%s"? kcptun silently uses aes instead; expected one of aes,'):format(given, meant))
    end
    local _, said = client '{"mode": "Fast2"}'
    has(said, 'line 1, column 10: mode: unknown value "Fast2"; did you mean "fast2"? kcptun silently uses manual')
    _, said = parse("server", { "--crypt", "rot13" })
    has(said, 'unknown value "rot13"; kcptun silently uses aes instead; expected one of aes, aes-128')
  end)
end)

describe("an unknown key in a file", function()
  it("is ignored with a warning at its line and column", function()
    local values, notes = client '{\n  "key": "k",\n  "sndwind": 5\n}'
    assert.equal(128, values.sndwnd)
    assert.equal('c.json: line 3, column 3: ignored: unknown setting "sndwind"; did you mean "sndwnd"?', notes)
  end)

  it("is reported as a setting of the other side", function()
    local _, notes = client '{"key": "k", "Listen": ":1", "target": ":2"}'
    has(notes, '"Listen" is a setting of kt server; for kt client it is "localaddr"')
    has(notes, '"target" is a setting of kt server; for kt client it is "remoteaddr"')
    _, notes = parse("server", { "-c", "c.json" }, '{"key": "k", "localaddr": ":1", "remoteaddr": ":2", "conn": 1}')
    has(notes, '"localaddr" is a setting of kt client; for kt server it is "listen"')
    has(notes, '"remoteaddr" is a setting of kt client; for kt server it is "target"')
    has(notes, '"conn" is a setting of kt client')
  end)

  it("is reported as a flag's name, with the name to use in files", function()
    local values, notes = client '{"key": "k", "QPPCount": 5, "ds": 1, "L": ":1"}'
    assert.equal(61, values.QPPCount)
    assert.equal(10, values.datashard)
    has(notes, '"QPPCount" is a flag only; in a file it is "qpp-count"')
    has(notes, '"ds" is a flag only; in a file it is "datashard"')
    has(notes, '"L" is a flag only; in a file it is "localaddr"')
  end)

  it("may be a comment", function()
    local _, notes = client '{"key": "k", "_": 1, "//": "x", "#mtu": 2, "comment": {}}'
    assert.equal("", notes)
  end)
end)

describe("a misplaced key in a file", function()
  it("is refused inside another object", function()
    local values, said, code = client '{"client": {"key": "s3cret"}}'
    assert.is_nil(values)
    assert.equal(1, code)
    has(said, 'line 1, column 13: "key" is inside "client"; settings are read from the outermost object only')
  end)

  local alike = { "kye", "keys", "Key ", "_key", "password", "passwd", "PSK", "pre-shared-key", "secret", "KCPTUN_KEY" }

  it("is refused where no other key is set", function()
    for _, name in ipairs(alike) do
      local values, said, code = client(('{"%s": "s3cret"}'):format(name))
      assert.is_nil(values, name)
      assert.equal(1, code)
      has(said, "line 1, column 2")
      has(said, name)
      has(said, "no key is set, and kcptun's default is public")
      has_not(said, "s3cret")
    end
    local values, said = client '{"key": null}'
    assert.is_nil(values)
    has(said, "the key is null")
  end)

  it("is a warning where another key is set", function()
    for _, name in ipairs(alike) do
      assert.equal("k", client(('{"%s": "s3cret", "KEY": "k"}'):format(name)).key)
      assert.equal("k", client(('{"%s": "s3cret"}'):format(name), "--key=k").key)
      assert.equal("k", parse("client", { "-c", "c.json" }, ('{"%s": "s3cret"}'):format(name), "k").key)
    end
    local _, notes = client '{"kye": "s3cret", "key": "k"}'
    has(notes, 'unknown setting "kye"; did you mean "key"?')
  end)

  it("is not reported for unrelated names", function()
    for _, name in ipairs { "keepalive", "keepaliv", "mode", "nc", "kcp", "tcp", "remarks" } do
      assert.truthy((client(('{"%s": null}'):format(name))), name)
    end
  end)
end)

describe("a weak key", function()
  it("is warned about wherever it comes from", function()
    local empty, known = "the key is empty: anyone can read", "the key is kcptun's default, which is public"
    for _, case in ipairs {
      { known, {} }, { known, { "--key", "it's a secrect" } }, { empty, { "--key=" } }, { empty, {}, nil, "" },
      { empty, { "-c", "c.json" }, '{"key": ""}' }, { known, { "-c", "c.json" }, [[{"key": "it's a secrect"}]] },
    } do
      local _, notes = parse("server", case[2], case[3], case[4])
      has(notes, case[1])
    end
    local _, notes = parse("server", { "--key", "better" })
    assert.equal("", notes)
  end)
end)

describe("a file", function()
  it("accepts keys in any case and warns of one that is set again", function()
    local values, notes = client '{"KEY": "a", "MTU": 1000, "Mtu": 1200, "\u{17f}ndWnd": 7}'
    assert.same({ "a", 1200, 7 }, { values.key, values.mtu, values.sndwnd })
    assert.equal('c.json: line 1, column 27: "Mtu" is set again; the last value counts', notes)
  end)

  it("may have nulls, which change nothing", function()
    local values, notes = client('{"mtu": null, "nocomp": null}', "--mtu=1300", "--nocomp", "--key=k")
    assert.equal("", notes)
    assert.same({ 1300, true }, { values.mtu, values.nocomp })
  end)

  it("is warned about where something follows its object", function()
    local values, notes = client '{"key": "k"}\n}'
    assert.equal("k", values.key)
    assert.equal("c.json: line 2, column 1: everything from here on is ignored, as by kcptun", notes)
  end)

  it("has values of the wrong type named at their line and column, without the key itself", function()
    for value, got in pairs {
      ['"1350"'] = 'the string "1350"', ["13.5"] = "13.5", ["1e3"] = "1e3", ["true"] = "true", ["[1]"] = "an array", ["{}"] = "an object",
      ["99999999999999999999"] = "99999999999999999999",
    } do
      local _, said = client('{\n"mtu": ' .. value .. "}")
      has(said, "kt client: -c c.json: line 2, column 8: mtu: expected an integer, got " .. got)
    end
    for value, got in pairs { ["1"] = "1", ['"true"'] = 'the string "true"' } do
      local _, said = client('{"nocomp": ' .. value .. "}")
      has(said, "nocomp: expected true or false, got " .. got)
    end
    local _, said = client '{"key": 31415926}'
    has(said, "column 9: key: expected a string in quotes, got a number")
    has_not(said, "31415926")
  end)

  it("that is not JSON has the mistake at its line and column", function()
    local _, said = client '{\n  "mtu": 1350\n  "mode": "fast"\n}'
    has(said, "kt client: -c c.json: line 3, column 3: not valid JSON: expected ',' or '}', got '\"'")
  end)

  it("that is empty or not an object is refused", function()
    local cases = { [""] = "the file is empty", [" \n"] = "the file is empty", null = "got null", ["[]"] = "got an array", ["5"] = "got a number" }
    for text, said_of in pairs(cases) do
      local _, said = client(text)
      has(said, said_of)
    end
  end)
end)

describe("mode", function()
  it("says in one line which settings it does not use", function()
    local _, notes = client '{"key": "k", "nodelay": 1, "interval": 20, "resend": 2, "nc": 1}'
    assert.equal("nodelay, interval, resend, nc: not used, mode fast sets them; choose mode manual to set them yourself", notes)
    _, notes = parse("client", { "--key=k", "--interval=20" })
    assert.equal("interval: not used, mode fast sets it; choose mode manual to set it yourself", notes)
    _, notes = client '{"key": "k", "interval": 20, "mode": "manual"}'
    assert.equal("", notes)
  end)
end)

describe("the choice of a wire", function()
  local function link(...)
    local values, notes, from = parse("client", { "--key", "k", ... })
    return settings.link("client", values, from), notes
  end

  it("comes from a flag or a file, and from nothing else", function()
    assert.equal("auto", parse("client", {}).wire)
    assert.equal("kt", parse("client", { "--wire", "kt" }).wire)
    assert.equal("kcptun", client([[{ "wire": "kcptun" }]]).wire)
    local _, text = parse("client", { "--wire", "quic" })
    has(text, 'unknown value "quic"; kcptun has no such flag; expected one of auto, kt, kcptun')
  end)

  it("is kt's with a key pair, which kcptun's does not have", function()
    local values, notes = parse("client", { "--privatekey", "own.key", "--serverkey", "x", "--crypt", "xor" })
    assert.equal("kt", values.wire)
    has(notes, "crypt: not used, wire kt has no such setting")
  end)

  it("leaves to the wire what was not given", function()
    assert.same({ wire = "kt", key = "k" }, (link("--wire", "kt")))
    assert.same({ wire = "kcptun", key = "k" }, (link("--wire", "kcptun")))
  end)

  it("hands each wire its own settings", function()
    local given = { "--mtu", "1300", "--keepalive", "7", "--suspectpeer", "9", "--crypt", "xor", "--nocomp", "--ds", "0", "--conn", "3" }
    assert.same({ wire = "kt", key = "k", mtu = 1300, keepalive = 7, suspect_after = 9 }, (link("--wire", "kt", table.unpack(given))))
    assert.same({ wire = "auto", key = "k", mtu = 1300, keepalive = 7, suspect_after = 9, kcp = { mtu = 1300 }, smux = { keepalive = 7 },
      crypt = "xor", compress = false, fec = false, sessions = 3 }, (link("--wire", "auto", table.unpack(given))))
  end)

  it("names the flags that kt's wire does not use", function()
    local _, notes = link("--wire", "kt", "--mode", "fast3", "--nocomp", "--ds", "7", "--dscp", "4")
    has(notes, "mode, datashard, nocomp: not used, wire kt has no such setting")
    local _, none = link("--wire", "auto", "--mode", "fast3", "--nocomp", "--ds", "7")
    has_not(none, "not used")
  end)

  it("says what becomes of an mtu that kt's wire does not take", function()
    local config, notes = link("--wire", "auto", "--mtu", "900")
    assert.same({ 1200, 900 }, { config.mtu, config.kcp.mtu })
    has(notes, "--mtu: 900 is out of range on wire kt; using 1200 there")
  end)
end)
