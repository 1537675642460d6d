"""The Lua programs of a queue that several processes share. Each runs in Redis as one step, so that two processes never give the same slot.

A ticket's id is `HOLDER/USER/NUMBER`: the process, a hash of the user, a number. Under `KEYS[1]` lie, for one model:

    :held      sorted set   tickets that have a slot, by the time (ms) at which their lease runs out
    :waiting   sorted set   tickets in the queue, likewise
    :users     list         users with waiting tickets, the next to be served first
    :line:USER list         one user's waiting tickets in their order
    :answer_ms string       smoothed length of an answer
    :epoch     string       which life of these keys this is; made when it is missing
    :settling  string       there while nobody who waits is admitted: the keys were lost, and not all processes have said yet what they hold

Keys are made from KEYS[1] inside the programs, which a Redis Cluster would not take; one server holds this state with ease.
Whoever is admitted while it waits is told over the channel `NEWS:HOLDER`.
"""

_COMMON = """
local gate, news, slots, lease = KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local known_epoch, epoch = ARGV[3], redis.call('GET', gate .. ':epoch')
local held, waiting, users, answer_ms = gate .. ':held', gate .. ':waiting', gate .. ':users', gate .. ':answer_ms'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

if not epoch then
    epoch = ARGV[4]
    redis.call('SET', gate .. ':epoch', epoch)
    if known_epoch ~= '' then redis.call('SET', gate .. ':settling', '1', 'PX', 2500) end
end

local function holder_of(id) return string.match(id, '^([^/]*)/') end
local function user_of(id) return string.match(id, '^[^/]*/([^/]*)/') end
local function line_of(user) return gate .. ':line:' .. user end

local function line_up(id)
    local user = user_of(id)
    if redis.call('RPUSH', line_of(user), id) == 1 then redis.call('RPUSH', users, user) end
    redis.call('ZADD', waiting, now + lease, id)
end

local function leave(id)
    if redis.call('ZREM', waiting, id) == 0 then return end
    local user = user_of(id)
    redis.call('LREM', line_of(user), 1, id)
    if redis.call('LLEN', line_of(user)) == 0 then redis.call('LREM', users, 1, user) end
end

local function drop_the_dead()
    redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now)) do leave(id) end
end

local function admit_waiting()
    if redis.call('GET', gate .. ':settling') then return end
    while redis.call('ZCARD', held) < slots do
        local user = redis.call('LPOP', users)
        if not user then return end
        local id = redis.call('LPOP', line_of(user))
        if redis.call('LLEN', line_of(user)) > 0 then redis.call('RPUSH', users, user) end
        if id and redis.call('ZREM', waiting, id) == 1 then
            redis.call('ZADD', held, now + lease, id)
            redis.call('PUBLISH', news .. ':' .. holder_of(id), id)
        end
    end
end

local function last_place(user)
    local users_now, own, place, before = redis.call('LRANGE', users, 0, -1), redis.call('LLEN', line_of(user)), 0, true
    for _, other in ipairs(users_now) do
        if other == user then
            before, place = false, place + own
        else
            place = place + math.min(redis.call('LLEN', line_of(other)), before and own or own - 1)
        end
    end
    return place
end

local function places()
    local lines, found, place, round, left = {}, {}, 0, 1, true
    for _, user in ipairs(redis.call('LRANGE', users, 0, -1)) do
        lines[#lines + 1] = redis.call('LRANGE', line_of(user), 0, -1)
    end
    while left do
        left = false
        for _, line in ipairs(lines) do
            if line[round] then
                left, place = true, place + 1
                found[line[round]] = place
            end
        end
        round = round + 1
    end
    return found
end

local function load()
    return redis.call('ZCARD', held), redis.call('ZCARD', waiting), tonumber(redis.call('GET', answer_ms) or 0)
end
"""

ENTER = (
    _COMMON
    + """
local bound, id = tonumber(ARGV[5]), ARGV[6]
drop_the_dead()
admit_waiting()
local in_use, queued, ms = load()
if redis.call('ZSCORE', held, id) then return {0, queued, ms, epoch} end
if not redis.call('ZSCORE', waiting, id) then
    if in_use < slots and queued == 0 then
        redis.call('ZADD', held, now + lease, id)
        return {0, queued, ms, epoch}
    end
    if queued >= bound then return {-1, queued, ms, epoch} end
    line_up(id)
    return {last_place(user_of(id)), queued, ms, epoch}
end
return {places()[id], queued, ms, epoch}
"""
)
"""ARGV: slots, lease (ms), the epoch that this process knows or '', one to begin if there is none; then bound, ticket.

Gives place (0: admitted, -1: the queue is full), number waiting before, answer_ms, epoch.
"""

LEAVE = (
    _COMMON
    + """
local id, took_ms, weight = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
leave(id)
redis.call('ZREM', held, id)
if took_ms > 0 then
    local before = tonumber(redis.call('GET', answer_ms) or took_ms)
    redis.call('SET', answer_ms, math.floor(before + weight * (took_ms - before)))
end
drop_the_dead()
admit_waiting()
return 0
"""
)
"""ARGV: the first four as above, ticket, length of its answer (ms, 0 for none), weight of one answer in the smoothed length."""

SYNC = (
    _COMMON
    + """
local number, added, seen = tonumber(ARGV[5]), {}, {}
for i = 6, 5 + number do
    leave(ARGV[i])
    if redis.call('ZADD', held, now + lease, ARGV[i]) == 1 then added[#added + 1] = ARGV[i] end
end
for i = 6 + number, #ARGV do
    local id = ARGV[i]
    if redis.call('ZSCORE', held, id) then
        redis.call('ZADD', held, now + lease, id)
    elseif redis.call('ZSCORE', waiting, id) then
        redis.call('ZADD', waiting, now + lease, id)
    else
        line_up(id)
        added[#added + 1] = id
    end
end
drop_the_dead()
admit_waiting()
if #ARGV > 5 + number then
    local found = places()
    for i = 6 + number, #ARGV do seen[#seen + 1] = found[ARGV[i]] or 0 end
end
local in_use, queued, ms = load()
return {ms, added, seen, epoch}
"""
)
"""ARGV: the first four as above, how many tickets of this process are admitted, those, then its waiting ones in their order.

Extends all their leases, and takes in those that Redis does not know: it was away, or was emptied. Gives answer_ms, the tickets
taken in, the place of each waiting one (0: it has been admitted), epoch.
"""

LOAD = (
    _COMMON
    + """
drop_the_dead()
local in_use, queued = load()
return {in_use, queued}
"""
)
"""ARGV: the first four as above. Gives the number admitted and the number waiting."""

TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local number = redis.call('ZCARD', KEYS[1])
if number >= limit then
    local freed_by = redis.call('ZRANGE', KEYS[1], number - limit, number - limit, 'WITHSCORES')
    return math.max(1, tonumber(freed_by[2]) + window - now)
end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], window)
return 0
"""
"""ARGV: limit, window (ms), a name for this event. Gives 0, or the ms until one fits."""
