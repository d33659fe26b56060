// Package awskms keeps the vault's master key in AWS KMS: data keys are sent there
// to be wrapped and unwrapped, and the master key itself never leaves.
//
// Every request carries the encryption context sluice = data-key. KMS authenticates
// it with the ciphertext, writes it to CloudTrail in plain text, and lets a policy
// demand it, so that the role of Sluice may use the key for nothing else:
//
//	"Condition": {"StringEquals": {"kms:EncryptionContext:sluice": "data-key"}}
//
// (https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html.) It
// is a package of its own so that a binary without KMS has no SDK of it.
package awskms

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"sluice/shared/vault"
)

// API is what is asked of KMS; *kms.Client is one.
type API interface {
	Encrypt(ctx context.Context, in *kms.EncryptInput, o ...func(*kms.Options)) (*kms.EncryptOutput, error)
	Decrypt(ctx context.Context, in *kms.DecryptInput, o ...func(*kms.Options)) (*kms.DecryptOutput, error)
}

// Wrapper wraps data keys under a symmetric KMS key; it is a vault.Wrapper. It is
// safe for concurrent use.
type Wrapper struct {
	client API
	key    string
}

// New wraps under the key that an ARN names. Nothing is asked of KMS before the
// first use.
func New(client API, keyARN string) *Wrapper { return &Wrapper{client: client, key: keyARN} }

// binding is the encryption context, new for each request because the SDK gets it
// to keep.
func binding() map[string]string { return map[string]string{"sluice": "data-key"} }

// Wrap encrypts a data key. Its errors name the key and say what to look at.
func (w *Wrapper) Wrap(ctx context.Context, plain []byte) ([]byte, error) {
	out, err := w.client.Encrypt(ctx, &kms.EncryptInput{
		KeyId: aws.String(w.key), Plaintext: plain, EncryptionContext: binding(),
	})
	if err != nil {
		return nil, w.explain(ctx, "kms:Encrypt", err)
	}
	return out.CiphertextBlob, nil
}

// Unwrap decrypts what Wrap made. The key is named although the ciphertext names
// one too: a data key that was wrapped under somebody else's must not open. It errs
// with vault.ErrSealed for what was changed, or wrapped under another key or for
// another purpose; other errors name the key and say what to look at.
func (w *Wrapper) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	out, err := w.client.Decrypt(ctx, &kms.DecryptInput{
		KeyId: aws.String(w.key), CiphertextBlob: wrapped, EncryptionContext: binding(),
	})
	if sealed(err) {
		return nil, fmt.Errorf("%w (KMS key %s): %w", vault.ErrSealed, w.key, err)
	}
	if err != nil {
		return nil, w.explain(ctx, "kms:Decrypt", err)
	}
	return out.Plaintext, nil
}

// sealed says whether KMS could read the request and refused the ciphertext
// (https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html#API_Decrypt_Errors).
func sealed(err error) bool {
	if _, changed := errors.AsType[*types.InvalidCiphertextException](err); changed {
		return true
	}
	_, other := errors.AsType[*types.IncorrectKeyException](err)
	return other
}

// explain says what an operator should look at; the answer of KMS is the cause. A
// caller that gave up is no reason to look at anything.
func (w *Wrapper) explain(ctx context.Context, action string, err error) error {
	if gone := ctx.Err(); gone != nil {
		return fmt.Errorf("KMS key %s: %s: %w", w.key, action, errors.Join(gone, err))
	}
	return fmt.Errorf("KMS key %s: %s: %w", w.key, advice(action, err), err)
}

func advice(action string, err error) string {
	answer, answered := errors.AsType[smithy.APIError](err)
	if !answered {
		return "KMS could not be reached: look at the region, the VPC endpoint or NAT, and the role's credentials"
	}
	switch answer.ErrorCode() {
	case "DisabledException":
		return "the key is disabled: enable it"
	case "KMSInvalidStateException":
		return "the key cannot be used in its state: if it is scheduled for deletion, cancel that"
	case "NotFoundException":
		return "there is no such key in the client's region: look at the ARN, its region and its account"
	case "InvalidKeyUsageException":
		return "the key cannot encrypt data: it must be a symmetric key for ENCRYPT_DECRYPT"
	case "AccessDeniedException":
		return "the role may not use it: allow " + action + " in its policy and the key's, with kms:EncryptionContext:sluice = data-key"
	case "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "InvalidSignatureException":
		return "KMS does not take the role's credentials: renew them, and look at the clock of this machine"
	default:
		return "KMS refused or failed; if it persists, look at the key and the service's health"
	}
}
