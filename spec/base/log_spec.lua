-- runtime/base/log and err: log lines and error messages.
local base = require "spec_base"

local function line(text) return (base.log_line("debug", "info", text)) end

describe("log", function()
  it("hands a line to the sink at its level and above, and nothing below", function()
    local levels = { "debug", "info", "warn", "error" }
    for i, threshold in ipairs(levels) do
      for j, level in ipairs(levels) do
        local want = j >= i and { n = 2, "hello", level } or { n = 0 }
        assert.same(want, table.pack(base.log_line(threshold, level, "hello")))
      end
    end
  end)

  it("logs nothing when quiet", function()
    for _, level in ipairs { "debug", "info", "warn", "error", "quiet" } do
      assert.same({ n = 0 }, table.pack(base.log_line("quiet", level, "hello")))
    end
  end)

  it("is silent without a log or without a sink", function()
    assert.has_no.errors(base.log_nowhere)
  end)

  it("replaces control characters, so that a peer cannot control the terminal", function()
    assert.equal("a?b?c?d?e", line "a\nb\27c\127d\re")
    for byte = 1, 31 do assert.equal("?", line(string.char(byte))) end
  end)

  it("passes UTF-8 through", function()
    assert.equal("žluťoučký kůň 漢字", line "žluťoučký kůň 漢字")
  end)

  it("keeps lines up to 1 KiB and truncates longer ones", function()
    local kib = ("x"):rep(1024)
    assert.equal(kib, line(kib))
    assert.equal(("x"):rep(1021) .. "...", line(kib .. "x"))
    assert.equal(("x"):rep(1021) .. "...", line(kib:rep(20)))
  end)

  it("does not split a UTF-8 character", function()
    for pad = 0, 3 do
      local cut = line(("x"):rep(pad) .. ("漢"):rep(500))
      assert.is_truthy(utf8.len(cut), "not UTF-8 any more")
      assert.is_true(#cut <= 1024 and #cut > 1020)
    end
  end)

  it("truncates invalid UTF-8 as well", function()
    assert.equal(("\x80"):rep(1021) .. "...", line(("\x80"):rep(3000)))
  end)

  it("knows its levels by name", function()
    for i, name in ipairs { "debug", "info", "warn", "error", "quiet" } do
      assert.same({ i - 1, name }, { base.log_level(name) })
    end
    assert.same({ n = 0 }, table.pack(base.log_level "Debug"))
    assert.same({ n = 0 }, table.pack(base.log_level ""))
  end)
end)

describe("err", function()
  it("maps every code to a name and a sentence", function()
    local names = {}
    for symbol, code in pairs(base) do
      if symbol:match "^KT_E" then
        local name = base.errname(code)
        assert.is_nil(names[name], "two codes have one name")
        names[name] = true
        assert.not_equal("unknown", name)
        assert.not_equal("unknown error", base.strerror(code))
      end
    end
    assert.equal("timeout", base.errname(base.KT_ETIMEOUT))
    assert.equal("timed out", base.strerror(base.KT_ETIMEOUT))
    assert.equal("unknown", base.errname(-1000))
    assert.equal("unknown error", base.strerror(-1000))
  end)

  it("returns the code, writes the sentence, and can wrap one sentence in another", function()
    local first, wrapped, code = base.err_wrap(base.KT_ECONFIG, "31 bytes, want 32", "key file")
    assert.equal(base.KT_ECONFIG, code)
    assert.equal("31 bytes, want 32", first)
    assert.equal("key file: 31 bytes, want 32", wrapped)
  end)

  it("replaces control characters and cuts the middle of what is too long", function()
    local first, wrapped = base.err_wrap(base.KT_EIO, "a\27[2Jb\n", ("x"):rep(1000))
    assert.equal("a?[2Jb?", first)
    assert.matches("^x+…x+: a%?%[2Jb%?$", wrapped)
    assert.is_true(#wrapped < 320)
  end)

  it("maps system error numbers", function()
    local want = {
      ENOMEM = "KT_ENOMEM", EAGAIN = "KT_EAGAIN", EINTR = "KT_EAGAIN", ETIMEDOUT = "KT_ETIMEOUT",
      ECONNRESET = "KT_ERESET", EPIPE = "KT_ERESET", ECONNREFUSED = "KT_EREFUSED", ENETUNREACH = "KT_EUNREACH",
      EHOSTUNREACH = "KT_EUNREACH", EADDRINUSE = "KT_EINUSE", EACCES = "KT_EACCES", EPERM = "KT_EACCES",
      EMFILE = "KT_ELIMIT", ENOTSUP = "KT_ENOTSUP", EAFNOSUPPORT = "KT_ENOTSUP", ECANCELED = "KT_ECANCELED",
      ENOENT = "KT_ENOENT", EINVAL = "KT_EINVAL", ENOTCONN = "KT_ECLOSED", EXDEV = "KT_EIO",
    }
    for symbol, code in pairs(want) do
      assert.equal(base[code], base.from_errno(base[symbol]), symbol)
    end
    assert.equal(0, base.from_errno(0))
    assert.equal(base.KT_EIO, base.from_errno(99999))
  end)
end)

describe("a log line is written", function()
  local LINE = {
    level = "warn", script = "client", text = 'say "hi" \\ ů', link = "vps:29900", pool = "out", conn = "127.0.0.1:5", peer = "192.0.2.1:29900",
    date = "2026-11-22 10:33:58 ", wall_us = 1795343638123999,
  }

  it("as text, with the date that it is given", function()
    assert.equal('2026-11-22 10:33:58 warn  client: say "hi" \\ ů\n', base.log_write("text", LINE))
    assert.equal("error x\n", base.log_write("text", { level = "error", text = "x" }))
  end)

  it("as JSON, with what it is about, and without what it lacks", function()
    assert.equal([[{"time":"2026-11-22T10:33:58.123Z","level":"warn","script":"client","link":"vps:29900","pool":"out","conn":"127.0.0.1:5",]]
      .. [["peer":"192.0.2.1:29900","msg":"say \"hi\" \\ ů"}]] .. "\n", base.log_write("json", LINE))
    assert.equal('{"level":"info","msg":""}\n', base.log_write("json", { level = "info", text = "", peer = "" }))
  end)

  it("as a datagram for the journal, where a value cannot begin another field", function()
    assert.equal("PRIORITY=4\nSYSLOG_IDENTIFIER=kt\nKT_SCRIPT=client\nKT_LINK=vps:29900\nKT_POOL=out\nKT_CONN=127.0.0.1:5\nKT_PEER=192.0.2.1:29900\n"
      .. 'MESSAGE=say "hi" \\ ů\n', base.log_write("journald", LINE))
    assert.equal("PRIORITY=7\nSYSLOG_IDENTIFIER=kt\nKT_PEER=a UNIT=x\nMESSAGE=x\n",
      base.log_write("journald", { level = "debug", text = "x", peer = "a\nUNIT=x" }))
  end)

  it("as valid UTF-8 on one line, whatever bytes it has, and however long its fields are", function()
    local all, long = {}, ("\0\255\"x"):rep(100):gsub("%z", "\1")
    for byte = 1, 255 do all[byte] = string.char(byte) end
    local text = base.log_write("json", { level = "info", script = long, text = table.concat(all):rep(4), link = long, conn = long, peer = long })
    assert.truthy(utf8.len(text))
    assert.is_nil(text:sub(1, -2):find "%c")
    assert.equal('"}\n', text:sub(-3))
    assert.is_true(#text < 8192)
  end)

  it("with the number of lines that it stands for", function()
    local one = { level = "warn", text = "x" }
    assert.equal("warn  x (repeated 37 times)\n", base.log_write("text", one, 37))
    assert.equal('{"level":"warn","msg":"x","repeated":37}\n', base.log_write("json", one, 37))
    assert.equal("PRIORITY=4\nSYSLOG_IDENTIFIER=kt\nKT_REPEATED=1\nMESSAGE=x\n", base.log_write("journald", one, 1))
  end)

  it("in no unknown format", function()
    assert.is_nil(base.log_write("xml", LINE))
  end)
end)

describe("log lines that repeat", function()
  local SECOND = 1000000

  --- n lines at a time, as { at, level, text }.
  local function lines(out, n, at, text, level)
    for _ = 1, n do out[#out + 1] = { at, level or "warn", text } end
    return out
  end

  it("pass ten times, and are counted from then on", function()
    local said, due = base.log_repeats(lines({}, 47, 5, "x"))
    assert.same(11, #said)
    assert.equal("warn x", said[10])
    assert.equal("warn x*37", said[11])
    assert.equal(5 + 10 * SECOND, due)
    assert.same({ 10, -1 }, { #base.log_repeats(lines({}, 10, 0, "x")), (select(2, base.log_repeats(lines({}, 10, 0, "x")))) })
  end)

  it("are written with their number after ten seconds, when any line comes, and then pass again", function()
    local list = lines({}, 12, 0, "x")
    lines(list, 1, 10 * SECOND - 1, "other")
    lines(list, 1, 10 * SECOND, "another")
    lines(list, 1, 11 * SECOND, "x")
    local said = base.log_repeats(list)
    assert.same({ "warn x", "warn other", "warn x*2", "warn another", "warn x" }, table.move(said, 10, #said, 1, {}))
  end)

  it("are the same only with the same text and level, and others between them do not matter", function()
    local list = {}
    for _ = 1, 11 do
      for _, text in ipairs { "a", "b" } do lines(list, 1, 0, text) end
      lines(list, 1, 0, "a", "info")
    end
    local said = base.log_repeats(list)
    assert.equal(33, #said)
    assert.same({ "warn a*1", "warn b*1", "info a*1" }, table.move(said, 31, 33, 1, {}))
  end)

  it("are written when they give their place to others", function()
    local list = lines({}, 12, 0, "x")
    for i = 1, 8 do lines(list, 1, i, "other " .. i) end
    local said = base.log_repeats(list)
    assert.same({ "warn other 7", "warn x*2", "warn other 8" }, table.move(said, 17, #said, 1, {}))
  end)
end)
