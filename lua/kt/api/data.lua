--- Describes files, the environment and JSON, for kt.api.

return function(with)
  local def, handle, method = with.def, with.handle, with.method

  def {
    name = "kt.args", context = "declare", returns = "table", keys_of_argument = true,
    signature = 'kt.args { port = { default = 8388, help = "…" }, { name = "target", required = true } } → values',
    doc = "Parses the script's arguments, those after its name: a flag for each name (--port 9000, --port=9000; _ is -), and an operand for each "
      .. "element of the list, in order. Returns their values by the same keys. An entry is { default, type, required, help, name }; type is string, "
      .. "integer, number, boolean (a flag without a value), duration, size or rate, and otherwise that of the default. --help prints all of them "
      .. "and ends the script; a wrong argument ends it with a message.",
    params = { { name = "arguments", type = "table", doc = "What the script takes." } },
    example = [[
local args = kt.args {
  { name = "server", required = true, help = "the peer, host:port" },
  port = { default = 12948, help = "port to listen on" },
  idle = { type = "duration", default = "10m", help = "end connections after this long without a byte" },
  verbose = { type = "boolean", help = "log each connection" },
}
local far = kt.link { remote = args[1], key = kt.secret_file "psk.key" }]],
  }

  def {
    name = "kt.file", context = "any", returns = "string | nil, err", signature = 'kt.file "deny.txt" → text | nil, err',
    doc = "Reads a file of at most 4 MiB. A relative path starts at the script's folder. The file must be in that folder or in one of "
      .. "kt run --allow-read DIR, wherever `..` or symbolic links lead; else err.code is \"denied\", whether the file exists "
      .. "or not. Nothing else runs meanwhile, so it is for small files on a local disk. For keys use kt.secret_file.",
    fails = { "not_found", "denied", "limit", "invalid", "io" },
    params = { { name = "path", type = "string", doc = "The file's path." } },
    example = [[
local denied = {}
for line in assert(kt.file "deny.txt"):gmatch "[^\n]+" do denied[line] = true end]],
  }

  def {
    name = "kt.watch", context = "any", returns = "watch | nil, err", signature = 'kt.watch("deny.txt", function(text, err) … end) → watch | nil, err',
    doc = "Runs a function as a task when the content of a file has changed, with the new content, or nil and an err once it cannot be read. The file "
      .. "is one that kt.file may read; it need not exist yet, but its folder. Replaced files count as changed, and several changes within 0.1 s as "
      .. "one. A change behind a symbolic link, of the file or of a folder on the way, is seen within about a second, so volumes of Kubernetes work. "
      .. "Watching ends with :close(), or, if it began in the main chunk, when a reload replaces the "
      .. "script; it does not keep the script running.",
    fails = { "denied", "not_found", "invalid" },
    params = {
      { name = "path", type = "string", doc = "The file's path." },
      { name = "fn", type = "fun(text: string | nil, err: err | nil)", doc = "Called with the content, or nil and an err." },
    },
    example = [[
local denied = {}
local function read(text)
  denied = {}
  for line in (text or ""):gmatch "[^\n]+" do denied[line] = true end
end
read(kt.file "deny.txt")
kt.watch("deny.txt", read)]],
  }
  handle { name = "watch", doc = "A file that is watched; made by kt.watch. Without a variable that holds it, the file is watched all the same." }
  method("watch", { name = "close", context = "any", signature = "close()", doc = "Stops watching. Safe to call twice." })

  def {
    name = "kt.append", context = "any", returns = "boolean | nil, err", signature = 'kt.append("access.log", text) → true | nil, err',
    doc = "Appends text to a file, and makes the file, with mode 0600, if there is none. The file must be in a folder of kt run --allow-write DIR; a "
      .. "relative path starts at the script's folder. Never waits: the text is written later, and an error may be that of an earlier call. If the disk "
      .. "stalls, lines that do not fit in a buffer are dropped. The file may be renamed (logrotate). At most 16 files per script.",
    fails = { "denied", "not_found", "limit", "invalid", "io" },
    params = {
      { name = "path", type = "string", doc = "The file's path." },
      { name = "text", type = "string", doc = "The text, usually a line with its newline." },
    },
    example = 'kt.append("/var/log/tunnel/access.log", ("%s %s\\n"):format(conn.peer, stream.link))',
  }

  def {
    name = "kt.json.decode", context = "any", returns = "any | nil, err", signature = "kt.json.decode(text) → value | nil, err",
    doc = "Reads JSON. Arrays have a metatable (see kt.json.array), which kt.keep refuses. "
      .. "Objects and arrays become tables, and null becomes kt.json.null. A whole number below 2^53 becomes an integer, any other a "
      .. "float. Of a name that comes twice, the last value counts. err.code is \"limit\" beyond 4 MiB, 131072 values, or a depth of 100; \"invalid\" "
      .. "if the text is not JSON, not UTF-8, or contains \\u0000.",
    fails = { "invalid", "limit" },
    params = { { name = "text", type = "string", doc = "The JSON text." } },
    example = [[
local rules, err = kt.json.decode(text)
if not rules then return kt.log.warn("rules: %s", err) end
if rules.limit ~= kt.json.null then print(rules.limit) end]],
  }

  def {
    name = "kt.json.encode", context = "any", returns = "string", signature = "kt.json.encode(value) → text",
    doc = "Writes JSON. A table with the keys 1 to n becomes an array, one with strings as keys an object, in the order of the keys; an empty one "
      .. "becomes {}, or [] if it was read as an array or marked by kt.json.array. Bytes that are not UTF-8 become U+FFFD. Raises for what JSON "
      .. "cannot hold: functions, handles, NaN, infinity, tables with both kinds of keys, more than 4 MiB, a depth of more than 100; the message says "
      .. "where. kt.inspect has what pool:links() and the like have, without handles. A zero byte is written as \\u0000, which kt.json.decode refuses.",
    params = { { name = "value", type = "any", doc = "The value." } },
    example = 'conn:write(kt.json.encode { up = true, links = kt.json.array(names) } .. "\\n")',
  }

  def {
    name = "kt.json.array", context = "any", returns = "table", signature = "kt.json.array([list]) → list",
    doc = "Marks a table, or a new one, as an array, so that encode writes [] when it is empty. Sets its metatable.",
    params = { { name = "list", type = "table", optional = true, doc = "The table." } },
  }
end
