-- Mistakes in tasks that kt check finds by following handles, records and functions through a script. Each case is a line of a script.
local h = require "harness"
local kt = require "harness.scripts".kt

local HEAD = [[local kt = require "kt"; local far, near = kt.link { remote = "a:1", key = "k" }, kt.link { remote = "b:1", key = "k" }; local pool = ]]
  .. "kt.pool { links = { far } }\n"

-- A list of { group, { code of a task, what is found without place and column, or nothing } … }. `conn` is what a listener gives.
local CASES = {
  { "fields of records and errs",
    { "print(far:stats().rtt)", "stats.rtt: no such field; did you mean stats.srtt?" },
    { "local s = far:stats() print(s.rtt)", "stats.rtt: no such field; did you mean stats.srtt?" },
    { "print(far:stats()['rtt'])", "stats.rtt: no such field; did you mean stats.srtt?" },
    { "local s = far:stats() s.own = 1 print(s.own, s.srtt)" },
    { "local s, err = far:open() if not s then print(err.cod) end", "err.cod: no such field; did you mean err.code?" },
    { "local s, err = far:open() if not s then print(err.message) end", "err.message: no such field; expected one of code, text" },
    { "local s, err = far:open() if not s then print(err:code()) end", "err.code: not a method; it is a field; read it without a call" },
    { "print(conn.pear)", "conn.pear: no such field; did you mean conn.peer?" },
    { "print(conn:stats().bytesin)", "connstats.bytesin: no such field; did you mean connstats.bytes_in?" },
    { "for _, f in ipairs(pool:links()) do print(f.nme) end", "facts.nme: no such field; did you mean facts.name?" },
    { "print(pool:links()[1].link.remot)", "link.remot: no such field; did you mean link.remote?" },
    { "print(pool:links().name)", "name: a field of a list; write [1].name, or loop over the list with ipairs" },
    { "local r = kt.resolve { name = 'a' } for _, one in ipairs(r or {}) do print(one.addr) end",
      "record.addr: no such field; expected one of address, port, priority, target, ttl, weight" },
    { "pool:on('switch', function(e) print(e.form) end)", "switched.form: no such field; did you mean switched.from?" },
    { "pool:on('up', function(e) print(e.from, e.link:stats().up) end)", "changed.from: no such field; expected one of link, name, reason" },
    { "far:on('down', function(s, err) print(s.srt, err.text) end)", "stats.srt: no such field; did you mean stats.srtt?" },
    { "far:on('flow', function(f) print(f.peer, f:stats().sent) end)" },
    { "kt.pool { links = { far }, policy = function(up, r) print(r.clint) return up[1].srtt end }",
      "poolrequest.clint: no such field; did you mean poolrequest.client?" },
    { "kt.http.serve { on = ':9', routes = { ['GET /'] = function(req, res) print(req.pth) return res:wite('x') end } }",
      "request.pth: no such field; did you mean request.path?\nresponse.wite: no such field; did you mean response.write?" },
    { "kt.log.info('%s', kt.inspect().task)", "inspection.task: no such field; did you mean inspection.tasks?" },
  },
  { "methods and fields taken for each other",
    { "print(far.stats.srtt)", "link:stats: a method used as a field; call it: link:stats().srtt" },
    { "if far.stats == 1 then return end", "link:stats: a method that is compared without a call; write link:stats()" },
    { "if kt.now > 5 then return end", "kt.now: a function used with >; call it: kt.now() → seconds" },
    { "print(kt.inspect.tasks)", "kt.inspect: a function used as a table; call it: kt.inspect { max = 1000 } → inspection" },
    { "print(conn.peer())", "conn.peer: not a method; it is a field; read it without a call" },
    { "print(conn.peer.host, conn.peer.len)", "host: a field of a string; a string has none" },
    { "print(far:stats().srtt.ms)", "ms: a field of a number; a number has none" },
    { "local n = 5 n() local f = function() end f.x = 1",
      "n: an integer called as a function; read it without a call\nx: a field of a function; a function has none" },
    { "pool:on('up', print):on('down', print)", "pool:on: returns nothing; call the next method in a statement of its own" },
    { "local function any(x) return x end print(any(conn).x, any(5).y, ('x').len)" },
    { "print(far:stats().srtt())", "stats.srtt: not a method; it is a field; read it without a call" },
    { "conn.close()", "conn:close: called with a dot; write it with a colon" },
    { "local close = conn.close close(conn) print(far.stats) kt.spawn(far.open, far)" },
    { "kt.after('5s', conn.close)", "conn:close: given to kt.after without its conn; write function() conn:close() end" },
    { "kt.spawn(far.open) pcall(conn.close)", "link:open: given to kt.spawn without its link; write kt.spawn(…, link)\n"
      .. "conn:close: given to pcall without its conn; write pcall(…, conn)" },
    { "kt.log('hello')", "kt.log: a table called as a function; it has one of debug, error, info, warn" },
    { "local close = conn.close close()", "conn:close: called with a dot; write it with a colon" },
  },
  { "comparisons that are never true",
    { "local s, err = far:open() if err == 'timeout' then print(s) end",
      'err: an err is never equal to "timeout"; compare err.code: err.code == "timeout"' },
    { "if kt.secret 'x' == 'a' then return end", 'secret: a secret is never equal to "a"; use kt.crypto.equal(secret, ...)' },
    { "if 'x' ~= conn then return end", 'conn: a conn is never equal to "x"; compare one of its fields' },
    { "local secret = kt.secret 'x' if conn:read(5) == secret then return end",
      "secret: a secret is never equal to a string; use kt.crypto.equal(secret, ...)" },
    { "local tag = kt.crypto.hmac('sha256', 'k', 'x') if tag == ... then return end",
      "hint: kt.crypto.hmac: compared in a time that tells where the two differ; write kt.crypto.equal(a, b)" },
    { "local r = kt.http.request { url = 'http://a/' } if r and r.status == '200' then return end",
      "==: an integer is never equal to a string; convert one of them, or compare with another value" },
    { "if far:stats().srtt > '1s' then return end",
      ">: a number compared with a string; kt.duration and kt.size read text with a unit, and tonumber reads a number" },
    { "if type(far) == 'link' then return end", 'type: is never "link"; expected one of nil, number, string, boolean, table, function, thread, userdata' },
    { "local seen, s, err = {}, far:open() if seen[err] then print(s) end", "err: used as a key, and each failure makes another; write err.code" },
    { "local on = ... and 5 if on == false then print(on) end local c = ... and conn if c ~= false then print(c) end" },
    { "if type(far) == 'userdata' and math.type(1) == 'integer' and far ~= ... and (...) ~= far then print(kt.secret 'x' ~= nil) end" },
    { "local s, err = far:open() if err.code == 'timout' then print(s) end", 'err.code: is never "timout"; did you mean "timeout"?' },
    { "local s, err = far:open() local code = err.code if code ~= 'gone' then print(s) end",
      'err.code: is never "gone"; kt help err lists the codes' },
    { "local s, err = far:open() if err.code == 'quota' or err.code == 'eof' then print(s) end" },
    { "conn:reset(kt.err { code = 'quota', message = 'used' })" },
    { "local t = kt.spawn(print) if t.state == 'done' then return end",
      'task.state: is never "done"; expected one of "running", "returned", "failed", "canceled"' },
    { "local sum = kt.splice(conn, conn) if sum and sum.reason == 'edn' then return end", 'summary.reason: is never "edn"; did you mean "end"?' },
    { "local sum = kt.splice(conn, conn) if sum and (sum.reason == 'end' or sum.reason == 'idle') then return end" },
  },
  { "handles used as values",
    { "print('x' .. conn)", "conn: a conn used with ..; write conn.peer" },
    { "print(far .. 'x')", "link: a link used with ..; use one of its fields or methods" },
    { "print(#conn)", "conn: a conn used with #; use one of its fields or methods" },
    { "print(far:stats() .. 'x')", "stats: a stats table used with ..; use one of its fields or methods" },
    { "print('up: ' .. far:stats().up)", "up: a boolean used with ..; write tostring(…)" },
    { "print(#pool:links(), 'a' .. 1 .. far:stats().srtt, '5' + 1, far:stats().srtt < 1, -far:stats().srtt, {} .. 'x')" },
    { "print(conn + 1)", "conn: a conn used with +; use one of its fields or methods" },
    { "('x')()", "(…): a string called as a function; read it without a call" },
    { "conn()", "conn: called as a function; call one of its methods" },
    { "print(kt.secret 'a' .. 'x')", "secret: a secret used with ..; secret:export() gives its bytes" },
    { "local a, b = kt.secret 'a', kt.secret 'b' if a == b then return end",
      "secret: two secrets are equal only if they are the same handle; write kt.crypto.equal(a, b)" },
    { "local s, err = far:open() if not s then print('failed: ' .. err) end if conn == s then return end print(#conn.peer)" },
  },
  { "numbers that are meant as milliseconds",
    { "conn:read { timeout = 3000 }", 'conn:read.timeout: 3000 is in seconds; write "3s" if it is in milliseconds, else "50m"' },
    { "local s = far:open { timeout = 1500 } print(s)", 'link:open.timeout: 1500 is in seconds; write "1500ms" if it is in milliseconds, else "25m"' },
    { "kt.sleep(5000)", 'kt.sleep: 5000 is in seconds; write "5s" if it is in milliseconds, else "5000s"' },
    { "kt.after('soon', print)", 'kt.after: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got "soon"' },
    { "kt.every(1000, print)", 'kt.every: 1000 is in seconds; write "1s" if it is in milliseconds, else "1000s"' },
    { "kt.pool { links = { far }, check = { timeout = 800 } }", "pool.check.timeout: expected 10ms to 1m, got 800" },
    { "kt.event():wait { timeout = 3000 }", 'event:wait.timeout: 3000 is in seconds; write "3s" if it is in milliseconds, else "50m"' },
    { "conn:set { idle = 600000 }", 'conn:set.idle: 600000 is in seconds; write "10m" if it is in milliseconds, else "10000m"' },
    { "conn:set { total = 3600000 }", 'conn:set.total: 3600000 is in seconds; write "1h" if it is in milliseconds, else "1000h"' },
    { "conn:set { user_timeout = 60000 }", 'conn:set.user_timeout: 60000 is in seconds; write "1m" if it is in milliseconds, else "1000m"' },
    { "kt.splice(conn, conn, { total = 600000 })", 'kt.splice.total: 600000 is in seconds; write "10m" if it is in milliseconds, else "10000m"' },
    { "conn:set { idle = 43200, total = 604800 } kt.splice(conn, conn, { idle = 7200, total = 12600 }) kt.after(9000, print)" },
    { "conn:set { idle = 600, total = 86400 } kt.sleep(1800) kt.sleep(3600) kt.sleep(90) kt.reload" },
    { "conn:read { timeout = 300 } conn:read { timeout = '3000s' } kt.sleep(0.5)" },
    { "local MS = 5 * 1000 kt.sleep(MS)", 'kt.sleep: 5000 is in seconds; write "5s" if it is in milliseconds, else "5000s"' },
    { "kt.every(0, print)", "kt.every: expected at least 1ms, got 0" },
    { "local HOUR <const> = 3600 conn:set { idle = HOUR, total = 24 * HOUR } kt.sleep(250 / 1000)" },
  },
  { "constants that cannot be right",
    { "local n = 2^33 print(kt.kcp { conv = n, output = print })", "kcp.conv: expected 0 to 4294967295, got 8589934592.0" },
    { "conn:read(2 * 1024 * 1024)", "conn:read: argument 1: expected an integer (1 to 1048576), got 2097152" },
    { "kt.http.request { url = 'https://a/' }", "kt.http.request.url: https is not supported, as kt has no TLS; "
      .. "send http to a program on this machine that adds TLS, such as stunnel" },
    { "kt.http.request { url = 'a.example' }", "kt.http.request.url: malformed URL" },
    { "local HOST = 'db' local c = kt.connect { to = HOST .. '.example' } print(c)", 'kt.connect.to: "db.example": missing port; write host:port' },
    { "local options = { tmeout = 5 } conn:read(options)", "conn:read.tmeout: unknown key; did you mean timeout?" },
    { "local options = { tmeout = 5 } options.tmeout = nil conn:read(options)" },
    { "local big = 1 big = 2^33 print(kt.kcp { conv = big, output = print }) kt.http.request { url = 'http://a' .. conn.peer }" },
    { "local a = 1 // 0 local b = {} + 1 local c = ('x'):rep(3) .. nil print(a, b, c, -'x')" },
  },
  { "arguments of the wrong type, also in tables",
    { "local s = kt.first(function() return 1 end) print(s)", "kt.first: argument 1: expected a task, got a function; start it: kt.spawn(fn)" },
    { "print(kt.first { timeout = 5 })", "kt.first: argument 1: expected a task, got no value" },
    { "print(kt.first(kt.spawn(print), { timout = 5 }))", "kt.first.timout: unknown key; did you mean timeout?" },
    { "print(kt.first(...), kt.first(kt.spawn(print), ...), kt.first(kt.spawn(print), { timeout = '5s' }))" },
    { "print(kt.connect { to = conn.peer, timeout = conn })", 'kt.connect.timeout: expected a duration such as "5s", "800ms", "10m", "1h30m", '
      .. "or a number of seconds, got a conn" },
    { "kt.pool { links = { far, conn } }", "pool.links[2]: expected a link or a table, got a conn" },
    { "local function work() end kt.spawn(work())", "kt.spawn: argument 1: expected a function, got no value; give the function itself, without ()" },
    { "local function tap() end kt.splice(conn, conn, { tap = tap() })",
      "kt.splice.tap: expected a function, got no value; give the function itself, without ()" },
    { "conn:close('why') kt.every('1s', print, 5)", "conn:close: takes no argument, got 1; leave out what it does not use\n"
      .. "kt.every: takes 2 arguments, got 3; leave out what it does not use" },
    { "print(conn:read { timeout = 5, timeout = 6 })", "timeout: given twice in one table, and the last one counts; leave out one" },
    { "local function make() return print end kt.every('1s', make()) kt.spawn(make(), 1) kt.after(1, make(), ...) kt.pool { links = { { link = far }, "
      .. "near } }" },
  },
  { "what functions return to the API",
    { "kt.http.serve { on = ':9', routes = { ['GET /'] = function() return true end } }",
      "kt.http.serve: the function returns a boolean; expected a string, an integer or a table" },
    { "kt.http.serve { on = ':9', routes = { ['GET /'] = function() return far:stats() end } }",
      "kt.http.serve: the function returns a stats table; write return { json = … }" },
    { "kt.http.serve { on = ':9', routes = { ['GET /'] = function() return { status = 200, bdy = 'x' } end } }",
      "kt.http.serve: the function returns a table with bdy: unknown key; did you mean body?" },
    { "local routes = {} routes['GET /'] = function(r) print(r.pth) return 'x', 200 end kt.http.serve { on = ':9', routes = routes }",
      "request.pth: no such field; did you mean request.path?\nkt.http.serve: the function returns an integer; expected a string, a table or an err" },
    { "kt.pool { links = { far }, policy = function(up) return up[1] end }", "kt.pool: a policy returns a facts table; expected an integer" },
    { "kt.pool { links = { far }, policy = function(up) print(up) end }", "kt.pool: a policy returns nothing; expected an integer" },
    { "local r = {} r['GET /'] = function() end r['GET /a'] = function() return nil, 'x' end r['GET /b'] = function(q) return q.body or 404 end "
      .. "r['GET /c'] = function() return 200, { json = { 1 } } end r['GET /d'] = function(_, s) s:write 'x' end kt.http.serve { on = ':9', routes = r }" },
    { "kt.pool { links = { far }, key = function(r) return r.client or 1 end, policy = function(up) for i, l in ipairs(up) do if l.loss < 0.1 then "
      .. "return i end end end, check = { with = function(l) local s, err = l:open() if not s then return nil, err end s:close() return true end } }" },
  },
  { "parameters that the API never gives",
    { "kt.every('5s', function(timer) timer:cancel() end)",
      "kt.every: the function gets no argument: timer is always nil; use a variable from outside of the function" },
    { "far:on('up', function(s, err, x) print(s, err, x) end)",
      "link:on: the function gets 2 arguments: x is always nil; use a variable from outside of the function" },
    { "far:on(..., function(s, err, x) print(s, err, x) end) kt.after(1, function(_) end) kt.spawn(function(a, b) print(a, b) end, ...)" },
  },
  { "loops over values that cannot be iterated",
    { "for k, v in far:stats() do print(k, v) end", "for: a stats table cannot be iterated directly; write pairs(…)" },
    { "for _, l in pool:links() do print(l) end", "for: a list cannot be iterated directly; write ipairs(…)" },
    { "for _, l in ipairs(pool) do print(l) end", "for: a pool cannot be iterated directly; use one of its methods or fields" },
    { "local u = assert(kt.udp { to = 'a:1' }) for d in u:receive() do print(d) end",
      "for: a string cannot be iterated directly; write a loop with while, and call it in each step" },
    { "local known = { conns = {} } known.conns[conn] = true for c in pairs(known.conns) do c:set { idle = '1m' } end "
      .. "for k in pairs { far } do print(k.x) end" },
    { "for k in pairs(far:stats()) do print(k) end for k in next, far:stats() do print(k) end for c in function() return (kt.queue():pop()) end do "
      .. "print(c) end" },
  },
  { "globals that tasks set behind the back",
    { "_G.shared_a = 1", "global 'shared_a' is shared by all connections; write: local shared_a" },
    { "local g = _G g.shared_b = 1", "global 'shared_b' is shared by all connections; write: local shared_b" },
    { "rawset(_G, 'shared_c', 1)", "global 'shared_c' is shared by all connections; write: local shared_c" },
    { "local t = {} rawset(t, 'shared_d', 1) t.shared_e = 1" },
  },
  { "fields that Lua's libraries do not have",
    { "print(string.uper('x'))", "string.uper: no such function; did you mean string.upper?" },
    { "table.inser({}, 1)", "table.inser: no such function; did you mean table.insert?" },
    { "local n = math.flor(1.5) print(n)", "math.flor: no such function; did you mean math.floor?" },
    { "print(('x'):uper(), conn.peer:lwer())", "string.uper: no such function; did you mean string.upper?\n"
      .. "string.lwer: no such function; did you mean string.lower?" },
    { "print(math.pow and math.pow(2, 3)) if table.getn then print(table.getn {}) end local unpk = table.unpk or table.unpack print(unpk {})" },
    { "function string.trim(s) return s end print(string.trim('x'), ('x'):trim())" },
    { "print(kt.crypto.hash('sha256', kt.secret 'x'):export())" },
    { "local string = { uper = print } string.uper('x')" },
  },
  { "format strings",
    { "kt.log.info('%s %s', 1)", "kt.log.info: the format takes 2 values, got 1; add what is missing, or write %% for a percent sign" },
    { "kt.log.info('%s', 1, 2)", "kt.log.info: the format takes 1 value, got 2; add a conversion such as %s" },
    { "kt.log.info('%s', far:stats())", "kt.log.info: argument 2 is a stats table, whose text is an address; give one of its fields, or kt.json.encode(…)" },
    { "kt.log.warn('%d', conn)", "kt.log.warn: %d does not fit argument 2, a conn; write %s" },
    { "kt.log.info('%d ms', far:stats().srtt * 1000)", "kt.log.info: %d does not fit argument 2, which may have a fraction; write %.0f" },
    { "print(('%d'):format('x'))", 'string.format: %d does not fit argument 2, "x"; write %s' },
    { "print(string.format('%y', 1))", 'string.format: "%y" is not a conversion; write %% for a percent sign' },
    { "print(string.format('50% of %s', 1))", 'string.format: "% o" is not a conversion; write %% for a percent sign' },
    { "kt.log.info('50%') kt.log.info('%d%% of %5.1f, %s', far:stats().streams, far:stats().srtt, conn)" },
    { "local function many() return 1, 2 end kt.log.info('%s %s', many()) kt.log.info('%s %d', ...)" },
    { "local log, name = kt.log.info, conn.peer log('%s %d', name)",
      "kt.log.info: the format takes 2 values, got 1; add what is missing, or write %% for a percent sign" },
  },
  { "handles through variables, tables and functions",
    { "local c = conn c:clsoe()", "conn.clsoe: no such field; did you mean conn.close?" },
    { "local c = conn if far then c = conn end c:clsoe()", "conn.clsoe: no such field; did you mean conn.close?" },
    { "local c = conn c = ... c:clsoe()" },
    { "local state = { link = far } print(state.link:opn())", "link.opn: no such field; did you mean link.open?" },
    { "local state = {} state.up = far print(state.up.opn)", "link.opn: no such field; did you mean link.open?" },
    { "local state = { other = far } state[...] = 1 print(state.other.opn)" },
    { "local function dial() local s, err = far:open() if not s then return nil, err end return s end local s = dial() s:wite('x')",
      "stream.wite: no such field; did you mean stream.write?" },
    { "local both = { far, near } for i = 1, #both do both[i]:opn() end", "link.opn: no such field; did you mean link.open?" },
    { "local X = require 'kt', 1 X.slep(1) local sleep = X.sleep sleep 'soon'", "kt.slep: no such function; did you mean kt.sleep?\n"
      .. 'kt.sleep: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got "soon"' },
    { "local kt2, listen = require 'kt' listen = kt2.listen listen { on = ':1' }:serve(function(c) c:raed() end)",
      "conn.raed: no such field; did you mean conn.read?" },
    { "local require = require require 'kt'.slep(1)", "kt.slep: no such function; did you mean kt.sleep?" },
    { "local config = { timeout = 5 } kt.sleep(config.timout)", "timout: the table has no such key; did you mean timeout?" },
    { "local config = setmetatable({ retry = 5 }, {}) print(config.retri) local open = { retry = 1 } print(open, open.retri)" },
    { "print(require 'silent'.dial, require 'lib'.dial)", "dial: silent.lua returns nothing; end it with return, and the table of what it offers" },
    { "local function copy(a, b) a:raed() kt.splice(a, b) end copy(conn, assert(far:open()))", "conn.raed: no such field; did you mean conn.read?" },
    { "local function any(a) a:raed() end any(conn) any(...)" },
    { "local function either(a) print(a.pear, a.target) end either(conn) either(assert(far:open()))",
      "conn.pear: no such field; did you mean conn.peer?" },
    { "local c = ... or conn c:raed() local d = far and conn d:raed()", "conn.raed: no such field; did you mean conn.read?" },
    { "kt.spawn(function(c) c:raed() end, conn)", "conn.raed: no such field; did you mean conn.read?" },
    { "local M = {} M.h = function(c) c:raed() end kt.spawn(M.h, conn)", "conn.raed: no such field; did you mean conn.read?" },
    { "local M = { h = function(c) c:raed() end } M.h(conn)", "conn.raed: no such field; did you mean conn.read?" },
    { "local M = { h = function(c) c:raed() end } M.h(conn) print(M)" },
    { "local M = {} function M.h(c) c:raed() end M[conn.peer](conn) M.h(conn)" },
    { "kt.spawn(function(...) local c = ... c:raed() end, conn)", "conn.raed: no such field; did you mean conn.read?" },
    { "local function f(_, ...) local c, n = ... c:raed() n:x() end f(1, conn, ...)", "conn.raed: no such field; did you mean conn.read?" },
    { "pcall(function(c) c:raed() end, conn)", "conn.raed: no such field; did you mean conn.read?" },
    { "for _, l in ipairs { far, far } do l:opn() end", "link.opn: no such field; did you mean link.open?" },
    { "local log = kt.log log.inof('x')", "kt.log.inof: no such function; did you mean kt.log.info?" },
    { "local k = require 'kt' k.slep(1)", "kt.slep: no such function; did you mean kt.sleep?" },
    { "local lib = require 'lib' lib.dial():wite('x')", "stream.wite: no such field; did you mean stream.write?" },
    { "local function self_made(n) return self_made(n) end print(self_made(1).x)" },
    { "local a, b = {}, {} a.next, b.next = b, a print(a.next.next.next.x) a = b b = a print(a.x)" },
    { "conn:write(far:stats().srtt)", "conn:write: argument 1: expected a string, got a number" },
  },
  { "waits where nothing may wait",
    { "kt.pool { links = { far }, policy = function() kt.sleep(1) return 1 end }",
      "kt.sleep: not allowed in a policy, which cannot wait; let a task do it, and keep what it found in a variable" },
    { "local function ask() return far:probe() end kt.pool { links = { far }, policy = function() ask() return 1 end }",
      "link:probe: not allowed in a policy, which cannot wait; let a task do it, and keep what it found in a variable" },
    { "local function cost() return far:probe() end kt.pool { links = { far }, policy = 'hash', key = cost }",
      "link:probe: not allowed in the function that makes a pool's keys, which cannot wait; let a task do it, and keep what it found in a variable" },
    { "table.sort({}, function(a, b) return far:probe() or a < b end)",
      "link:probe: not allowed in a function passed to table.sort, which cannot wait; call it before or after" },
    { "print((('x'):gsub('x', function() kt.sleep(1) end)))",
      "kt.sleep: not allowed in a function passed to string.gsub, which cannot wait; call it before or after" },
    { "print(setmetatable({}, { __tostring = function() kt.sleep(1) return '' end }))",
      "kt.sleep: not allowed in a function called by __tostring, which cannot wait; call it before or after" },
    { "print(setmetatable({}, { __index = function() kt.sleep(1) end }).x)" },
    { "kt.watch('a', function() kt.sleep(1) end) kt.every('1s', function() kt.sleep(1) end) kt.splice(conn, conn, { tap = function() kt.sleep(1) end })" },
    { "kt.pool { links = { far }, check = { with = function(l) return l:probe() end }, policy = function() kt.spawn(function() kt.sleep(1) end) "
      .. "return 1 end }" },
    { "local sorted = { far } table.sort(sorted, function(a, b) return a:probe() < b:probe() end)",
      "link:probe: not allowed in a function passed to table.sort, which cannot wait; call it before or after" },
    { "local cfg = { links = { far } } function cfg.policy() kt.sleep(1) return 1 end kt.pool(cfg)",
      "kt.sleep: not allowed in a policy, which cannot wait; let a task do it, and keep what it found in a variable" },
  },
  { "modules that tasks require",
    { "require 'lib.none'", 'require: no such module: "lib.none"; expected lib/none.lua or lib/none/init.lua beside the script' },
    { "pcall(function() require 'lib.none' end)" },
    { "require 'kt.sim'", 'require: no such module: "kt.sim"; use require "kt"' },
    { "require 'waiting'" },
  },
  { "results used unchecked, as hints",
    { "local s = far:open() s:write('x')", "hint: link:open: the result is nil if it fails, and is used unchecked; write: if not s then … end" },
    { "local s, err = far:open() s:write(tostring(err))",
      "hint: link:open: the result is nil if it fails, and is used unchecked; write: if not s then … end" },
    { "far:open():write('x')",
      "hint: link:open: the result is nil if it fails, and is used unchecked; keep it in a local and check that, or write assert(…)" },
    { "local data = conn:read() print(#data)", "hint: conn:read: the result is nil if it fails, and is used unchecked; write: if not data then … end" },
    { "local s, err = far:open() if not s then conn:reset(err) end kt.splice(conn, s)",
      "hint: link:open: s is nil here if it failed: execution continues after the `if` for that; end its block with return" },
    { "local s, err = far:open() if not s then conn:reset(err) return end kt.splice(conn, s) local t = far:open() if not t then error 'x' end t:close() "
      .. "local u = far:open() if not u then conn:close() elseif far then u:close() end if u then u:close() end" },
    { "for line in kt.file('x'):gmatch '.' do print(line) end",
      "hint: kt.file: the result is nil if it fails, and is used unchecked; keep it in a local and check that, or write assert(…)" },
    { "local j = kt.json.decode(conn.peer) print(j.x)",
      "hint: kt.json.decode: the result is nil if it fails, and is used unchecked; write: if not j then … end" },
    { "kt.splice(conn, far:open())",
      "hint: link:open: the result is nil if it fails, and is used unchecked; keep it in a local and check that, or write assert(…)" },
    { "for _, r in ipairs(kt.resolve { name = 'a' }) do print(r.ttl) end",
      "hint: kt.resolve: the result is nil if it fails, and is used unchecked; keep it in a local and check that, or write assert(…)" },
    { "kt.first(kt.spawn(far.open, far), kt.spawn(function() return far:open() end))",
      "hint: kt.first: the stream that it returns is not used, and stays open until it is collected; write: local stream, err = …" },
    { "local q = kt.queue {} q:push { conn = conn }",
      "hint: queue:push: the conn in the table stays with its task, and closes with it; push the conn itself" },
    { "local t = kt.spawn(function() local s = assert(far:open()) return { stream = s } end) t:wait()",
      "hint: kt.spawn: the stream in the table stays with its task, and closes with it; return the stream itself, before other values" },
    { "local q = kt.queue {} q:push(conn) q:push { link = far, name = 'x' }" },
    { "kt.listen { on = ':5' }", "kt.listen: has no handler; add :serve(function(conn) … end)" },
    { "print(kt.duration '5s' + 1, assert(kt.json.decode(conn.peer)).x, kt.json.decode('{}').x) kt.first(kt.spawn(function() kt.sleep(1) end), "
      .. "kt.spawn(print))" },
    { "local s, err = far:open() if err then return end s:write('x')" },
    { "local s = far:open() if s then s:write('x') end local t = assert(far:open()) t:close() local u = far:open() print(u and u.peer)" },
    { "kt.listen { on = ':1' }:serve(print) kt.link { remote = 'a:1', key = 'k' }:stats()" },
  },
}

describe("kt check finds", function()
  local found, rest, place_of, folder = {}, {}, {}, nil

  setup(function()
    folder = h.temporary_path()
    assert(os.execute(("mkdir '%s'"):format(folder)))
    local texts, n = { { HEAD }, { HEAD } }, 1 -- two scripts, as kt check shows only a hundred findings
    for nth, group in ipairs(CASES) do
      local text = texts[nth % 2 + 1]
      for i = 2, #group do
        n = n + 1
        text[#text + 1] = ("kt.listen { on = ':%d' }:serve(function(conn, ...) %s end)\n"):format(n + 1000, group[i][1]:gsub(" kt.reload$", ""))
        place_of[group[i]] = ("s%d.lua:%d"):format(nth % 2 + 1, #text)
        assert(load(text[#text]:gsub("^", "local kt, far, near, pool "), group[i][1]))
      end
    end
    h.write_file(folder .. "/lib.lua", "local kt = require 'kt'\nlocal far = kt.link { remote = 'b:1', key = 'k' }\n"
      .. "return { dial = function() return assert(far:open()) end }\n")
    h.write_file(folder .. "/silent.lua", "local M = {}\nfunction M.dial() end\n")
    h.write_file(folder .. "/waiting.lua", "local kt = require 'kt'\nkt.sleep(1)\n")
    for i, text in ipairs(texts) do
      h.write_file(("%s/s%d.lua"):format(folder, i), table.concat(text))
      local p = io.popen(("cd '%s' && timeout 60 '%s' check s%d.lua 2>&1"):format(folder, kt, i))
      for line in p:lines() do
        local at, what = line:match "^([%w/]+%.lua:%d+):%d+: (.*)$"
        if not at then rest[#rest + 1] = line else found[at] = found[at] and found[at] .. "\n" .. what or what end
      end
      p:close()
    end
  end)

  teardown(function() os.execute(("rm -r '%s'"):format(folder)) end)

  for _, group in ipairs(CASES) do
    it(group[1], function()
      for i = 2, #group do
        local case = group[i]
        assert.equal(case[2], found[place_of[case]], case[1])
      end
    end)
  end

  it("waits in the main chunk of a module that a task requires", function()
    assert.equal("kt.sleep: not allowed in the main chunk; call it in a function passed to :serve or kt.spawn", found["waiting.lua:2"])
  end)

  it("them without a failure of its own", function()
    assert.equal(2, #rest, table.concat(rest, "\n"))
    for i, line in ipairs(rest) do assert.matches(("^s%d.lua: %%d+ mistakes[%%d, hints]*$"):format(i), line) end
  end)
end)
