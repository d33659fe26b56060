package egress

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"sluice/shared/fault"
)

func TestGuardJudgesAddresses(t *testing.T) {
	const (
		always     = "refused"
		ifPrivate  = "private only"
		everywhere = "reached"
	)
	for ip, want := range map[string]string{
		"1.1.1.1": everywhere, "2606:4700::1111": everywhere, "172.15.0.1": everywhere, "172.32.0.1": everywhere,
		"100.63.0.1": everywhere, "100.128.0.1": everywhere, "192.0.1.1": everywhere, "2001:4860::1": everywhere,

		"169.254.169.254": always, "169.254.170.2": always, "169.254.170.23": always, "169.254.0.1": always,
		"fd00:ec2::254": always, "fd00:ec2::23": always, "fe80::1": always, "fe80::1%eth0": always, "febf::1": always,
		"0.0.0.0": always, "0.1.2.3": always, "::": always, "224.0.0.1": always, "255.255.255.255": always, "240.0.0.1": always,
		"ff02::1": always, "192.0.0.192": always, "100.100.100.200": always, "168.63.129.16": always,

		// the same within IPv6
		"::ffff:169.254.169.254": always, "::ffff:a9fe:a9fe": always, "::169.254.169.254": always,
		"64:ff9b::169.254.169.254": always, "64:ff9b:1::169.254.169.254": always, "2002:a9fe:a9fe::1": always,
		"2001:0:a9fe:a9fe::1": always, "2001:0:102:304::5601:5601": always, "2600::5efe:a9fe:a9fe": always, "2600::200:5efe:a9fe:a9fe": always,
		"::ffff:0.0.0.0": always, "::ffff:224.0.0.1": always,

		"127.0.0.1": ifPrivate, "127.1.2.3": ifPrivate, "::1": ifPrivate, "10.0.0.1": ifPrivate, "172.16.0.1": ifPrivate,
		"172.31.255.255": ifPrivate, "192.168.1.1": ifPrivate, "100.64.0.1": ifPrivate, "100.127.0.1": ifPrivate, "198.18.0.1": ifPrivate,
		"fc00::1": ifPrivate, "fd12:3456::1": ifPrivate, "fec0::1": ifPrivate,
		"::ffff:10.0.0.1": ifPrivate, "::ffff:127.0.0.1": ifPrivate, "::10.0.0.1": ifPrivate, "64:ff9b::10.0.0.1": ifPrivate,
		"64:ff9b:1::8.8.8.8": ifPrivate, "2002:0a00:0001::1": ifPrivate, "2001:0:102:304::f5ff:fffe": ifPrivate,
		"64:ff9b::8.8.8.8": everywhere, "2002:0808:0808::1": everywhere,
	} {
		address := net.JoinHostPort(ip, "443")
		refused, allowed := guard{}.address(address), guard{private: true}.address(address)
		got := everywhere
		switch {
		case refused != nil && allowed != nil:
			got = always
		case refused != nil:
			got = ifPrivate
		case allowed != nil:
			got = "refused where it is private"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
		if refused != nil && fault.CodeOf(refused) != fault.UpstreamFailed {
			t.Errorf("%s: %v", ip, refused)
		}
	}
	if err := (guard{private: true}).address("example.test:443"); err == nil {
		t.Error("an address that is none was let pass")
	}
}

func TestGuardJudgesHosts(t *testing.T) {
	for host, want := range map[string][2]bool{ // reached publicly, reached privately
		"api.example.test": {true, true}, "8.8.8.8": {true, true}, "2606:4700::1111": {true, true}, "": {true, true},
		"1.2.3.4.5": {true, true}, "0x": {true, true}, "256.1.1.1": {true, true}, "1_0.0.0.1": {true, true}, "4294967296": {true, true},
		"169.254.169.254": {false, false}, "169.254.169.254.": {false, false}, "2852039166": {false, false}, "0xa9fea9fe": {false, false},
		"0xA9.0xFE.0xA9.0xFE": {false, false}, "0251.0376.0251.0376": {false, false}, "169.16689662": {false, false}, "169.254.43518": {false, false},
		"025177524776": {false, false}, "::ffff:169.254.169.254": {false, false}, "::ffff:a9fe:a9fe": {false, false}, "fd00:ec2::254": {false, false},
		"0": {false, false}, "metadata": {false, false}, "metadata.google.internal": {false, false}, "Metadata.Google.Internal.": {false, false},
		"instance-data": {false, false}, "instance-data.ec2.internal": {false, false},
		"localhost": {false, true}, "LOCALHOST.": {false, true}, "a.localhost": {false, true}, "127.1": {false, true}, "2130706433": {false, true},
		"017700000001": {false, true}, "::1": {false, true}, "10.1": {false, true},
	} {
		if got := guard.host(guard{}, host) == nil; got != want[0] {
			t.Errorf("%q publicly: %v", host, got)
		}
		if got := guard.host(guard{private: true}, host) == nil; got != want[1] {
			t.Errorf("%q privately: %v", host, got)
		}
	}
}

// What the guard lets pass as a host, it does not refuse as an address, and it
// never lets the metadata service pass.
func FuzzGuard(f *testing.F) {
	f.Add("2852039166", []byte{169, 254, 169, 254})
	f.Add("[::1]", []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xa9\xfe\xa9\xfe"))
	f.Fuzz(func(t *testing.T, host string, b []byte) {
		_ = guard{}.host(host) // whatever it is
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		byAddress := guard{}.address(net.JoinHostPort(ip.String(), "1"))
		byHost := guard{}.host(strings.ToUpper(ip.String()))
		if (byAddress == nil) != (byHost == nil) {
			t.Fatalf("%s: as an address %v, as a host %v", ip, byAddress, byHost)
		}
		mapped := netip.AddrFrom16(ip.As16())
		if again := (guard{}).address(net.JoinHostPort(mapped.String(), "1")); (again == nil) != (byAddress == nil) {
			t.Fatalf("%s: %v, mapped %v", ip, byAddress, again)
		}
	})
}

func BenchmarkGuard(b *testing.B) {
	g := guard{}
	for b.Loop() {
		if g.host("api.example.test") != nil || g.address("1.1.1.1:443") != nil {
			b.Fatal("refused")
		}
	}
}
