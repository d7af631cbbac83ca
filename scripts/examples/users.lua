-- Several users on one server, each with a key, targets and a rate of their own.
--     kt run users.lua                                    -- far
--     kt run users.lua near --to db.example:5432          -- near: one user
-- `kt keygen --pair alice` makes alice.key, which the user keeps as own.key, and alice.pub, whose text the server has in users.json:
--     { "alice": { "key": "D6poTtKIZ7l/…", "rate": "5Mbit", "targets": ["db.example:5432"] } }
-- The server's own pair is server.key and server.pub; users have both server.pub and own.key beside this script. A change of users.json
-- applies at once, without a reload: to new streams, and the rate also to open ones.
local kt = require "kt"

local ends = {}

function ends.near(to)
  local far = kt.link {
    remote = "vps.example:29900", private_key = kt.secret_file "own.key", server_key = assert(kt.file "server.pub"),
  }
  kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
    local stream, err = far:open { timeout = "5s", to = to, client = conn.peer }
    if not stream then return conn:reset(err) end
    kt.splice(conn, stream, { idle = "10m" })
  end)
end

function ends.far()
  local users, names = {}, {} -- by name; names by key

  local function read(text, err)
    if not text then return kt.log.warn("users.json: %s; the users stay as they are", err) end
    local new, by_key = {}, {}
    for name, user in pairs(assert(kt.json.decode(text))) do
      local function need(ok, what) return ok or error(("users.json: %s: expected %s"):format(name, what), 0) end
      need(type(user) == "table" and type(user.key) == "string" and #user.key == 44, "a key, the text of a .pub file")
      need(not by_key[user.key], "a key of its own")
      need(type(user.targets) == "table", "a list of targets")
      new[name], by_key[user.key] = { rate = need(kt.rate(user.rate or 0), 'a rate such as "5Mbit"'), may = {} }, name
      for _, target in ipairs(user.targets) do new[name].may[target] = true end
    end
    for name, user in pairs(new) do -- the file has no mistake: apply it
      user.limit = users[name] and users[name].limit or kt.limit { rate = 0 }
      user.limit:set { rate = user.rate }
    end
    users, names = new, by_key
  end
  read(assert(kt.file "users.json"))
  kt.watch("users.json", read) -- a mistake in the file is logged, and changes nothing

  kt.accept {
    on = ":29900", private_key = kt.secret_file "server.key", authorized = function(key) return names[key] or false end,
  }:serve(function(stream)
    local user = users[stream.identity]
    if not user or not user.may[stream.target] then return stream:reset "denied" end
    local conn, err = kt.connect { to = stream.target, timeout = "5s" }
    if not conn then return stream:reset(err) end
    kt.splice(stream, conn, { limit = user.limit })
  end)
end

local args = kt.args { { name = "end", default = "far", help = "near or far" }, to = { type = "string", help = "the target that near asks for" } }
ends[args[1]](args.to)
