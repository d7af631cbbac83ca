-- DNS messages (RFC 1035, RFC 2782) for specs: parses questions and writes answers from a table of names. No I/O.
--
--   zone["a.test"] = { A = { "192.0.2.1", "192.0.2.2" }, AAAA = { "2001:db8::1" }, ttl = 60,
--                      SRV = { { target = "b.test", port = 1, priority = 10, weight = 5 } } }
--   zone["c.test"] = { CNAME = "a.test", ttl = 5 }       followed within the zone
--   zone["d.test"] = { rcode = "SERVFAIL" }              or "REFUSED", "NOTIMP", "FORMERR"
--   zone["e.test"] = { silent = true }                   no answer at all
--   zone["f.test"] = { truncate = true, A = … }          over UDP only the truncation bit
--   zone["g.test"] = { raw = function(question, how) return "bytes" end }
--
-- Unknown names get NXDOMAIN; names without the type asked for get an empty answer.
local message = { types = { A = 1, CNAME = 5, AAAA = 28, SRV = 33 } }

local rcodes = { NOERROR = 0, FORMERR = 1, SERVFAIL = 2, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5 }
local UDP_MAX = 512

local type_names = {}
for name, number in pairs(message.types) do type_names[number] = name end

--- "a.test" → its labels as on the wire.
function message.name(text)
  local out = {}
  for label in text:gmatch "[^.]+" do out[#out + 1] = string.pack("s1", label) end
  return table.concat(out) .. "\0"
end

--- A message with one question: { id, name (in lower case), type ("A"), raw (the question's bytes) }.
function message.question(bytes)
  local id, at, labels = string.unpack(">I2", bytes), 13, {}
  while bytes:byte(at) ~= 0 do
    local label
    label, at = string.unpack("s1", bytes, at)
    labels[#labels + 1] = label
  end
  local number = string.unpack(">I2", bytes, at + 1)
  return {
    id = id, name = table.concat(labels, "."):lower(), type = type_names[number] or tostring(number),
    raw = bytes:sub(13, at + 4),
  }
end

local function ip4(text)
  local a, b, c, d = text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
  return string.pack("BBBB", a, b, c, d)
end

local function ip6(text)
  local function groups(part)
    local list = {}
    for hex in part:gmatch "%x+" do list[#list + 1] = string.pack(">I2", tonumber(hex, 16)) end
    return table.concat(list)
  end
  local head, tail = text:match "^(.-)::(.*)$"
  if not head then return groups(text) end
  head, tail = groups(head), groups(tail)
  return head .. ("\0"):rep(16 - #head - #tail) .. tail
end

local data = {
  A = ip4,
  AAAA = ip6,
  CNAME = message.name,
  SRV = function(r) return string.pack(">I2I2I2", r.priority or 0, r.weight or 0, r.port) .. message.name(r.target) end,
}

--- A record of `kind`, from a text for A, AAAA and CNAME, or a table for SRV; `bytes` replaces its data.
function message.record(name, kind, value, ttl, bytes)
  return message.name(name) .. string.pack(">I2I2I4s2", message.types[kind], 1, ttl or 300, bytes or data[kind](value))
end

--- A message that answers the question with records. flags: its second 16 bits; counts: the number of records that it claims.
function message.answer(question, records, rcode, flags, count)
  return string.pack(">I2I2I2I2I2I2", question.id, (flags or 0x8180) | rcodes[rcode or "NOERROR"], 1, count or #records, 0, 0)
    .. question.raw .. table.concat(records)
end

--- The zone's answer; how: "udp" or "tcp". nil: none.
function message.respond(zone, question, how)
  local entry, name = zone[question.name], question.name
  if not entry then return message.answer(question, {}, "NXDOMAIN") end
  if entry.silent then return nil end
  if entry.raw then return entry.raw(question, how) end
  if entry.rcode then return message.answer(question, {}, entry.rcode) end
  local truncated = message.answer(question, {}, nil, 0x8380)
  if entry.truncate and how == "udp" then return truncated end
  local records = {}
  while entry and entry.CNAME and #records < 16 do
    records[#records + 1] = message.record(name, "CNAME", entry.CNAME, entry.ttl)
    name = entry.CNAME
    entry = zone[name]
  end
  for _, value in ipairs(entry and entry[question.type] or {}) do
    records[#records + 1] = message.record(name, question.type, value, entry.ttl)
  end
  local bytes = message.answer(question, records)
  return how == "udp" and #bytes > UDP_MAX and truncated or bytes
end

return message
