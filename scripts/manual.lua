-- Writes the man pages, and the completions for bash, zsh and fish, from what kt itself prints as help: a verb or a flag that exists is in
-- them. cmake/Manual.cmake runs it, and has put the help and the values of flags (kt help --values) into files: a program that this script
-- started could take longer than a slice may.
--     kt run --unsafe --control none scripts/manual.lua VERSION HELP-DIR OUT-DIR
local kt = require "kt"
local version, help_dir, out_dir = ...

--- The output of `kt NAME --help`; "kt": that of `kt help`; "values": that of `kt help --values`.
local function output(name)
  local file = assert(io.open(help_dir .. "/" .. name, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(out_dir .. "/" .. path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

local function lines_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  return lines
end

-- ---- reading help ----

--- The verbs in the list that `kt help` prints: { name, summary }.
local function verbs()
  local list = {}
  for _, line in ipairs(lines_of(output "kt")) do
    local name, summary = line:match "^  (%l%w*)  +(%l.*)$"
    if name then
      list[#list + 1] = { name = name, summary = summary }
    elseif #list > 0 then
      break -- after it comes the list of the script functions
    end
  end
  assert(#list > 5, "kt help lists no verbs")
  return list
end

--- "  -l, --localaddr ADDR   where …" → { names = { "-l", "--localaddr" }, arg = "ADDR", text = "where …" };
--- optional = true if the argument may be left out ("--luals[=sim]")
local function option_of(line)
  local left, text = line:match "^ +(%-.-)  +(%S.*)$"
  if not left then left, text = line:match "^ +(%-.*)$", "" end
  if not left then return nil end
  local option = { names = {}, text = text, left = left, optional = left:find("[=", 1, true) ~= nil }
  for name in (" " .. left):gmatch "[ ,](%-%-?[%w-]+)" do option.names[#option.names + 1] = name end
  option.arg = left:match "%-[%w-]+%[?[ =]([%w<>.,-]+)%]?$"
  return #option.names > 0 and option or nil
end

--- Reads a verb's help: usage (lines), before and after (paragraphs, lists of lines), groups ({ title or nil, options }).
local function read_help(text)
  local help = { usage = {}, before = {}, after = {}, groups = {} }
  local group, option, paragraph, in_usage = nil, nil, nil, true
  local lines = lines_of(text)
  for i, line in ipairs(lines) do
    local found = option_of(line)
    if in_usage and line ~= "" then
      help.usage[#help.usage + 1] = line:gsub("^usage: ", ""):gsub("^ +", "")
    elseif line == "" then
      in_usage, paragraph, option = false, nil, nil
    elseif found then
      if not group then
        group = { options = {} }
        help.groups[#help.groups + 1] = group
      end
      option, paragraph = found, nil
      group.options[#group.options + 1] = option
    elseif option and line:find "^          +%S" then
      option.text = option.text .. " " .. line:match "^ *(.*)$"
    elseif line:find "^%u.*:$" and option_of(lines[i + 1] or "") then
      group, option, paragraph = { title = line:sub(1, -2), options = {} }, nil, nil
      help.groups[#help.groups + 1] = group
    else
      local where = #help.groups > 0 and help.after or help.before
      if not paragraph then
        paragraph = {}
        where[#where + 1] = paragraph
      end
      paragraph[#paragraph + 1], option = line, nil
    end
  end
  return help
end

-- ---- man pages ----

local function roff(text) return (text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("^(['.])", "\\&%1")) end

local function paragraphs(out, list)
  for _, lines in ipairs(list) do
    out[#out + 1] = ".PP"
    local literal = lines[1]:find "^ " ~= nil
    if literal then out[#out + 1] = ".nf" end
    for _, line in ipairs(lines) do out[#out + 1] = roff(line) end
    if literal then out[#out + 1] = ".fi" end
  end
end

local function head(name, summary, synopsis)
  local out = { ([[.TH %s 1 "" "kt %s" "kt"]]):format(roff(name:upper()), version), ".SH NAME", roff(name) .. " \\- " .. roff(summary), ".SH SYNOPSIS" }
  out[#out + 1] = ".nf"
  for _, line in ipairs(synopsis) do out[#out + 1] = roff(line) end
  out[#out + 1] = ".fi"
  return out
end

local function see_also(out, names)
  out[#out + 1] = ".SH SEE ALSO"
  for i, name in ipairs(names) do out[#out + 1] = (".BR %s (1)%s"):format(roff(name), i < #names and "," or "") end
  out[#out + 1] = ".PP\nThe guides in /usr/share/doc/kt/docs, and"
  out[#out + 1] = roff "kt help NAME for a function of scripts."
  return table.concat(out, "\n") .. "\n"
end

local function page(verb)
  local help = verb.help
  local out = head("kt-" .. verb.name, verb.summary, help.usage)
  if #help.before > 0 then out[#out + 1] = ".SH DESCRIPTION" end
  paragraphs(out, help.before)
  if #help.groups > 0 then out[#out + 1] = ".SH OPTIONS" end
  for _, group in ipairs(help.groups) do
    if group.title then out[#out + 1] = ".SS " .. roff(group.title) end
    for _, option in ipairs(group.options) do
      out[#out + 1] = ".TP\n.B " .. roff(option.left)
      out[#out + 1] = roff(option.text)
    end
  end
  if #help.after > 0 then out[#out + 1] = ".SH NOTES" end
  paragraphs(out, help.after)
  return see_also(out, { "kt" })
end

local function overview(list)
  local out = head("kt", "scriptable tunnels for TCP and UDP over lossy, long, changing UDP paths", { "kt VERB [ARG...]" })
  out[#out + 1] = ".SH DESCRIPTION"
  paragraphs(out, {
    { "kt carries TCP and UDP over UDP paths on which plain TCP is slow or breaks. What a tunnel does is decided by a Lua script,",
      "or by the flags of kt client and kt server, which also speak kcptun's wire." },
  })
  out[#out + 1] = ".SH VERBS"
  local names = {}
  for _, verb in ipairs(list) do
    out[#out + 1] = (".TP\n.BR %s (1)\n%s"):format(roff("kt-" .. verb.name), roff(verb.summary))
    names[#names + 1] = "kt-" .. verb.name
  end
  out[#out + 1] = ".SH SIGNALS"
  paragraphs(out, {
    { "SIGHUP loads the script or the configuration file again, SIGUSR1 writes the counters to the log, SIGTERM ends kt once its",
      "connections have ended, or after 5 seconds." },
  })
  return see_also(out, names)
end

-- ---- completions ----

--- All options of a verb; each has one long or short name to show, in order.
local function options(verb)
  local list = {}
  for _, group in ipairs(verb.help.groups) do
    for _, option in ipairs(group.options) do list[#list + 1] = option end
  end
  return list
end

--- The values of flags and arguments: words by "VERB FLAG", and by the name of an argument.
local function read_values()
  local list = {}
  for line in output("values"):gmatch "[^\n]+" do
    local key, words = line:match "^(%l+ %-%-%w+) (.+)$"
    if not key then key, words = line:match "^(%u+) (.+)$" end
    list[key] = words
  end
  return list
end

local values = read_values()
local files = { FILE = true, DIR = true, PATH = true, SCRIPT = true, ARG = true }

--- The values of an option, for completion: words, "@files", or "" if unknown. nil: it takes none.
local function value_of(verb, option)
  if not option.arg then return nil end
  for _, name in ipairs(option.names) do
    local words = values[verb.name .. " " .. name]
    if words then return words end
  end
  return values[option.arg] or (files[option.arg:match "^%u*"] and "@files" or "")
end

--- The operands of a verb, likewise; "@instances", "@examples" and "@verbs" are looked up when they are completed.
local function operands_of(verb)
  if verb.name == "help" then return "@verbs " .. values.DESCRIBED elseif verb.name == "new" then return "@examples @files" end
  local wants, seen = {}, {}
  local function want(what)
    if not seen[what] then wants[#wants + 1] = what end
    seen[what] = true
  end
  for _, line in ipairs(verb.help.usage) do
    if line:find("[NAME|PID]", 1, true) then want "@instances" end
    for word in line:gsub("%-%-?[%w-]+ %u+", ""):gmatch "%u+" do
      if values[word] then want(values[word]) elseif files[word] then want "@files" end
    end
  end
  return table.concat(wants, " ")
end

local function bash(list)
  local names, cases = {}, {}
  for _, verb in ipairs(list) do
    names[#names + 1] = verb.name
    local flags, wants, order = {}, {}, {}
    for _, option in ipairs(options(verb)) do
      table.move(option.names, 1, #option.names, #flags + 1, flags)
      local value = not option.optional and value_of(verb, option)
      if value then
        if not wants[value] then order[#order + 1] = value end
        wants[value] = wants[value] or {}
        for _, name in ipairs(option.names) do table.insert(wants[value], (name:gsub("^%-%-", "-"))) end
      end
    end
    cases[#cases + 1] = ("    %s) flags=\"%s\" want=\"%s\""):format(verb.name, table.concat(flags, " "), operands_of(verb))
    if #order > 0 then cases[#cases + 1] = "      case ${before/#--/-} in" end
    for _, value in ipairs(order) do
      cases[#cases + 1] = ("        %s) flags= want=\"%s\" ;;"):format(table.concat(wants[value], "|"), value)
    end
    cases[#cases] = cases[#cases] .. (#order > 0 and "\n      esac ;;" or " ;;")
  end
  return ([==[
# bash completion for kt, made from its help.
_kt() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} flags='' want='' words='' files='' each
  COMPREPLY=()
  if [[ $COMP_CWORD == 1 ]]; then
    mapfile -t COMPREPLY < <(compgen -W "VERBS" -- "$word")
    return
  fi
  if [[ $word == '=' ]]; then
    word=
  elif [[ $before == '=' ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case $verb in
CASES
  esac
  if [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$word")
    return
  fi
  for each in $want; do
    case $each in
      @files) files=1 ;;
      @instances) words+=" $(kt list --names 2>/dev/null)" ;;
      @examples) words+=" $(kt new 2>/dev/null | while read -r each _; do [[ $each == usage: ]] || printf '%s\n' "$each"; done)" ;;
      @verbs) words+=" VERBS" ;;
      *) words+=" $each" ;;
    esac
  done
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word" | sort -u)
  if [[ $files ]]; then
    compopt -o filenames
    mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$word")
  fi
}
complete -F _kt kt
]==]):gsub("VERBS", (table.concat(names, " "))):gsub("CASES", function() return table.concat(cases, "\n") end), nil
end

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local ZSH_WANT = [==[
_kt_want() {
  local each line
  local -a names
  for each; do
    case $each in
      @files) _files ;;
      @instances) names+=(${(f)"$(kt list --names 2>/dev/null)"}) ;;
      @examples) for line in ${(f)"$(kt new 2>/dev/null)"}; do [[ $line == '  '* ]] && names+=(${${line##  }%% *}); done ;;
      @verbs) names+=(VERBS) ;;
      *) names+=($each) ;;
    esac
  done
  compadd -a names
}]==]

local function zsh(list)
  local names = {}
  for _, verb in ipairs(list) do names[#names + 1] = verb.name end
  local out = { "#compdef kt", "# zsh completion for kt, made from its help.", (ZSH_WANT:gsub("VERBS", (table.concat(names, " ")))),
    "_kt() {", "  local -a verbs", "  verbs=(" }
  for _, verb in ipairs(list) do out[#out + 1] = "    " .. quoted(verb.name .. ":" .. verb.summary) end
  out[#out + 1] = "  )"
  out[#out + 1] = "  if ((CURRENT == 2)); then\n    _describe verb verbs\n    return\n  fi"
  out[#out + 1] = "  local verb=$words[2]\n  shift words\n  ((CURRENT--))\n  case $verb in"
  for _, verb in ipairs(list) do
    out[#out + 1] = "    " .. verb.name .. ")"
    out[#out + 1] = "      _arguments -S \\"
    for _, option in ipairs(options(verb)) do
      local about, value = option.text:gsub("[%[%]:\\]", "\\%0"), value_of(verb, option)
      for _, name in ipairs(option.names) do
        out[#out + 1] = ("        %s \\"):format(quoted(("%s%s[%s]%s"):format(name, option.optional and "=-" or "", about,
          value and (":%s%s: _kt_want %s"):format(option.optional and ":" or "", option.arg:lower(), value) or "")))
      end
    end
    out[#out + 1] = ("        '*:operand: _kt_want %s' ;;"):format(operands_of(verb))
  end
  out[#out + 1] = "  esac\n}\n_kt \"$@\""
  return table.concat(out, "\n") .. "\n"
end

local fish_lists = {
  ["@instances"] = "(kt list --names 2>/dev/null)", ["@examples"] = "(kt new 2>/dev/null | string match -rg \"^  (\\S+)\")",
}

local function fish(list)
  local out, names = { "# fish completion for kt, made from its help." }, {}
  for _, verb in ipairs(list) do names[#names + 1] = verb.name end
  fish_lists["@verbs"] = table.concat(names, " ")
  local function wanted(want)
    local files_too = want:find("@files", 1, true)
    local words = want:gsub("@files", ""):gsub("@%l+", fish_lists):gsub("^ +", ""):gsub(" +$", "")
    return (files_too and "" or " -f") .. (words ~= "" and " -a " .. quoted(words) or "")
  end
  for _, verb in ipairs(list) do
    out[#out + 1] = ("complete -c kt -n __fish_use_subcommand -f -a %s -d %s"):format(verb.name, quoted(verb.summary))
    local seen = ("complete -c kt -n '__fish_seen_subcommand_from %s'"):format(verb.name)
    for _, option in ipairs(options(verb)) do
      local value = not option.optional and value_of(verb, option)
      for _, name in ipairs(option.names) do
        local dashes, word = name:match "^(%-+)(.*)$"
        out[#out + 1] = ("%s -%s %s%s -d %s"):format(seen, dashes == "--" and "l" or #word > 1 and "o" or "s", word,
          value and " -r" .. wanted(value) or "", quoted(option.text))
      end
    end
    out[#out + 1] = seen .. wanted(operands_of(verb))
  end
  return table.concat(out, "\n") .. "\n"
end

-- The main chunk may take longer than a task.
local list, pages = verbs(), {}
for _, verb in ipairs(list) do
  verb.help = read_help(output(verb.name))
  assert(#verb.help.usage > 0 and #options(verb) > 0, "kt " .. verb.name .. " --help: not understood")
  pages["man/kt-" .. verb.name .. ".1"] = page(verb)
end
pages["man/kt.1"] = overview(list)
pages["completions/kt.bash"] = bash(list)
pages["completions/_kt"] = zsh(list)
pages["completions/kt.fish"] = fish(list)
kt.spawn(function()
  for path, text in pairs(pages) do
    write(path, text)
    kt.sleep(0)
  end
end)
