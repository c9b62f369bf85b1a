-- A job's password was sealed anew with the newest key: as it was sealed, as it is now, and the mark by that key.
--: reseal(id, before, sealed, mark) grows
-- Returns 1, or 0 if it is another by now, or none.
if is_left_alone(id) or redis.call('GET', sealed_key(id)) ~= before then return 0 end
redis.call('SET', sealed_key(id), sealed)
redis.call('HSET', record(id), 'mark', mark)
return 1
