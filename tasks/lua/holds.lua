-- An attempt asks whether it still holds its job. ARGV: id, attempt, its token, lease seconds, 1 if it is to
--   obey a cancellation. Returns what `fence` says.
return fence(unpack(ARGV))
