-- runtime/crypto/secret: the end-to-end layer in a stream (--tuncrypt).
local crypto = require "spec_crypto"
local bytes = require "bytes"
local noise = bytes.noise

local TAG = { message = 0, push = 1, rekey = 2, final = 3 }
local TEXT_MAX = 16384
local pass = crypto.pass("it's a secrect")
local key = crypto.secret_key(pass, true)

-- Feeds wire in pieces of at most `step` bytes. Returns the texts that came out, whether the final one was among them,
-- and the error that ended it.
local function receive(rx, wire, step)
  local texts, final, at = {}, false, 1
  while at <= #wire do
    local text, used, last = rx:open(wire:sub(at, at + (step or #wire) - 1))
    if not text then return texts, final, used end
    assert(used > 0, "nothing was taken")
    if text ~= "" then texts[#texts + 1] = text end
    final = final or last
    at = at + used
  end
  return texts, final, nil
end

-- A sender's header and frames for texts, the last of them final.
local function send(texts)
  local tx, header = assert(crypto.secret_tx(key))
  local frames = {}
  for i, text in ipairs(texts) do frames[i] = assert(tx:seal(text, i == #texts)) end
  return header, frames
end

local function rx(other_key) return assert(crypto.secret_rx(other_key or key)) end

describe("the end-to-end layer", function()
  local texts = { "hello", noise(1), noise(TEXT_MAX), noise(1000, 2), "bye" }
  local header, frames = send(texts)
  local wire = header .. table.concat(frames)

  it("carries texts in order to the end", function()
    local got, final, err = receive(rx(), wire)
    assert.same(texts, got)
    assert.is_true(final)
    assert.is_nil(err)
  end)

  it("frames as it says: 24 bytes, then 2 bytes of length and 17 more than the text", function()
    assert.equal(24, #header)
    for i, frame in ipairs(frames) do
      assert.equal(2 + #texts[i] + 17, #frame)
      assert.equal(#texts[i] + 17, (("<I2"):unpack(frame)))
    end
  end)

  it("gives the same texts for any split of the bytes", function()
    for _, step in ipairs { 1, 2, 3, 23, 24, 25, 26, 100, 16402, 16403, 16404 } do
      local got, final, err = receive(rx(), wire, step)
      assert.same(texts, got)
      assert.is_true(final)
      assert.is_nil(err)
    end
  end)

  it("gives the same texts wherever the stream is cut in two", function()
    local small = { "ab", "c", noise(40) }
    local head, parts = send(small)
    local all = head .. table.concat(parts)
    for cut = 1, #all - 1 do
      local r = rx()
      local got, early = receive(r, all:sub(1, cut))
      local rest, final, err = receive(r, all:sub(cut + 1))
      assert.is_nil(err)
      assert.is_false(early)
      assert.is_true(final)
      assert.equal(table.concat(small), table.concat(got) .. table.concat(rest))
    end
  end)

  it("opens one message at a time", function()
    local text, used, final = rx():open(wire)
    assert.equal("hello", text)
    assert.equal(#header + #frames[1], used)
    assert.is_false(final)
  end)

  it("consumes nothing from an empty input", function()
    local text, used, final = rx():open("")
    assert.same({ "", 0, false }, { text, used, final })
  end)

  it("yields neither text nor end from a truncated stream", function()
    for _, cut in ipairs { 1, 23, 24, 25, 26, #header + #frames[1] - 1 } do
      local got, final, err = receive(rx(), wire:sub(1, cut))
      assert.same({}, got)
      assert.is_false(final)
      assert.is_nil(err)
    end
    local got, final = receive(rx(), wire:sub(1, -2))
    assert.equal(#texts - 1, #got)
    assert.is_false(final)
  end)

  it("refuses messages out of order", function()
    local got, _, err = receive(rx(), header .. frames[1] .. frames[3] .. frames[2])
    assert.same({ texts[1] }, got)
    assert.equal("auth", err)
  end)

  it("refuses a stream with a missing message", function()
    local got, _, err = receive(rx(), header .. frames[2])
    assert.same({}, got)
    assert.equal("auth", err)
  end)

  it("refuses a repeated message", function()
    local got, _, err = receive(rx(), header .. frames[1] .. frames[1])
    assert.same({ texts[1] }, got)
    assert.equal("auth", err)
  end)

  it("refuses a message of another stream with the same key", function()
    local _, others = send(texts)
    local _, _, err = receive(rx(), header .. others[1])
    assert.equal("auth", err)
  end)

  it("refuses a message with any one bit flipped", function()
    local head, parts = send { noise(30), "x" }
    local all = head .. table.concat(parts)
    for bit = 0, 8 * #all - 1 do
      local got, final, err = receive(rx(), bytes.flip(all, bit))
      -- A larger length may leave it waiting for more; it still yields neither that text nor the end.
      local field = bit // 8 - #head
      local in_length = field == 0 or field == 1 or field == #parts[1] or field == #parts[1] + 1
      if final or not (err == "auth" or in_length) then error(("bit %d: %s"):format(bit, err)) end
      if #got ~= (bit // 8 < #head + #parts[1] and 0 or 1) then error("text of a changed frame, bit " .. bit) end
    end
  end)

  it("refuses the wrong key", function()
    local _, _, err = receive(rx(crypto.secret_key(crypto.pass("other"), true)), wire)
    assert.equal("auth", err)
  end)

  it("refuses its own direction's bytes sent back", function()
    local _, _, err = receive(rx(crypto.secret_key(pass, false)), wire)
    assert.equal("auth", err)
  end)

  it("uses separate keys for each direction and each pass", function()
    local keys = {}
    for _, p in ipairs { pass, crypto.pass("other") } do
      for _, direction in ipairs { true, false } do keys[crypto.secret_key(p, direction)] = true end
    end
    local n = 0
    for k in pairs(keys) do n = n + #k end
    assert.equal(4 * 32, n)
    assert.is_nil(keys[pass])
  end)

  it("never uses a header twice", function()
    local other = send { "" }
    assert.not_equal(header, other)
  end)

  for _, length in ipairs { 0, 1, 16, TEXT_MAX + 18, 65535 } do
    it(("refuses the length %d at once, without waiting for the message"):format(length), function()
      local r = rx()
      receive(r, header)
      local text, code = r:open(("<I2"):pack(length))
      assert.is_nil(text)
      assert.equal("protocol", code)
    end)
  end

  it("keeps failing with the same error after an error", function()
    for code, damage in pairs { auth = bytes.flip(frames[1], 100), protocol = "\0\0" } do
      local r = rx()
      assert.equal(code, (select(3, receive(r, header .. damage))))
      for _, more in ipairs { frames[1], header .. frames[1], "" } do
        local text, again = r:open(more)
        assert.is_nil(text)
        assert.equal(code, again)
      end
    end
  end)
end)

describe("the final message of the end-to-end layer", function()
  it("may be empty", function()
    local header, frames = send { "a", "" }
    assert.equal(19, #frames[2])
    local r = rx()
    assert.same({ "a" }, (receive(r, header .. frames[1])))
    local text, used, final = r:open(frames[2])
    assert.same({ "", 19, true }, { text, used, final })
  end)

  it("may be the only one", function()
    local header, frames = send { "" }
    local got, final, err = receive(rx(), header .. frames[1])
    assert.same({}, got)
    assert.is_true(final)
    assert.is_nil(err)
  end)

  it("may carry text, which comes with the final flag", function()
    local header, frames = send { "all" }
    local text, _, final = rx():open(header .. frames[1])
    assert.equal("all", text)
    assert.is_true(final)
  end)

  it("ends the stream: more bytes are an error", function()
    local header, frames = send { "end" }
    local r = rx()
    local _, final = receive(r, header .. frames[1])
    assert.is_true(final)
    assert.same({ "", 0, false }, { r:open("") })
    local text, code = r:open("x")
    assert.is_nil(text)
    assert.equal("protocol", code)
  end)

  it("cannot be replaced by the final message of another stream", function()
    local header, frames = send { "a", "b", "" }
    local _, others = send { "a", "" }
    local _, final, err = receive(rx(), header .. frames[1] .. others[2])
    assert.is_false(final)
    assert.equal("auth", err)
  end)

  it("is the last a sender seals", function()
    local tx = crypto.secret_tx(key)
    assert.is_string(tx:seal("end", true))
    assert.is_nil(tx:seal("more", false))
    assert.is_nil(tx:seal("", true))
  end)
end)

describe("messages of the end-to-end layer", function()
  it("are not empty, except for the final one", function()
    local tx, header = crypto.secret_tx(key)
    assert.is_nil(tx:seal("", false))
    local _, _, err = receive(rx(), header .. tx:seal_tagged("", TAG.message))
    assert.equal("protocol", err)
  end)

  it("are not longer than 16384 bytes", function()
    local tx = crypto.secret_tx(key)
    assert.is_nil(tx:seal(noise(TEXT_MAX + 1), false))
    assert.is_string(tx:seal(noise(TEXT_MAX), false))
  end)

  it("may request a new key and continue", function()
    local tx, header = crypto.secret_tx(key)
    local wire = header .. tx:seal("before", false) .. tx:seal_tagged("rekey", TAG.rekey) .. tx:seal("after", false)
      .. tx:seal("", true)
    local got, final, err = receive(rx(), wire, 5)
    assert.same({ "before", "rekey", "after" }, got)
    assert.is_true(final)
    assert.is_nil(err)
  end)

  for _, tag in ipairs { TAG.push, 4, 255 } do
    it(("with the unknown tag %d are refused"):format(tag), function()
      local tx, header = crypto.secret_tx(key)
      local got, _, err = receive(rx(), header .. tx:seal_tagged("text", tag))
      assert.same({}, got)
      assert.equal("protocol", err)
    end)
  end
end)
