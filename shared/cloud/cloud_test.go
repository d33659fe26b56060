package cloud_test

import (
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/archive"
	"sluice/shared/archive/archivetest"
	"sluice/shared/cloud"
	"sluice/shared/cloud/cloudtest"
	"sluice/shared/config"
)

const (
	adminSecret = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:admin"
	adminToken  = "test-admin-token-0001"
)

// load is the stand-in and a Cloud over it with settings.
func load(t *testing.T, settings ...string) (*cloudtest.Cloud, *cloud.Cloud) {
	t.Helper()
	stand := cloudtest.Start(t)
	stand.Use()
	return stand, loaded(t, settings...)
}

func loaded(t *testing.T, settings ...string) *cloud.Cloud {
	t.Helper()
	c, err := config.Read(settings)
	if err != nil {
		t.Fatal(err)
	}
	found, err := cloud.Load(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// gone is an address at which nobody listens any more.
func gone() string {
	server := httptest.NewServer(nil)
	server.Close()
	return server.URL
}

// refused holds an error against a line that may end in an asterisk, which stands
// for what the SDK says. It is one line and tells no secret.
func refused(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %s", what, want)
		return
	}
	got := err.Error()
	begin, open := strings.CutSuffix(want, "*")
	if got != want && (!open || !strings.HasPrefix(got, begin)) {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
	for _, s := range []string{adminToken, cloudtest.SecretKey, "\n"} {
		if strings.Contains(got, s) {
			t.Errorf("%s: %q is in the error: %s", what, s, got)
		}
	}
}

func TestStore(t *testing.T) {
	const url = "SLUICE_REDIS_URL=rediss://sluice@cache.test:6379"
	for name, tt := range map[string]struct {
		settings []string
		user     string // "" = no sign-in with IAM
		want     string // of the error; "" = none
	}{
		"with IAM":       {[]string{url, "SLUICE_REDIS_IAM=serverless/sluice"}, "sluice", ""},
		"several nodes":  {[]string{url + ",b.test:6379", "SLUICE_REDIS_IAM=memorydb/sluice"}, "sluice", ""},
		"a password":     {[]string{"SLUICE_REDIS_URL=rediss://sluice:test-key@cache.test:6379"}, "", ""},
		"no store":       {nil, "", "SLUICE_REDIS_URL: a deployment needs a store (want rediss://USER@HOST:6379)"},
		"IAM for nobody": {[]string{"SLUICE_REDIS_URL=rediss://cache.test:6379", "SLUICE_REDIS_IAM=nodes/sluice"}, "", "SLUICE_REDIS_URL: names no user to sign in as with IAM (want rediss://USER@HOST:6379)"},
		"no URL":         {[]string{"SLUICE_REDIS_URL=rediss://sluice:test-key@cache.test:0", "SLUICE_REDIS_IAM=nodes/sluice"}, "", "SLUICE_REDIS_URL: invalid: the store's URL is not valid: a port is not between 1 and 65535 (want redis://[user:password@]host:port[,host:port…][/db])"},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := load(t, tt.settings...)
			log := slog.New(slog.DiscardHandler)
			o, err := c.Store(log)
			if tt.want != "" {
				refused(t, "Store", err, tt.want)
				return
			}
			if err != nil || o.URL.Empty() || o.Logger != log {
				t.Fatalf("Store = %+v, %v", o, err)
			}
			if tt.user == "" {
				if o.Credentials != nil {
					t.Error("it signs in with IAM")
				}
				return
			}
			user, token, err := o.Credentials(t.Context())
			if err != nil || user != tt.user || !strings.HasPrefix(token, "sluice/?") || !strings.Contains(token, cloudtest.Region) || !strings.Contains(token, cloudtest.AccessKeyID) {
				t.Errorf("signs in as %q with %q, %v", user, token, err)
			}
		})
	}
}

func TestMaster(t *testing.T) {
	stand, c := load(t, "SLUICE_KMS_KEY="+cloudtest.Key)
	w, err := c.Master(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := w.Wrap(t.Context(), []byte("a data key"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := w.Unwrap(t.Context(), wrapped); err != nil || string(plain) != "a data key" {
		t.Errorf("Unwrap = %q, %v", plain, err)
	}
	for _, r := range stand.KMS.Requests() {
		if diff := cmp.Diff(map[string]string{"sluice": "data-key"}, r.EncryptionContext); diff != "" || r.KeyID != cloudtest.Key {
			t.Errorf("%s under %s with another context (-want +got):\n%s", r.Action, r.KeyID, diff)
		}
	}

	const may = "SLUICE_KMS_KEY: KMS key " + cloudtest.Key + ": the role may not use it: allow kms:%s in its policy and the key's, with kms:EncryptionContext:sluice = data-key: *"
	for _, action := range []string{"Encrypt", "Decrypt"} {
		stand.KMS.Refuse("AccessDeniedException", action)
		_, err = c.Master(t.Context())
		refused(t, "may not "+action, err, strings.Replace(may, "%s", action, 1))
	}
	const another = "arn:aws:kms:eu-central-1:111122223333:key/none"
	_, err = loaded(t, "SLUICE_KMS_KEY="+another).Master(t.Context())
	refused(t, "no such key", err, "SLUICE_KMS_KEY: KMS key "+another+": there is no such key in the client's region: look at the ARN, its region and its account: *")
	_, err = loaded(t).Master(t.Context())
	refused(t, "no key", err, "SLUICE_KMS_KEY: a deployment needs a master key (want the ARN of a KMS key)")
}

func TestConfigLog(t *testing.T) {
	settings := []string{"SLUICE_KMS_KEY=" + cloudtest.Key, "SLUICE_CONFIG_BUCKET=" + cloudtest.Bucket}
	stand, c := load(t, settings...)
	l, err := c.ConfigLog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	archivetest.Add(t, l, archivetest.Entry(1))
	if diff := cmp.Diff([]string{"config/000000000001.json"}, stand.S3.Keys()); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	again, err := c.ConfigLog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := archivetest.Replayed(t, again); !slices.EqualFunc(got, archivetest.Numbered(archivetest.Entry(1)), func(a, b archive.Entry) bool { return cmp.Equal(a, b) }) {
		t.Errorf("replayed %+v", got)
	}

	stand.S3.On(func(string, string, int) string { return "AccessDenied" })
	_, err = c.ConfigLog(t.Context())
	refused(t, "denied", err, "SLUICE_CONFIG_BUCKET="+cloudtest.Bucket+": config log: list what is after s3://"+cloudtest.Bucket+"/config/000000000000.json: the role needs s3:PutObject, s3:GetObject and s3:ListBucket, and the bucket's KMS key if it has one: *")
	_, err = loaded(t, settings[0], "SLUICE_CONFIG_BUCKET=none").ConfigLog(t.Context())
	refused(t, "no such bucket", err, "SLUICE_CONFIG_BUCKET=none: config log: list what is after s3://none/config/000000000000.json: *")
	_, err = loaded(t).ConfigLog(t.Context())
	refused(t, "no bucket", err, "SLUICE_CONFIG_BUCKET: a deployment needs a config log (want the name of an S3 bucket)")
}

func TestAdminToken(t *testing.T) {
	stand, c := load(t, "SLUICE_ADMIN_SECRET="+adminSecret)
	stand.Secrets.Set(adminSecret, adminToken)
	if token, err := c.AdminToken(t.Context()); err != nil || token.Reveal() != adminToken {
		t.Errorf("AdminToken = %q, %v", token.Reveal(), err)
	}
	if token, err := loaded(t, "SLUICE_ADMIN_TOKEN="+adminToken).AdminToken(t.Context()); err != nil || token.Reveal() != adminToken {
		t.Errorf("AdminToken of the settings = %q, %v", token.Reveal(), err)
	}
	_, err := loaded(t).AdminToken(t.Context())
	refused(t, "nothing", err, "SLUICE_ADMIN_SECRET: a deployment needs an admin token (want the ARN of a secret)")

	const named = "SLUICE_ADMIN_SECRET=" + adminSecret + ": "
	for name, tt := range map[string]struct{ value, want string }{
		"short":              {adminToken[:15], "the secret is too short (want 16 characters or more)"},
		"empty":              {"", "the secret is too short (want 16 characters or more)"},
		"with a line's end":  {adminToken + "\n", "the secret begins or ends with white space, with which no request could send it"},
		"with a space ahead": {" " + adminToken, "the secret begins or ends with white space, with which no request could send it"},
	} {
		stand.Secrets.Set(adminSecret, tt.value)
		token, err := c.AdminToken(t.Context())
		refused(t, name, err, named+tt.want)
		if err != nil && tt.value != "" && strings.Contains(err.Error(), strings.TrimSpace(tt.value)) || !token.Empty() {
			t.Errorf("%s: it is told: %v", name, err)
		}
	}
	stand.Secrets.SetBinary(adminSecret, []byte(adminToken))
	_, err = c.AdminToken(t.Context())
	refused(t, "bytes", err, named+"the secret holds bytes (want a text)")
	for code, want := range map[string]string{
		"ResourceNotFoundException": "there is no such secret in the region of the process, or it has no value yet: *",
		"AccessDeniedException":     "the role may not read it: allow secretsmanager:GetSecretValue, and kms:Decrypt for a key of your own: *",
		"DecryptionFailure":         "its KMS key does not open it: look at the key's state and policy: *",
		"InvalidRequestException":   "it cannot be read in its state: if it is scheduled for deletion, restore it: *",
		"ValidationException":       "Secrets Manager refused or failed: *",
	} {
		stand.Secrets.Refuse(code)
		_, err = c.AdminToken(t.Context())
		refused(t, code, err, named+want)
	}
}

// Nobody answers: each says which setting leads nowhere.
func TestUnreachable(t *testing.T) {
	_, _ = load(t)
	t.Setenv("AWS_ENDPOINT_URL", gone())
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	c := loaded(t, "SLUICE_KMS_KEY="+cloudtest.Key, "SLUICE_CONFIG_BUCKET="+cloudtest.Bucket, "SLUICE_ADMIN_SECRET="+adminSecret)
	_, err := c.Master(t.Context())
	refused(t, "KMS", err, "SLUICE_KMS_KEY: KMS key "+cloudtest.Key+": KMS could not be reached: look at the region, the VPC endpoint or NAT, and the role's credentials: *")
	_, err = c.ConfigLog(t.Context())
	refused(t, "S3", err, "SLUICE_CONFIG_BUCKET="+cloudtest.Bucket+": config log: list what is after s3://"+cloudtest.Bucket+"/config/000000000000.json: *")
	_, err = c.AdminToken(t.Context())
	refused(t, "Secrets Manager", err, "SLUICE_ADMIN_SECRET="+adminSecret+": Secrets Manager could not be reached: look at the region, the VPC endpoint or NAT, and the role's credentials: *")
}

func TestLoad(t *testing.T) {
	stand := cloudtest.Start(t)
	stand.Use()
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	_, err := cloud.Load(t.Context(), new(config.Config))
	refused(t, "no region", err, "AWS_REGION: unset, and there is no profile that names a region (want e.g. eu-central-1)")
	t.Setenv("AWS_CA_BUNDLE", "/nonexistent/ca.pem")
	_, err = cloud.Load(t.Context(), new(config.Config))
	refused(t, "no such bundle", err, "AWS configuration: *")
}
