-- Ends the attempt of a lease.
-- KEYS  calls, leases, health, vendor
-- ARGV  the release as JSON
release(cjson.decode(ARGV[1]), KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return 'ok'
