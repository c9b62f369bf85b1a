-- An attempt asks whether it still holds its job.
--: holds(id, attempt, token, lease, obeys)
-- `lease` is seconds, `obeys` 1 if it is to obey a cancellation. Returns what `fence` says.
return fence(id, attempt, token, lease, obeys)
