-- Writes one document on condition that its version is the expected one, together with its due entry, its
-- place in the name index and its notice, or does nothing. Decides nothing else. Run with one of two
-- headers: with `flags=allow-oom` it writes even when Redis is at maxmemory.
--
-- KEYS: document, due queue, names, feed (all of one shard).
-- ARGV: 1 expected version (8 bytes; empty: absent)  2 new value (version and body; empty: delete)
--       3 due time in ms (empty: none)  4 document key  5 version for the notice (0: deleted)  6 notices to keep
-- Returns {1 written | 0 conflict, what is there on conflict, seconds, microseconds}.

local now = redis.call('TIME')
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then
  return { 0, redis.call('GET', KEYS[1]), now[1], now[2] }
end

if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[3], ARGV[4])
else
  redis.call('SET', KEYS[1], ARGV[2])
  redis.call('ZADD', KEYS[3], 0, ARGV[4])
end

if ARGV[3] == '' then
  redis.call('ZREM', KEYS[2], ARGV[4])
else
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4])
end

-- A feed numbers its notices without a hole, so that who reads it sees when some were trimmed away. The
-- first half of the id is the birth of the feed: it tells a feed from another one after a flush.
local last = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)[1]
local id
if last then
  id = string.match(last[1], '^%d+') .. '-*'
else
  id = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000)) .. '-1'
end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[6], id, 'k', ARGV[4], 'v', ARGV[5])
return { 1, false, now[1], now[2] }
