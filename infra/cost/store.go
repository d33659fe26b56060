package cost

import (
	"fmt"
	"strings"
)

// engine is the engine of a store, "valkey" or "redis".
func engine(r *resource) (string, error) {
	name, err := r.text("Engine", "redis")
	if err != nil {
		return "", err
	}
	if name = strings.ToLower(name); name != "valkey" && name != "redis" {
		return "", fmt.Errorf("%s has the engine %q: valkey and redis have prices", r, name)
	}
	return name, nil
}

// serverlessCache prices what is stored, of which a minimum is billed, and the
// processing units of commands.
func serverlessCache(e *estimator, r *resource) error {
	name, err := engine(r)
	if err != nil {
		return err
	}
	floor, err := r.whole("CacheUsageLimits.DataStorage.Minimum", 0, 5_000) // GB
	if err != nil {
		return err
	}
	least := map[string]int64{"valkey": 100_000, "redis": 1_000_000}[name] // KB
	least = max(least, floor*1_000_000)
	stored := func(l Load) int64 { return max(least, storedKB(l)) }
	if err := e.add("Store: data, at least the minimum", "serverless-"+name, each(func(_ int, l Load) int64 { return stored(l) * hoursPerMonth })); err != nil {
		return err
	}
	rate, err := r.whole("CacheUsageLimits.ECPUPerSecond.Minimum", 0, 15_000_000)
	if err != nil {
		return err
	}
	units := each(func(i int, l Load) int64 {
		sweeps := (e.fleet.tasks[i]*sweepsPerTask + e.fleet.sweeps) * storePartitions * storeCommandKB
		return max(rate*secondsPerMonth, l.Requests*requestECPUs+sweeps)
	})
	if err := e.add("Store: commands", "serverless-"+name+"-requests", units); err != nil {
		return err
	}
	return e.snapshots(r, stored)
}

// snapshots prices the daily copies that are kept.
func (e *estimator) snapshots(r *resource, stored func(Load) int64) error {
	days, err := r.whole("SnapshotRetentionLimit", 0, 35)
	if err != nil {
		return err
	}
	return e.add("Store: snapshots", "cache-backup", each(func(_ int, l Load) int64 { return days * stored(l) }))
}

// replicationGroup prices the nodes of a cache that is not serverless.
func replicationGroup(e *estimator, r *resource) error {
	name, err := engine(r)
	if err != nil {
		return err
	}
	shards, err := r.whole("NumNodeGroups", 1, maxShards)
	if err != nil {
		return err
	}
	replicas, err := r.whole("ReplicasPerNodeGroup", 0, maxReplicas)
	if err != nil {
		return err
	}
	nodes, err := r.whole("NumCacheClusters", max(1, shards)*(replicas+1), maxShards)
	if err != nil {
		return err
	}
	if err := e.nodes(r, name, "CacheNodeType", nodes, shards); err != nil {
		return err
	}
	return e.snapshots(r, storedKB)
}

const (
	maxShards   = 500 // quota of an account: nodes of a cluster
	maxReplicas = 5
)

// nodes prices nodes, and says when the data would not fit them.
func (e *estimator) nodes(r *resource, engine, property string, nodes, shards int64) error {
	kind, err := r.text(property, "")
	if err != nil {
		return err
	}
	if err := e.add("Store: node "+kind, "node/"+engine+"/"+kind, hourly(nodes)); err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	for _, l := range Loads() {
		// A quarter of a node's memory is reserved, the default of reserved-memory-percent.
		if room := nodeMB(kind) * max(1, shards) * 3 / 4; storedKB(l)/1000 > room {
			e.remark("At %s the store holds about %s MB; %d × %s has room for %s MB. It needs larger nodes, which are not in this price, or records that leave it before %d days.",
				l.Name, thousands(storedKB(l)/1000), max(1, shards), kind, thousands(room), storeDays)
		}
	}
	return nil
}

// nodeMB is the memory of a node type,
// https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/CacheNodes.SupportedTypes.html.
func nodeMB(kind string) int64 {
	switch {
	case strings.HasSuffix(kind, ".t4g.micro"):
		return 500
	case strings.HasSuffix(kind, ".t4g.small"):
		return 1_370
	}
	return 3_090 // t4g.medium; no smaller node has a price
}

// memoryDB prices the nodes of a durable store, and the data written to its log.
func memoryDB(e *estimator, r *resource) error {
	name, err := engine(r)
	if err != nil {
		return err
	}
	shards, err := r.whole("NumShards", 1, maxShards)
	if err != nil {
		return err
	}
	replicas, err := r.whole("NumReplicasPerShard", 1, maxReplicas)
	if err != nil {
		return err
	}
	if err := e.nodes(r, name, "NodeType", max(1, shards)*(replicas+1), shards); err != nil {
		return err
	}
	if err := e.add("Store: data written", "memorydb-written-"+name, perRequest(storeWritten*storeCommandKB)); err != nil {
		return err
	}
	return e.snapshots(r, storedKB)
}

// key prices a customer key. Its rotation adds the price of a key in each of the
// first two years, https://aws.amazon.com/kms/pricing/.
func key(e *estimator, r *resource) error {
	if on, ok := r.get("EnableKeyRotation").(bool); ok && on {
		e.remark("Keys rotate: each costs $%s more after its first year, and again after its second.", cents(e.prices["kms-key"].USD))
	}
	if err := e.add("Key", "kms-key", flat(one)); err != nil {
		return err
	}
	return e.add("Requests to keys", "kms-requests", flat(keyRequests))
}

func parameter(e *estimator, r *resource) error {
	tier, err := r.text("Tier", "Standard")
	if err != nil || tier == "Standard" {
		return err
	}
	return e.add("Advanced parameter", "parameter-advanced", flat(one))
}
