package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awselasticache"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsmemorydb"
	"github.com/aws/jsii-runtime-go"
)

const (
	// storeName names the cache and its user. A user that signs in with IAM must
	// have one name for id and name.
	storeName = "sluice"
	// mayOnServer is what the user may do on the server: everything but what
	// administers it. INFO tells whether it is a cluster.
	mayOnServer = "on ~* &* +@all -@dangerous +info"
	snapshots   = 7 // days
)

// store is the Redis or Valkey of a deployment.
type store struct {
	url     *string   // rediss://user@host:port
	iam     string    // SLUICE_REDIS_IAM: kind/name
	actions []*string // to sign in
	arns    []*string // what the actions are allowed on
}

func newStore(stack awscdk.Stack, s *Switches, n *network) *store {
	subnets := n.vpc.SelectSubnets(n.private).SubnetIds
	group := n.store.SecurityGroupId()
	st := new(store)
	var host, port *string
	switch s.Store {
	case Serverless:
		host, port = serverlessCache(stack, subnets, group)
		st.connect(stack, "elasticache", "serverlesscache:", "user:")
	case Nodes:
		host, port = cacheNodes(stack, s, subnets, group)
		st.connect(stack, "elasticache", "replicationgroup:", "user:")
	case MemoryDB:
		host, port = memoryDB(stack, s, subnets, group)
		st.connect(stack, "memorydb", "cluster/", "user/")
	}
	st.iam = s.Store + "/" + storeName
	st.url = awscdk.Fn_Join(str(""), &[]*string{str("rediss://" + storeName + "@"), host, str(":"), port})
	return st
}

// connect allows signing in as the one user to the one store.
func (st *store) connect(stack awscdk.Stack, service string, resources ...string) {
	st.actions = []*string{str(service + ":Connect")}
	for _, r := range resources {
		st.arns = append(st.arns, str("arn:%s:%s:%s:%s:%s%s", *stack.Partition(), service, *stack.Region(), *stack.Account(), r, storeName))
	}
}

// userGroup holds the one user, who signs in with IAM: there is no password.
func userGroup(stack awscdk.Stack) awselasticache.CfnUserGroup {
	user := awselasticache.NewCfnUser(stack, str("StoreUser"), &awselasticache.CfnUserProps{
		Engine: str("valkey"), UserId: str(storeName), UserName: str(storeName), AccessString: str(mayOnServer),
		AuthenticationMode: map[string]any{"Type": "iam"},
	})
	group := awselasticache.NewCfnUserGroup(stack, str("StoreUsers"), &awselasticache.CfnUserGroupProps{
		Engine: str("valkey"), UserGroupId: str(storeName), UserIds: &[]*string{user.Ref()},
	})
	return group
}

func serverlessCache(stack awscdk.Stack, subnets *[]*string, group *string) (host, port *string) {
	cache := awselasticache.NewCfnServerlessCache(stack, str("Cache"), &awselasticache.CfnServerlessCacheProps{
		Engine: str("valkey"), MajorEngineVersion: str("8"), ServerlessCacheName: str(storeName),
		Description:            str("Sluice: ledger, accounts and records"),
		SubnetIds:              jsii.AnySlice(subnets),
		SecurityGroupIds:       &[]any{group},
		UserGroupId:            userGroup(stack).Ref(),
		SnapshotRetentionLimit: num(snapshots), DailySnapshotTime: str("04:00"),
	})
	cache.ApplyRemovalPolicy(awscdk.RemovalPolicy_RETAIN, nil)
	return cache.AttrEndpointAddress(), cache.AttrEndpointPort()
}

// cacheNodes is one shard in cluster mode, so that shards can be added. It never
// evicts: what is in it is the ledger.
func cacheNodes(stack awscdk.Stack, s *Switches, subnets *[]*string, group *string) (host, port *string) {
	parameters := awselasticache.NewCfnParameterGroup(stack, str("CacheParameters"), &awselasticache.CfnParameterGroupProps{
		CacheParameterGroupFamily: str("valkey8"), Description: str("Sluice: cluster mode, no eviction"),
		Properties: map[string]any{"cluster-enabled": "yes", "maxmemory-policy": "noeviction"},
	})
	within := awselasticache.NewCfnSubnetGroup(stack, str("CacheSubnets"), &awselasticache.CfnSubnetGroupProps{
		Description: str("Sluice: private subnets"), SubnetIds: jsii.AnySlice(subnets),
	})
	replicas := s.replicas()
	cache := awselasticache.NewCfnReplicationGroup(stack, str("CacheNodes"), &awselasticache.CfnReplicationGroupProps{
		ReplicationGroupId: str(storeName), ReplicationGroupDescription: str("Sluice: ledger, accounts and records"),
		Engine: str("valkey"), EngineVersion: str("8.0"), CacheNodeType: str("cache.t4g.small"),
		NumNodeGroups: num(1), ReplicasPerNodeGroup: num(replicas),
		AutomaticFailoverEnabled: yes(), MultiAzEnabled: replicas > 0,
		AtRestEncryptionEnabled: yes(), TransitEncryptionEnabled: yes(), TransitEncryptionMode: str("required"),
		CacheParameterGroupName: parameters.Ref(), CacheSubnetGroupName: within.Ref(),
		SecurityGroupIds: &[]*string{group}, UserGroupIds: &[]*string{userGroup(stack).Ref()},
		SnapshotRetentionLimit: num(snapshots), AutoMinorVersionUpgrade: yes(),
	})
	cache.ApplyRemovalPolicy(awscdk.RemovalPolicy_RETAIN, nil)
	return cache.AttrConfigurationEndPointAddress(), cache.AttrConfigurationEndPointPort()
}

func memoryDB(stack awscdk.Stack, s *Switches, subnets *[]*string, group *string) (host, port *string) {
	user := awsmemorydb.NewCfnUser(stack, str("StoreUser"), &awsmemorydb.CfnUserProps{
		UserName: str(storeName), AccessString: str(mayOnServer), AuthenticationMode: map[string]any{"Type": "iam"},
	})
	users := awsmemorydb.NewCfnACL(stack, str("StoreUsers"), &awsmemorydb.CfnACLProps{
		AclName: str(storeName), UserNames: &[]*string{user.Ref()},
	})
	within := awsmemorydb.NewCfnSubnetGroup(stack, str("CacheSubnets"), &awsmemorydb.CfnSubnetGroupProps{
		SubnetGroupName: str(storeName), SubnetIds: jsii.AnySlice(subnets),
	})
	cluster := awsmemorydb.NewCfnCluster(stack, str("MemoryDB"), &awsmemorydb.CfnClusterProps{
		ClusterName: str(storeName), Description: str("Sluice: ledger, accounts and records"),
		AclName: users.Ref(), NodeType: str("db.t4g.small"), Engine: str("valkey"), EngineVersion: str("7.3"),
		NumShards: num(1), NumReplicasPerShard: num(s.replicas()), TlsEnabled: yes(),
		SubnetGroupName: within.Ref(), SecurityGroupIds: &[]any{group},
		SnapshotRetentionLimit: num(snapshots), AutoMinorVersionUpgrade: yes(),
	})
	cluster.ApplyRemovalPolicy(awscdk.RemovalPolicy_RETAIN, nil)
	return cluster.AttrClusterEndpointAddress(), awscdk.Fn_Join(str(""), &[]*string{str("6379")})
}

// replicas of a store of nodes: profile ha has one in another zone.
func (s *Switches) replicas() int {
	if s.Profile == HA {
		return 1
	}
	return 0
}
