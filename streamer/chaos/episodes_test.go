package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// episode is one kind of fault.
type episode struct {
	name   string
	quick  bool          // it is in the short form
	deaths bool          // it leaves calls of a dead process
	away   bool          // some process cannot reach some of Redis for a while
	calls  int           // made
	lasts  time.Duration // from the first call to the last
	order  func(*rand.Rand) order
	faults func(*scene)
}

// outage is how long Redis is away: longer than a process tries by itself to settle a
// call, or longer than a lease as well.
func (a *arena) outage() time.Duration {
	if a.long {
		return 60 * time.Second
	}
	return 15 * time.Second
}

// episodes are all faults. An episode undoes what it did, or leaves that to calm.
func (a *arena) episodes() []*episode {
	const while = 4 * time.Second
	return []*episode{
		{name: "aborts", quick: true, calls: 60, lasts: 2 * time.Second, order: abort},
		{name: "cuts", quick: true, calls: 80, lasts: 2 * time.Second, order: cut, faults: nursing},
		{name: "rubbish", calls: 80, lasts: 2 * time.Second, order: rubbish, faults: nursing},
		{name: "stalls", calls: 50, lasts: while, order: stall, faults: nursing},
		{name: "storm", quick: true, calls: 90, lasts: 2 * time.Second, order: storm, faults: nursing},
		{name: "latency", calls: 100, lasts: while, faults: latency},
		{name: "replies", quick: true, calls: 90, lasts: 2 * time.Second, faults: replies},
		{name: "shard", away: true, calls: 100, lasts: 6 * time.Second, order: lengthy, faults: shardAway},
		{name: "partition", away: true, calls: 100, lasts: 6 * time.Second, order: lengthy, faults: partition},
		{name: "terminate", quick: true, calls: 80, lasts: 3 * time.Second, faults: terminate},
		{name: "kill", quick: true, deaths: true, calls: 80, lasts: 3 * time.Second, faults: kill},
		{name: "kills", deaths: true, calls: 120, lasts: 8 * time.Second, faults: kills},
		{name: "freeze", deaths: true, calls: 160, lasts: leaseTTL + 15*time.Second, order: lengthy, faults: freeze},
		{name: "failover", away: true, calls: 140, lasts: 20 * time.Second, order: lengthy, faults: failover},
		{name: "lost-writes", away: true, calls: 140, lasts: 20 * time.Second, order: lengthy, faults: lostWrites},
		{name: "refused", away: true, calls: 140, lasts: a.outage() + while, order: lengthy, faults: refused},
		{name: "frozen", away: true, calls: 140, lasts: a.outage() + while, order: lengthy, faults: frozen},
		{name: "disk-full", away: true, calls: 120, lasts: 12 * time.Second, order: lengthy, faults: diskFull},
		{name: "clock", calls: 80, lasts: 3 * time.Second, faults: clock},
	}
}

func abort(r *rand.Rand) order {
	if r.IntN(3) == 0 {
		return usual(r)
	}
	return leaving(r)
}

// spoil adds a fault of the vendor's to a share of the usual orders that are answers.
func spoil(r *rand.Rand, percent int, faults ...string) order {
	o := usual(r)
	if (o.kind == stream || o.kind == plain) && r.IntN(100) < percent {
		o.script += " " + faults[r.IntN(len(faults))]
	}
	return o
}

// cut is a vendor whose answers break off.
func cut(r *rand.Rand) order {
	at := r.IntN(12)
	o := spoil(r, 50, fmt.Sprintf("cut=%d", at), fmt.Sprintf("end=%d", at), fmt.Sprintf("error=overloaded_error at=%d", at), "reset=1")
	if o.kind == plain {
		o.script = strings.Replace(o.script, "end=", "cut=", 1) // the other is rubbish
	}
	return o
}

// rubbish is a vendor whose answer is a success without an answer, or half of one that
// ends as if it were whole: what it did for that, nobody can tell.
func rubbish(r *rand.Rand) order {
	return spoil(r, 50, "garbage=1", "empty=1", fmt.Sprintf("end=%d", r.IntN(3)))
}

// stall is a vendor that falls silent, or begins too late.
func stall(r *rand.Rand) order {
	return spoil(r, 30, fmt.Sprintf("stall=%d", r.IntN(12)), "first=3s", "first=10s")
}

// storm is a vendor that refuses most calls.
func storm(r *rand.Rand) order {
	return spoil(r, 50, "status=429 retry_after=1", "status=429 retry_after=1", "status=529", "status=500", "html=502")
}

// nursing heals the accounts all the time: a vendor that fails half of all calls would
// soon have none that is asked, and nothing of the rest would be tried.
func nursing(s *scene) {
	for s.began.Load() < int64(len(s.keys)) {
		s.heal()
		s.wait(10 * often)
	}
}

func latency(s *scene) {
	for _, p := range s.redis.Proxies {
		p.Delay(time.Duration(5+s.rand.IntN(120)) * time.Millisecond)
	}
	s.after(1)
}

// replies loses a part of the replies to scripts, after they ran.
func replies(s *scene) {
	for _, p := range s.redis.Proxies {
		r := rand.New(rand.NewPCG(s.seed, s.rand.Uint64()))
		p.DropReply(func(cmd []string) bool { return (cmd[0] == "evalsha" || cmd[0] == "eval") && r.IntN(12) == 0 })
	}
	s.after(1)
}

// shardAway cuts every process off from one shard, for less than a lease.
func shardAway(s *scene) {
	s.after(0.3)
	p := s.redis.Proxies[s.redis.Primary(s.t, s.rand.IntN(shards))]
	p.Down(true)
	s.wait(3 * time.Second)
	p.Down(false)
}

// partition cuts one process off from all of Redis, for less than a lease.
func partition(s *scene) {
	s.after(0.3)
	who := user(s.rand.IntN(processes))
	for _, p := range s.redis.Proxies {
		p.Banish(who, true)
	}
	s.wait(3 * time.Second)
	for _, p := range s.redis.Proxies {
		p.Banish(who, false)
	}
}

// terminate ends a process as a deployment does: what runs in it is answered.
func terminate(s *scene) {
	s.after(0.3)
	p := s.busy()
	if code := p.terminate(); code != 0 {
		s.fail("process %d ended with %d after SIGTERM", p.number, code)
	}
}

// kill is kill -9, and a new process in its place.
func kill(s *scene) {
	s.after(0.3)
	s.busy().kill()
}

// kills ends processes one after the other, each a moment after the one before is back.
func kills(s *scene) {
	for i := range processes {
		s.after(0.2 * float64(i+1))
		p := s.busy()
		p.kill()
		p.start()
	}
}

// freeze stops a process for longer than a lease, then lets it go on: it finds that
// others have settled its calls.
func freeze(s *scene) {
	s.after(0.1)
	p := s.busy()
	p.freeze()
	s.wait(leaseTTL + sweepEvery + 2*time.Second)
	p.thaw()
}

// failover kills the primary of a shard.
func failover(s *scene) {
	s.after(0.3)
	s.redis.FailOver(s.t, s.rand.IntN(shards))
}

// lostWrites kills the primary of a shard after it acknowledged what never reached
// its replica.
func lostWrites(s *scene) {
	s.after(0.3)
	shard := s.rand.IntN(shards)
	s.redis.Proxies[s.redis.Primary(s.t, shard)].Starve(true)
	s.wait(2 * time.Second)
	s.redis.FailOver(s.t, shard)
}

// refused is Redis down: connections are cut and refused.
func refused(s *scene) {
	s.after(0.2)
	for _, p := range s.redis.Proxies {
		p.Down(true)
	}
	s.wait(s.outage())
	for _, p := range s.redis.Proxies {
		p.Down(false)
	}
}

// frozen is Redis silent: connections stay, and nothing is answered.
func frozen(s *scene) {
	s.after(0.2)
	s.redis.Pause(s.t)
	s.wait(s.outage())
	s.redis.Resume(s.t)
}

// diskFull is Redis down while a process has no room to keep its settlements.
func diskFull(s *scene) {
	full, other := s.fleet[0], s.fleet[1]
	full.terminate()
	late := filepath.Join(full.dir, "late")
	if err := os.MkdirAll(late, 0o700); err != nil {
		s.t.Fatal(err)
	}
	// A mount namespace of its own, in which the directory is a disk of one page.
	full.wrapped = []string{"unshare", "--map-root-user", "--mount", "sh", "-c", `mount -t tmpfs -o size=4k tmpfs "$0" && exec "$1"`, late}
	full.start()
	full.wrapped = nil
	s.after(0.3)
	for _, p := range s.redis.Proxies {
		p.Down(true)
	}
	s.wait(4 * time.Second)
	if kept, err := filepath.Glob(filepath.Join(other.dir, "late", "*")); err != nil || len(kept) == 0 {
		s.fail("no late file yet: nothing is in %s while Redis is down (%v)", filepath.Join("SLUICE_DATA_DIR", "late"), err)
	}
	for _, p := range s.redis.Proxies {
		p.Down(false)
	}
	s.after(1)
	if code := full.terminate(); code != 0 { // and calm gives it its disk back
		s.fail("process %d ended with %d after its disk was full", full.number, code)
	}
}

// clock steps the vendor's clock back and forth by up to two hours. The clocks of
// Redis and of the processes are the machine's, which a test cannot step.
func clock(s *scene) {
	for i := range 6 {
		s.after(float64(i) / 6)
		s.vendor.step.Store(int64((s.rand.Float64()*4 - 2) * float64(time.Hour)))
	}
}
