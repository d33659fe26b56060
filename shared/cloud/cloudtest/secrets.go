package cloudtest

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
)

// Secrets is Secrets Manager: the values of secrets, by their ARN.
type Secrets struct {
	mu      sync.Mutex
	values  map[string]secretValue
	refusal string
}

// secretValue is a text, or bytes where a secret has them in its place.
type secretValue struct {
	text   string
	binary []byte // nil = it is a text
}

func newSecrets(t testing.TB) *Secrets {
	t.Helper()
	return &Secrets{values: make(map[string]secretValue)}
}

// Set makes a secret that holds a text.
func (s *Secrets) Set(arn, text string) { s.set(arn, secretValue{text: text}) }

// SetBinary makes a secret that holds bytes.
func (s *Secrets) SetBinary(arn string, value []byte) { s.set(arn, secretValue{binary: value}) }

func (s *Secrets) set(arn string, v secretValue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[arn] = v
}

// Refuse makes every further request end with an exception.
func (s *Secrets) Refuse(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = code
}

func (s *Secrets) answer(action string, body []byte) (out any, exception string, err error) {
	var in struct {
		SecretID string `json:"SecretId"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, "InvalidParameterException", err
	}
	if action != "GetSecretValue" {
		return nil, "UnknownOperationException", fmt.Errorf("no such action here: %s", action)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v, there := s.values[in.SecretID]
	switch {
	case s.refusal != "":
		return nil, s.refusal, nil
	case !there:
		return nil, "ResourceNotFoundException", nil
	case v.binary != nil:
		return map[string]any{"ARN": in.SecretID, "SecretBinary": v.binary}, "", nil
	}
	return map[string]any{"ARN": in.SecretID, "SecretString": v.text}, "", nil
}
