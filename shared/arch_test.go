// Package shared_test holds the import rule of the repository: imports point
// down, from mains over the relay to stages, and from stages to the vocabulary.
package shared_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "sluice/"

// rule says what the packages that match a pattern may import of this module.
// The first rule that matches decides.
type rule struct {
	packages string   // path.Match patterns, separated by spaces
	may      []string // patterns; nil = anything in shared, and events
	why      string
}

var (
	vocabulary = []string{"shared/llm", "shared/fault", "shared/money", "shared/secret", "events"}
	wire       = []string{"shared/protocol", "shared/protocol/*", "shared/provider", "shared/provider/*", "shared/sse"}
	stages     = []string{"shared/admission", "shared/pool", "shared/usage", "shared/pricing"}
)

var rules = []rule{
	{"shared/llm shared/fault shared/money shared/secret", []string{}, "the vocabulary imports nothing of the project"},
	{"events", []string{}, "who sends an event and who takes it share its type, and nothing else"},
	{"shared/sse shared/host shared/host/* shared/config shared/egress", vocabulary, "these carry bytes; they know the vocabulary only"},
	{"shared/protocol shared/protocol/*", append([]string{"shared/sse", "shared/protocol", "shared/protocol/*"}, vocabulary...), "a wire format knows the vocabulary and the framer"},
	{"shared/provider shared/provider/*", append(wire, vocabulary...), "a provider is pure: vocabulary, framer and wire formats"},
	{"shared/pool", append([]string{"shared/provider"}, vocabulary...), "stages never import one another"},
	{"shared/admission shared/usage shared/pricing", vocabulary, "stages never import one another"},
	{"shared/admin", append(append([]string{"shared/provider"}, stages...), vocabulary...), "the admin API knows the stages, and reaches stores through its own ports"},
	{"shared/store shared/store/* shared/archive shared/archive/* shared/vault shared/vault/* shared/credential", append(append([]string{"shared/store", "shared/store/*", "shared/provider", "shared/archive", "shared/vault", "shared/credential"}, stages...), vocabulary...), "adapters know the stages whose ports they implement"},
	{"shared/late shared/late/*", append([]string{"shared/late", "shared/admission"}, vocabulary...), "a late queue keeps settlements; who applies them is its caller's business, so it knows no store"},
	{"shared/trace shared/emf", vocabulary, "what watches the process knows nothing of what it watches: the relay has its own port for traces, and its gauges are handed on by a main"},
	{"shared/cloud", append([]string{"shared/config", "shared/store", "shared/store/iam", "shared/late/sqs", "shared/archive/s3log", "shared/archive/s3folder", "shared/vault/awskms"}, vocabulary...), "settings become what they name on AWS, for mains"},
	{"shared/simulator", vocabulary, "the simulator is a vendor: it shares nothing with the relay that asks it"},
	{"streamer/relay", append(append(append([]string{"shared/host", "shared/egress"}, wire...), stages...), vocabulary...), "the relay is where stages meet; it knows no store and no SDK"},
	{"streamer streamer/* functions/*", nil, "mains wire what is in shared; functions never import one another or the streamer"},
	{"infra", []string{"shared/config", "infra/image"}, "the CDK app describes a deployment and runs none of it"},
	{"infra/cost", []string{"shared/money"}, "the cost page reads templates; it knows neither the CDK that writes them nor the product"},
	{"infra/image", vocabulary, "the image is made of a file, whatever is in it"},
	{"infra/deploy", append([]string{"infra/image"}, vocabulary...), "the deploy tool works on an account before there is a deployment; it knows nothing of the product"},
	{"infra/verify", append([]string{"shared/sse"}, vocabulary...), "verify sees a deployment from outside, as its clients do: it shares no code with what it judges but the framer"},
	{"shared/cloud/cloudtest", vocabulary, "stand-ins of AWS know nothing of who asks them"},
}

// reserved are modules that only the packages of a pattern may import. A client of
// an AWS service adds megabytes to a binary: its adapter is a package of its own,
// which only the mains that need the service import.
var reserved = map[string]string{
	"github.com/aws/aws-sdk-go-v2/service/kms":            "shared/vault/awskms shared/cloud",
	"github.com/aws/aws-sdk-go-v2/service/s3":             "shared/archive/s3log shared/archive/s3folder shared/cloud",
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager": "shared/cloud infra/*",
	"github.com/aws/aws-sdk-go-v2/service/sqs":            "shared/late/sqs shared/cloud",
	"github.com/redis/go-redis/":                          "shared/store shared/store/*",
	"github.com/alicebob/miniredis/":                      "shared/store/embedded shared/store/storetest",
	"go.etcd.io/bbolt":                                    "shared/store/embedded",
	// What images, registries and trusted roots are is known in one place.
	"github.com/google/go-containerregistry/": "infra/image",
	"golang.org/x/crypto/x509roots/":          "infra/image",
	// It reads the environment, prints to stdout and keeps settings of the process:
	// one package sees to that.
	"github.com/aws/aws-xray-sdk-go/": "shared/trace",
	"github.com/aws/aws-cdk-go/":      "infra",
	// What reads and changes a deployment from outside: nothing that is deployed may.
	"github.com/aws/aws-sdk-go-v2/service/ecs":         "infra/verify",
	"github.com/aws/aws-sdk-go-v2/service/elasticache": "infra/verify",
	"github.com/aws/aws-sdk-go-v2/service/lambda":      "infra/verify",
	"github.com/aws/aws-sdk-go-v2/service/memorydb":    "infra/verify",
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			for prefix, owners := range reserved {
				if strings.HasPrefix(imported, prefix) && !match(strings.Fields(owners), name) {
					t.Errorf("%s imports %s, which only %s may", name, imported, owners)
				}
			}
			if local, ok := strings.CutPrefix(imported, module); ok {
				check(t, name, local)
			}
		}
	}
}

func check(t *testing.T, name, imported string) {
	t.Helper()
	for _, r := range rules {
		if !match(strings.Fields(r.packages), name) {
			continue
		}
		allowed := r.may == nil && (strings.HasPrefix(imported, "shared/") || strings.HasPrefix(imported, "streamer/") && strings.HasPrefix(name, "streamer") || imported == "events")
		if !allowed && !match(r.may, imported) {
			t.Errorf("%s imports %s: %s", name, imported, r.why)
		}
		return
	}
	t.Errorf("%s is in no rule of the import rule: add it to one", name)
}

func match(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); err == nil && ok {
			return true
		}
	}
	return false
}

// packages lists the module with its non-test imports.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
