--- The part of kt.api that describes pools.
local policies = require "kt.pool.policies"
local schema = require "kt.schema"
local wire = require "kt.api.wire"

--- entry of `links`, and of pool:add
local function member(required)
  return {
    type = "table", bare = "link", required = required, expected = "a link, or { link = …, weight = …, name = … }",
    keys = {
      { name = "link", type = "handle", kind = "link", required = true, expected = "a link, as kt.link declared it", doc = "The link." },
      { name = "weight", type = "integer", min = 1, max = 65535, default = 1, doc = "Its share with weighted, least_loaded and hash." },
      { name = "name", type = "string", doc = "What logs, events and policies call it; its peer's address unless given." },
    },
  }
end

local function discover(d)
  return {
    name = "discover", type = "table", doc = "Links that DNS names, looked up again at their TTL; they join those in links.",
    check = function(out, raw, mistake)
      if out.type == "SRV" and raw.port ~= nil then mistake("port", "SRV records say it themselves", "leave it out") end
      if (out.type == "A" or out.type == "AAAA") and out.port == nil then mistake("port", "missing; expected the peers' port") end
    end,
    keys = {
      { name = "name", type = "string", required = true, doc = 'The name, such as "_kt._udp.example.net".' },
      { name = "type", type = "enum", values = { "SRV", "A", "AAAA" }, default = "SRV",
        doc = "What to ask for. SRV priorities are kept to: a link serves only while none of a better one is up." },
      { name = "port", type = "integer", min = 1, max = 65535, doc = "The peers' port, with A and AAAA." },
      { name = "servers", type = "list", of = { type = "name_server", required = true, expected = "a name server's IP address" },
        doc = "Whom to ask, as for kt.resolve; the system's name servers unless given." },
      { name = "timeout", type = "duration", default = 5, doc = "How long a lookup may take." },
      { name = "link", type = "table", required = true, keys = d.keys, check = d.check, as = "kt.link",
        doc = "Settings of these links, as for kt.link, without remote." },
    },
  }
end

--- No link and no name twice.
local function once(list, mistake)
  local link_at, name_at = {}, {}
  for i, entry in ipairs(list) do
    local known = not schema.unknown(entry) -- in kt check
    local link, name = known and entry.link or nil, known and entry.name or nil
    if link ~= nil and link_at[link] then
      mistake(("links[%d]"):format(i), ("the same link as links[%d]"):format(link_at[link]), "to let it count more, give it a weight")
    end
    if name ~= nil and name_at[name] then
      mistake(("links[%d].name"):format(i), ("links[%d] has that name already"):format(name_at[name]))
    end
    if link ~= nil then link_at[link] = link_at[link] or i end
    if name ~= nil then name_at[name] = name_at[name] or i end
  end
end

local function rules(out, raw, mistake)
  if raw.links == nil and raw.discover == nil then mistake("links", "missing; expected links = { … }, or discover = { … }") end
  if out.links then once(out.links, mistake) end
  if out.hold and out.hold > 0 and type(out.policy) == "string" and not policies.steady[out.policy] then
    mistake("hold", ('"%s" spreads streams over all links, there is none to hold on to'):format(out.policy), "leave it out")
  end
  if out.key and out.policy ~= "hash" and type(out.policy) ~= "function" then
    mistake("key", ('policy = "%s" does not ask for it'):format(out.policy), 'give policy = "hash", or leave it out')
  end
end

return function(with)
  local def, handle, method, record = with.def, with.handle, with.method, with.record
  local discovered = { keys = with.concat(wire.keys(true), wire.link_only), check = wire.rules }

  def {
    name = "kt.pool", context = "any", returns = "pool", path = "pool",
    signature = "kt.pool { links = { … }, policy = …, … } → pool",
    doc = "A pool: several links behind one open. Each is checked all the time; new streams go to those that are up, as the policy "
      .. "says. Streams stay on the link on which they were opened.",
    argument = {
      type = "table", check = rules,
      keys = {
        { name = "name", type = "string", default = "pool", doc = "What the log calls it." },
        { name = "links", type = "list", of = member(), doc = "The links, best first: each a link, or { link = …, weight = 2, name = \"spare\" }." },
        { name = "policy", type = "enum", values = policies.names, fn = true, default = "first",
          doc = "Which link a stream goes to. first: the first that is up. round_robin: each in turn. least_loaded: where the fewest streams "
            .. "are, by weight. lowest_rtt: the quickest; another one has to be quicker by a tenth. weighted: in turn, by weight. hash: by "
            .. "the request's key; a link that goes away takes only its own keys along. Or a function: policy(up, request) → index into "
            .. "up, whose elements are facts; request is { client, key }. It cannot wait; if it raises or returns anything else, the first "
            .. "link serves and the log says so." },
        { name = "hold", type = "duration",
          doc = "New streams stay with a link for at least so long, and go over to another only if that has been up for so long; at once when "
            .. "theirs is down. Default: 10 s with first and lowest_rtt; a function that prefers one link for all streams wants it too; "
            .. "not with those that spread." },
        { name = "key", type = "function",
          doc = "key({ client }) → string: what hash, or a function, goes by; the client's host unless given." },
        { name = "retries", type = "integer", min = 0, max = 16, default = 2,
          doc = "Other links that are tried, as the policy says, when one fails to open a stream." },
        { name = "check", type = "table", default = {}, off = true,
          doc = "How links are checked; false: not at all, all count as up.",
          keys = {
            { name = "every", type = "duration", min = 0.05, max = 3600, default = 1, doc = "Time between checks, give or take a tenth." },
            { name = "timeout", type = "duration", min = 0.01, max = 60, default = 0.8, doc = "A check that takes longer has failed." },
            { name = "fall", type = "integer", min = 1, max = 100, default = 3, doc = "So many failures in a row: it is down." },
            { name = "rise", type = "integer", min = 1, max = 100, default = 2,
              doc = "So many successes in a row: it is up again. A link that was never up yet needs one." },
            { name = "with", type = "function",
              doc = "A check of the script's own, with(link) → true, or a round-trip time in seconds, or nil and why not; a task, which may "
                .. "open a stream and ask something. Unless given: link:probe." },
          } },
        { name = "migrate", type = "enum", values = { "new-only" }, default = "new-only",
          doc = "What moves to another link: new streams only. kcptun's wire can move no others." },
        discover(discovered),
      },
    },
    example = [[
local pool = kt.pool {
  links  = { near, far, { link = spare, name = "spare" } },
  check  = { every = "1s", timeout = "800ms", fall = 3, rise = 2 },
  hold   = "10s",
  policy = function(up)                    -- pure: returns an index
    local best, cost
    for i, l in ipairs(up) do
      local c = l.srtt * (1 + 20 * l.loss)
      if not cost or c < cost then best, cost = i, c end
    end
    return best
  end,
}]],
  }

  handle { name = "pool", doc = "Several links behind one open, as kt.pool made it. Shared by all tasks." }
  method("pool", {
    name = "open", context = "task", returns = "stream | nil, err",
    signature = 'open { timeout = "5s", client = conn.peer } → stream | nil, err',
    doc = "Opens a stream on the link that the policy chooses; if that fails, on others (retries), each in its share of the time. With all "
      .. "links down it tries the one that was well most recently. A pool that discovers its links waits for the first one.",
    fails = { "timeout", "closed", "dead", "limit", "unreachable" },
    optional = true,
    argument = {
      type = "table",
      keys = {
        { name = "timeout", type = "duration", default = 10, doc = "How long it may take, all attempts together." },
        { name = "client", type = "string", doc = "On whose behalf; for the log, the policy and the key." },
        { name = "key", type = "string", doc = "What the policy hash goes by." },
        { name = "priority", type = "integer", min = 0, max = 7, doc = "As for link:open." },
        { name = "weight", type = "integer", min = 1, max = 256, doc = "As for link:open." },
      },
    },
  })
  method("pool", {
    name = "add", context = "any", argument = member(),
    signature = "add(link | { link = …, weight = …, name = … })",
    doc = "Takes a link in, behind the others. It gets streams once a check has succeeded; with hold, once it was up for so long.",
  })
  method("pool", {
    name = "remove", context = "any", returns = "boolean", signature = "remove(link | name) → whether it was there",
    doc = "Takes a link out. Its streams go on, and the link stays open.",
    params = { { name = "what", type = "link | string", doc = "The link, or its name in the pool." } },
  })
  method("pool", {
    name = "links", context = "any", returns = "facts[]", signature = "links() → { facts, … }",
    doc = "The facts of each link as they are now, in order, the best first. Those that a policy gets may be 0.1 s old.",
  })
  method("pool", {
    name = "stats", context = "any", returns = "tally", signature = "stats() → tally", doc = "What the pool has done so far.",
  })
  method("pool", {
    name = "on", context = "any", signature = 'on("switch" | "up" | "down", function(event) … end)',
    doc = "Calls a function, as a task, when new streams go to another link, { from, to, reason }, or a link went up or down, "
      .. "{ name, link, reason }. May be called more than once.",
    params = {
      { name = "event", type = '"switch" | "up" | "down"', doc = "What to be told of." },
      { name = "handler", type = "fun(event: table)", doc = "Called with what has happened." },
    },
  })
  method("pool", {
    name = "close", context = "any", signature = "close()",
    doc = "Ends the checks; whoever waits in open gets an err \"closed\". Links and streams go on. Closing twice is harmless.",
  })

  record {
    name = "facts", doc = "What a pool knows of a link: what a policy gets of each that is up, and pool:links() returns of all.",
    fields = {
      { name = "name", type = "string", doc = "The link's name in the pool." },
      { name = "weight", type = "integer", doc = "As given; of SRV records theirs." },
      { name = "srtt", type = "number", doc = "Smoothed round-trip time, in seconds, check.with's if it measures; math.huge: not known yet." },
      { name = "rttvar", type = "number", doc = "Its variation, in seconds." },
      { name = "loss", type = "number", doc = "Share of packets lost, 0 to 1." },
      { name = "streams", type = "integer", doc = "Streams that are open." },
      { name = "rate_in", type = "number", doc = "Bytes a second received." },
      { name = "rate_out", type = "number", doc = "Bytes a second sent." },
      { name = "since", type = "number", doc = "Seconds since it went up, or down." },
      { name = "link", type = "link", doc = "The link. From here on in pool:links() only." },
      { name = "up", type = "boolean", doc = "Whether it is up." },
      { name = "proven", type = "boolean", doc = "Whether a check has succeeded yet." },
      { name = "error", type = "string | nil", doc = "Why its last check failed, if it did." },
    },
  }
  record {
    name = "tally", doc = "The figures of a pool.",
    fields = {
      { name = "links", type = "integer", doc = "Links in it." },
      { name = "up", type = "integer", doc = "... that are up." },
      { name = "current", type = "string | nil", doc = "The link that new streams go to, if the policy prefers one." },
      { name = "opened", type = "integer", doc = "Streams opened." },
      { name = "failed", type = "integer", doc = "Opens that failed for good." },
      { name = "failed_attempts", type = "integer", doc = "Attempts at a link that failed." },
      { name = "switches", type = "integer", doc = "How often new streams went over to another link." },
    },
  }
end
