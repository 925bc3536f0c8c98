-- For wrk: POST the lines of a file in turn, and print one line that a program can read. A thread for each address.
--   ADDRESSES="127.0.0.1:8000 127.0.0.1:8001" wrk -t2 -s loadtest/score.lua http://127.0.0.1:8000/score -- bodies.jsonl

local requests, turn = {}, 0
local threads = 0

function setup(thread)
  local addresses = {}
  for address in (os.getenv("ADDRESSES") or ""):gmatch("%S+") do
    addresses[#addresses + 1] = address
  end
  if #addresses > 0 then
    local host, port = addresses[threads % #addresses + 1]:match("^(.*):(%d+)$")
    thread.addr = wrk.lookup(host, port)[1]
  end
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, line)
  end
  turn = number * 17 -- threads that ask for the same at the same time would flatter a cache
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %f %f %f %f\n", summary.requests,
    e.connect + e.read + e.write + e.status + e.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
