package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"sluice/shared/fault"
)

// guard says which addresses may be reached.
type guard struct{ private bool }

// address judges a resolved address, ip:port, as it is about to be dialled.
func (g guard) address(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return refused(fmt.Errorf("dialling %q: %w", address, err))
	}
	return g.ip(ap.Addr())
}

// host judges the host of a URL before any of it is resolved. A proxy resolves
// names by itself and may well read spellings of addresses that Go does not.
func (g guard) host(host string) error {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if ip, ok := literal(name); ok {
		return g.ip(ip)
	}
	switch {
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		if !g.private {
			return refused(fmt.Errorf("%s is this machine", name))
		}
	case name == "metadata" || name == "instance-data" || strings.HasPrefix(name, "metadata.google.") || name == "instance-data.ec2.internal":
		return refused(fmt.Errorf("%s is a metadata service", name))
	}
	return nil
}

func (g guard) ip(ip netip.Addr) error {
	kind := classify(ip.WithZone("").Unmap())
	if kind == public || kind == private && g.private {
		return nil
	}
	return refused(fmt.Errorf("%s is %s", ip, kind))
}

// errRefused is the cause of every refusal of the guard.
var errRefused = errors.New("the address may not be reached")

func refused(why error) error {
	return fault.Wrap(fault.UpstreamFailed, errors.Join(errRefused, why), "the account's address may not be reached from here")
}

// kind is what an address is, as far as the guard cares.
type kind string

const (
	public    kind = "public"
	private   kind = "private" // reachable where the account says so
	forbidden kind = "link-local, a metadata service, unspecified, multicast or reserved"
)

// literal reads a host that is an address. No name has a colon, or a last label
// that begins with a digit.
func literal(host string) (netip.Addr, bool) {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.IndexByte(host, ':') < 0 && (last == "" || last[0] < '0' || last[0] > '9') {
		return netip.Addr{}, false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip, true
	}
	return legacyIPv4(host)
}

// legacyIPv4 reads the spellings that inet_aton takes: one to four parts, each
// decimal, octal or hexadecimal, the last filling what is left.
func legacyIPv4(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 0, 32)
		if err != nil || strings.ContainsRune(part, '_') {
			return netip.Addr{}, false
		}
		if i < len(parts)-1 {
			if n > 0xff {
				return netip.Addr{}, false
			}
			value |= n << (24 - 8*i)
			continue
		}
		if n >= 1<<(8*(4-i)) {
			return netip.Addr{}, false
		}
		value |= n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}
