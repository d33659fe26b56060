package egress

import "net/netip"

// classify says what an address is. An IPv6 address that carries an IPv4 one (in
// the compatible, NAT64, 6to4, Teredo or ISATAP way) is what the carried one is.
func classify(ip netip.Addr) kind {
	if ip.Is4() {
		return classify4(ip.As4())
	}
	b := ip.As16()
	switch {
	case ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast():
		return forbidden
	case ip.IsLoopback():
		return private
	case b[0] == 0xfd && b[1] == 0x00 && b[2] == 0x0e && b[3] == 0xc2: // fd00:ec2::/32, the services of an EC2 host
		return forbidden
	case ip.IsPrivate(), b[0] == 0xfe && b[1]&0xc0 == 0xc0: // unique local; the old site-local
		return private
	}
	if worst, carries := carried(b); carries {
		return worst
	}
	return public
}

// carried classifies the IPv4 addresses within an IPv6 address.
func carried(b [16]byte) (kind, bool) {
	last := [4]byte(b[12:16])
	switch {
	case [12]byte(b[:12]) == [12]byte{}: // ::a.b.c.d
		return classify4(last), true
	case [12]byte(b[:12]) == [12]byte{0x00, 0x64, 0xff, 0x9b}: // 64:ff9b::/96
		return classify4(last), true
	case [6]byte(b[:6]) == [6]byte{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}: // 64:ff9b:1::/48, NAT64 of the local network
		return worse(private, classify4(last)), true
	case b[0] == 0x20 && b[1] == 0x02: // 2002::/16
		return classify4([4]byte(b[2:6])), true
	case [4]byte(b[:4]) == [4]byte{0x20, 0x01}: // 2001::/32, server and inverted client
		client := [4]byte{^b[12], ^b[13], ^b[14], ^b[15]}
		return worse(classify4([4]byte(b[4:8])), classify4(client)), true
	case b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP
		return classify4(last), true
	}
	return public, false
}

func worse(a, b kind) kind {
	if a == forbidden || b == public {
		return a
	}
	return b
}

func classify4(b [4]byte) kind {
	switch {
	case b[0] == 0, b[0] >= 224: // this network; multicast, reserved, broadcast
		return forbidden
	case b[0] == 169 && b[1] == 254: // link-local, which has AWS's metadata and credential services
		return forbidden
	case b[0] == 192 && b[1] == 0 && b[2] == 0: // protocol assignments, which have Oracle's metadata service
		return forbidden
	case b == [4]byte{100, 100, 100, 200}, b == [4]byte{168, 63, 129, 16}: // Alibaba's and Azure's host services
		return forbidden
	case b[0] == 127, b[0] == 10, b[0] == 172 && b[1]&0xf0 == 16, b[0] == 192 && b[1] == 168:
		return private
	case b[0] == 100 && b[1]&0xc0 == 64: // carrier-grade NAT
		return private
	case b[0] == 198 && b[1]&0xfe == 18: // benchmarking
		return private
	}
	return public
}
