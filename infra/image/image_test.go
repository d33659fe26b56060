package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"sluice/infra/image"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// executable is the smallest thing that is an ELF executable with one program
// header of a kind.
func executable(t testing.TB, kind elf.Type, machine elf.Machine, header elf.ProgType) []byte {
	t.Helper()
	var out bytes.Buffer
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	for _, part := range []any{
		elf.Header64{Ident: ident, Type: uint16(kind), Machine: uint16(machine), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1},
		elf.Prog64{Type: uint32(header)},
	} {
		if err := binary.Write(&out, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func write(t testing.TB, body []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "streamer")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func build(t testing.TB, o image.Options) v1.Image {
	t.Helper()
	img, err := image.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// small is an image that is made quickly.
func small(t testing.TB) v1.Image {
	return build(t, image.Options{Binary: write(t, executable(t, elf.ET_EXEC, elf.EM_AARCH64, elf.PT_LOAD))})
}

// TestContent holds what an image is made of against a text.
func TestContent(t *testing.T) {
	img := small(t)
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.RootFS.DiffIDs = nil // they change with the certificates
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s\n\nmanifest %s\nconfig %s\n", text, manifest.MediaType, manifest.Config.MediaType)
	for i, layer := range manifest.Layers {
		got += fmt.Sprintf("\nlayer %d %s\n", i+1, layer.MediaType)
		for _, f := range listing(t, img, i) {
			got += fmt.Sprintf("%s %d:%d %s %7d %s\n", fs.FileMode(f.Mode&0o777), f.Uid, f.Gid, f.ModTime.UTC().Format("2006-01-02"), f.Size, f.Name)
			if f.Mode&0o1000 != 0 {
				got += "  (sticky)\n"
			}
		}
	}
	golden(t, "image.txt", got)
}

// listing are the entries of a layer.
func listing(t *testing.T, img v1.Image, layer int) []*tar.Header {
	t.Helper()
	var all []*tar.Header
	each(t, img, layer, func(h *tar.Header, _ io.Reader) { all = append(all, h) })
	return all
}

func each(t *testing.T, img v1.Image, layer int, fn func(*tar.Header, io.Reader)) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	in, err := layers[layer].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for archive := tar.NewReader(in); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		fn(h, archive)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update rewrites it); got:\n%s", path, got)
	}
}

// TestSameDigest builds twice, from two copies of a file with other times and
// modes; and once from another file.
func TestSameDigest(t *testing.T) {
	body := executable(t, elf.ET_EXEC, elf.EM_AARCH64, elf.PT_LOAD)
	first, second, other := write(t, body), write(t, body), write(t, append(body, 0))
	if err := os.Chmod(second, 0o700); err != nil {
		t.Fatal(err)
	}
	digest := func(path string) string {
		h, err := build(t, image.Options{Binary: path, Labels: map[string]string{"b": "2", "a": "1"}}).Digest()
		if err != nil {
			t.Fatal(err)
		}
		return h.String()
	}
	if a, b := digest(first), digest(second); a != b {
		t.Errorf("two builds of one binary are %s and %s", a, b)
	}
	if digest(first) == digest(other) {
		t.Error("images of two binaries have one digest")
	}
}

// TestRealBinary builds an executable as the Makefile does and finds it in the
// image, byte for byte.
func TestRealBinary(t *testing.T) {
	dir := t.TempDir()
	source, path := filepath.Join(dir, "main.go"), filepath.Join(dir, "streamer")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, source)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	img := build(t, image.Options{Binary: path})
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	each(t, img, 1, func(h *tar.Header, r io.Reader) {
		got, err := io.ReadAll(r)
		if err != nil || h.Name != "streamer" || !bytes.Equal(got, want) {
			t.Errorf("%s is not the binary (%v)", h.Name, err)
		}
	})
}

func TestBinariesThatCannotRun(t *testing.T) {
	arm := executable(t, elf.ET_EXEC, elf.EM_AARCH64, elf.PT_LOAD)
	for name, c := range map[string]struct {
		body []byte
		arch string
		want string // in the error
	}{
		"another machine":  {executable(t, elf.ET_EXEC, elf.EM_X86_64, elf.PT_LOAD), "", "is for machine EM_X86_64, the image is for arm64 (EM_AARCH64); build it with GOOS=linux GOARCH=arm64 CGO_ENABLED=0"},
		"the other way":    {arm, "amd64", "is for machine EM_AARCH64, the image is for amd64 (EM_X86_64); build it with GOOS=linux GOARCH=amd64"},
		"shared libraries": {executable(t, elf.ET_DYN, elf.EM_AARCH64, elf.PT_INTERP), "", "linked against shared libraries"},
		"an object file":   {executable(t, elf.ET_REL, elf.EM_AARCH64, elf.PT_LOAD), "", "is no executable but of type ET_REL"},
		"another system":   {[]byte("\xcf\xfa\xed\xfe, a Mach-O file"), "", "is no Linux executable; build it with"},
		"empty":            {nil, "", "is no Linux executable"},
		"no architecture":  {arm, "riscv64", `architecture "riscv64" (want arm64 or amd64)`},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, c.body)
			_, err := image.Build(image.Options{Binary: path, Arch: c.arch})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want the path and %q", err, c.want)
			}
		})
	}
	if _, err := image.Build(image.Options{Binary: "missing"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing binary: %v", err)
	}
}

// TestRoots reads the certificates as crypto/x509 does, and finds the authorities
// of the vendors that matter.
func TestRoots(t *testing.T) {
	var text []byte
	each(t, small(t), 0, func(h *tar.Header, r io.Reader) {
		if h.Name == "etc/ssl/certs/ca-certificates.crt" {
			var err error
			if text, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	})
	names := map[string]bool{}
	for len(text) > 0 {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			t.Fatalf("%d bytes at the end are no PEM", len(text))
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		names[certificate.Subject.CommonName] = true
	}
	for _, want := range []string{"Amazon Root CA 1", "GTS Root R1", "GTS Root R4", "ISRG Root X1", "DigiCert Global Root G2"} {
		if !names[want] {
			t.Errorf("%s is not among %d roots", want, len(names))
		}
	}
}

func TestReference(t *testing.T) {
	for region, want := range map[string]string{
		"eu-west-1":      "123456789012.dkr.ecr.eu-west-1.amazonaws.com/cdk-hnb659fds-container-assets-123456789012-eu-west-1@sha256:ab",
		"cn-north-1":     "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/cdk-hnb659fds-container-assets-123456789012-cn-north-1@sha256:ab",
		"eusc-de-east-1": "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu/cdk-hnb659fds-container-assets-123456789012-eusc-de-east-1@sha256:ab",
		"us-gov-west-1":  "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com/cdk-hnb659fds-container-assets-123456789012-us-gov-west-1@sha256:ab",
	} {
		if got := image.Reference("123456789012", region, image.DefaultQualifier, "sha256:ab"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", region, got, want)
		}
	}
}

// FuzzBuild feeds what is no executable: an error or an image, never a panic.
func FuzzBuild(f *testing.F) {
	f.Add(executable(f, elf.ET_EXEC, elf.EM_AARCH64, elf.PT_LOAD))
	f.Add(executable(f, elf.ET_DYN, elf.EM_AARCH64, elf.PT_INTERP))
	f.Add([]byte("\x7fELF"))
	path := filepath.Join(f.TempDir(), "streamer")
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
		img, err := image.Build(image.Options{Binary: path})
		if (img == nil) == (err == nil) {
			t.Errorf("image %v, error %v", img, err)
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	// 8 MB that compress about as a binary does.
	body := executable(b, elf.ET_EXEC, elf.EM_AARCH64, elf.PT_LOAD)
	for i := 0; len(body) < 8<<20; i++ {
		body = fmt.Appendf(body, "%x", i*2654435761)
	}
	path := write(b, body)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		build(b, image.Options{Binary: path})
	}
}
