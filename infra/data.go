package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// held is SluiceData: what must outlive a deployment. SluiceApp refers to it
// weakly (Fn::GetStackOutput), so that no export keeps a resource from being
// replaced.
type held struct {
	stack      awscdk.Stack
	net        *network
	store      *store
	master     awskms.Key // seals credentials and the config log
	data       awskms.Key // of the buckets
	config     awss3.Bucket
	archive    awss3.Bucket
	adminToken awssecretsmanager.Secret
	late       awssqs.Queue // settlements that the store did not take
	lateDead   awssqs.Queue // and those that cannot be made
}

func newData(app awscdk.App, s *Switches) *held {
	stack := awscdk.NewStack(app, str("SluiceData"), &awscdk.StackProps{
		Description:           str("Sluice: network, store, buckets, keys and secrets. Retained; see SluiceApp for the rest."),
		Env:                   environment(),
		Synthesizer:           synthesizer(s),
		TerminationProtection: yes(),
	})
	h := &held{stack: stack, net: newNetwork(stack, s)}
	h.store = newStore(stack, s, h.net)
	h.master = newKey(stack, "MasterKey", "Sluice: seals the credentials of accounts and the config log")
	h.data = newKey(stack, "DataKey", "Sluice: encrypts the config log and the archive in S3")
	h.config = newBucket(stack, "ConfigLog", h.data)
	h.archive = newBucket(stack, "Archive", h.data)
	h.adminToken = awssecretsmanager.NewSecret(stack, str("AdminToken"), &awssecretsmanager.SecretProps{
		Description: str("Sluice: token of the admin API"),
		GenerateSecretString: &awssecretsmanager.SecretStringGenerator{
			PasswordLength: num(43), ExcludePunctuation: yes(),
		},
		RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
	})
	h.lateDead = deadLetters(stack, "LateDeadLetters")
	h.late = awssqs.NewQueue(stack, str("Late"), &awssqs.QueueProps{
		Encryption: awssqs.QueueEncryption_SQS_MANAGED, EnforceSSL: yes(),
		RetentionPeriod: awscdk.Duration_Days(num(6)), VisibilityTimeout: awscdk.Duration_Seconds(num(6 * functionTimeout)),
		DeadLetterQueue: &awssqs.DeadLetterQueue{Queue: h.lateDead, MaxReceiveCount: num(100)}, // an outage of the store takes a while
	})
	suppressData(h)
	retain(stack)
	return h
}

// retain keeps everything when the stack is deleted: a network cannot go while the
// store in it stays. What is replaced by an update goes, unless it says otherwise.
func retain(stack awscdk.Stack) {
	for _, c := range *stack.Node().FindAll(constructs.ConstructOrder_PREORDER) {
		if *awscdk.CfnResource_IsCfnResource(c) {
			var resource awscdk.CfnResource
			jsii.UnsafeCast(c, &resource)
			options := resource.CfnOptions()
			options.SetDeletionPolicy(awscdk.CfnDeletionPolicy_RETAIN)
			if options.UpdateReplacePolicy() == "" {
				options.SetUpdateReplacePolicy(awscdk.CfnDeletionPolicy_DELETE)
			}
		}
	}
}

// synthesizer is that of the bootstrap with the qualifier.
func synthesizer(s *Switches) awscdk.IStackSynthesizer {
	return awscdk.NewDefaultStackSynthesizer(&awscdk.DefaultStackSynthesizerProps{Qualifier: &s.Qualifier})
}

func newKey(stack awscdk.Stack, id, description string) awskms.Key {
	return awskms.NewKey(stack, str(id), &awskms.KeyProps{
		Description:       str(description),
		EnableKeyRotation: yes(),
		RemovalPolicy:     awscdk.RemovalPolicy_RETAIN,
	})
}

// newBucket is a private, encrypted, versioned bucket that is retained.
func newBucket(stack awscdk.Stack, id string, key awskms.Key) awss3.Bucket {
	return awss3.NewBucket(stack, str(id), &awss3.BucketProps{
		BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(),
		ObjectOwnership:   awss3.ObjectOwnership_BUCKET_OWNER_ENFORCED,
		Encryption:        awss3.BucketEncryption_KMS,
		EncryptionKey:     key,
		BucketKeyEnabled:  yes(),
		EnforceSSL:        yes(),
		Versioned:         yes(),
		LifecycleRules: &[]*awss3.LifecycleRule{{
			AbortIncompleteMultipartUploadAfter: awscdk.Duration_Days(num(7)),
			NoncurrentVersionExpiration:         awscdk.Duration_Days(num(90)),
		}},
		RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
	})
}
