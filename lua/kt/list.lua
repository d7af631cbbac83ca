--- Lists whose elements are tables that know their neighbours, so that any element leaves in constant time. A list is any table, with
--- `first` and `last`; an element is in one list at most, by its fields `before` and `after`.
local list = {}

--- Appends an element that is in no list.
function list.add(l, e)
  e.before, l.last = l.last, e
  if e.before then e.before.after = e else l.first = e end
end

function list.remove(l, e)
  if e.before then e.before.after = e.after else l.first = e.after end
  if e.after then e.after.before = e.before else l.last = e.before end
  e.before, e.after = nil, nil
end

return list
