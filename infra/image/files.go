package image

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// certificates is where Go looks for trusted roots on Linux first (crypto/x509,
// root_linux.go): no SSL_CERT_FILE is needed.
const certificates = "etc/ssl/certs/ca-certificates.crt"

// file is an entry of a layer, owned by root.
type file struct {
	name string // without a leading slash; with a trailing one it is a folder
	mode int64  // as chmod takes it
	body []byte
}

// system is what a process expects to find around it. /tmp is there so that a
// volume can be mounted on it where the rest is read-only.
func system() ([]file, error) {
	roots, err := roots()
	if err != nil {
		return nil, err
	}
	return []file{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, body: []byte("root:x:0:\nsluice:x:65532:\n")},
		{name: "etc/passwd", mode: 0o644, body: []byte("root:x:0:0:root:/:/sbin/nologin\nsluice:x:65532:65532:sluice:/:/sbin/nologin\n")},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: certificates, mode: 0o644, body: roots},
		{name: "tmp/", mode: 0o1777},
	}, nil
}

// roots are the root certificates that Mozilla trusts, in PEM.
//
// A few have a constraint that a certificate cannot express: Mozilla trusts what
// they issued up to a date, and nothing later. A PEM file would trust all of it,
// so these are left out: no endpoint that is well kept depends on an authority
// that is on its way out, and refusing one is seen at once, while trusting one
// too many is never seen.
func roots() ([]byte, error) {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, fmt.Errorf("image: certificates: %w", err)
		}
	}
	return out.Bytes(), nil
}

// pack writes files as a tar archive, in their order.
func pack(files []file) (tarball.Opener, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		header := &tar.Header{
			Typeflag: tar.TypeReg,
			Name:     f.name,
			Mode:     f.mode,
			Size:     int64(len(f.body)),
			ModTime:  epoch(),
			Format:   tar.FormatUSTAR, // the oldest that holds all of it, and has no room for anything else
		}
		if f.name[len(f.name)-1] == '/' {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.body); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil }, nil
}
