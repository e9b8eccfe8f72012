package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
)

// CloudAPIURL is how Prefect Cloud's API URL begins.
const CloudAPIURL = "https://api.prefect.cloud/api/accounts/"

var cloudAPIPath = regexp.MustCompile(`^/api/accounts/[0-9a-f-]{36}/workspaces/[0-9a-f-]{36}$`)

// hostName is a DNS name as resolvers take it: with underscores, which host names lack.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// isCloud reports whether a host is one of Prefect Cloud's.
func isCloud(host string) bool {
	return host == "prefect.cloud" || strings.HasSuffix(host, ".prefect.cloud")
}

// UIURL returns the address of the user interface that belongs to the Prefect API: of the workspace on
// Prefect Cloud, and the same without /api on a server. It is empty where the API is not known.
func (p Prefect) UIURL() string {
	if workspace, ok := strings.CutPrefix(p.APIURL, CloudAPIURL); ok {
		return "https://app.prefect.cloud/account/" + strings.Replace(workspace, "/workspaces/", "/workspace/", 1)
	}
	return strings.TrimSuffix(p.APIURL, "/api")
}

// api refuses a Prefect API that the worker could not reach. Prefect itself only warns of
// most of this and then fails with 404 at run time.
func (v *validator) api() {
	p := v.env.Prefect
	for _, option := range []struct{ key, value string }{
		{"prefect.account_id", p.AccountID}, {"prefect.workspace_id", p.WorkspaceID}, {"prefect.api_url", p.APIURL},
	} {
		if strings.Contains(option.value, "00000000-0000-0000-0000-000000000000") {
			v.reject(option.key, option.value, "this is the sample of the documentation and no id", formats["uuid"].fix)
		}
	}
	if p.APIURL == "" {
		return
	}
	if p.AccountID != "" || p.WorkspaceID != "" {
		v.reject("prefect.api_url", p.APIURL, "the URL stands alone or is derived from account_id and workspace_id", "remove either the URL or both ids")
	}
	const key = "prefect.api_url"
	u, err := url.Parse(p.APIURL)
	if err != nil {
		v.reject(key, p.APIURL, formats["api-url"].rule, formats["api-url"].fix)
		return
	}
	if u.Port() != "" {
		v.port(key, p.APIURL, u)
	}
	if isCloud(u.Hostname()) {
		if u.Scheme != "https" || u.Hostname() == "app.prefect.cloud" || u.Port() != "" || !cloudAPIPath.MatchString(u.Path) {
			v.reject(key, p.APIURL, "the API of Prefect Cloud is at "+CloudAPIURL+"<uuid>/workspaces/<uuid>, with accounts and workspaces in the plural; app.prefect.cloud is the web page",
				"remove the URL, and set prefect.account_id and prefect.workspace_id")
		}
	} else {
		v.host(key, p.APIURL, u.Hostname())
		if !strings.HasSuffix(u.Path, "/api") {
			v.reject(key, p.APIURL, "the URL of a self-hosted API ends in /api", "write "+u.Scheme+"://"+u.Host+"/api")
		}
	}
}

// port rejects a URL whose port is none.
func (v *validator) port(key, text string, u *url.URL) {
	if port, err := strconv.Atoi(u.Port()); err != nil || port < 1 || port > 65535 {
		v.reject(key, text, "a port is a number from 1 to 65535", "correct the port")
	}
}

// hostSyntax rejects what is neither an address nor the name of a host.
func (v *validator) hostSyntax(key, text, host string) {
	name := strings.TrimSuffix(host, ".")
	if _, isAddress := parseAddress(host); !isAddress && (!hostName.MatchString(name) || len(name) > formats["dns-name"].longest) {
		v.reject(key, text, "a host is an IP address, or a DNS name of at most 253 characters with parts of at most 63, the last of which is no number", "correct the name of the host")
	}
}

// host rejects a host to which no task can connect.
func (v *validator) host(key, text, host string) {
	v.hostSyntax(key, text, host)
	if why := v.env.unreachable(host); why != "" {
		v.reject(key, text, "a task on Fargate cannot reach "+why, "name an address that the VPC can reach, or use network.existing with a VPC that reaches it; to try the worker on this machine, run make local", "network.vpc_cidr")
	}
}

// within reports whether a host is in a DNS zone, whose case DNS ignores.
func within(host, zone string) bool {
	host, zone = strings.ToLower(host), strings.ToLower(zone)
	return host == zone || strings.HasSuffix(host, "."+zone)
}

// unreachable returns why no task in the VPC can reach a host, or nothing. Names: RFC 6761
// (localhost, invalid), RFC 6762 (local), RFC 8375 (home.arpa), and those of Docker Desktop
// and Kubernetes. A VPC that exists may have private zones, and routes to other networks.
// Addresses: RFC 6890; the VPC has no IPv6.
func (e *Environment) unreachable(host string) string {
	if e.LocalRun {
		return "" // nothing runs in AWS
	}
	host = strings.TrimSuffix(host, ".")
	inside := func(zones ...string) bool {
		return slices.ContainsFunc(zones, func(zone string) bool { return within(host, zone) })
	}
	if ip, isAddress := parseAddress(host); isAddress {
		vpc, err := netip.ParsePrefix(e.Network.VPCCIDR)
		switch {
		case ip.IsLoopback() || ip.IsUnspecified():
			return "this machine's own address"
		case ip.IsLinkLocalUnicast():
			return "a link-local address, which means its own host"
		case ip.Is6():
			return "an IPv6 address: the VPC has none"
		case private(ip) && !e.Network.Exists() && err == nil && !vpc.Contains(ip):
			return "a private address to which the program's own VPC, " + e.Network.VPCCIDR + ", has no route"
		}
		for _, reserved := range reservedRanges {
			if reserved.prefix.Contains(ip) {
				return fmt.Sprintf("an address in %s, which is reserved for %s", reserved.prefix, reserved.use)
			}
		}
		return ""
	}
	switch {
	case inside("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"):
		return "this machine's own address"
	case inside("docker.internal", "docker.for.mac.localhost", "docker.for.win.localhost"):
		return "a name of Docker Desktop"
	case inside(e.Cluster.Namespace):
		return ""
	case !strings.Contains(host, "."):
		return "a name without a domain: no search list of the VPC completes it"
	case inside("svc", "invalid"):
		return "a name that no DNS server has"
	case inside("local", "localdomain", "lan", "home.arpa") && !e.Network.Exists():
		return "a name of a local network other than the VPC's own, " + e.Cluster.Namespace
	}
	return ""
}

// unrouted are the ranges that no route of the internet leads to, beside those of RFC 1918: shared addresses of
// providers (RFC 6598), documentation (RFC 5737) and benchmarks (RFC 2544). A VPC may have them.
var unrouted = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24")}

// private reports whether an address is one of a private network.
func private(ip netip.Addr) bool {
	return ip.IsPrivate() || slices.ContainsFunc(unrouted, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// parseAddress reads an IP address in all the forms that resolvers take (inet_aton): 127.1,
// 2130706433, 0x7f.0.0.1 and 0177.0.0.1 are all 127.0.0.1.
func parseAddress(host string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), true
	}
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var all uint64
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts)) // the last part fills what is left
		}
		n, err := strconv.ParseUint(part, 0, bits)
		if goOnly := strings.HasPrefix(part, "0b") || strings.HasPrefix(part, "0o") || strings.Contains(part, "_"); err != nil || goOnly {
			return netip.Addr{}, false
		}
		all = all<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(all >> 24), byte(all >> 16), byte(all >> 8), byte(all)}), true
}

// namespace refuses a private DNS namespace that hides names which the worker needs: in the
// VPC a private zone answers for all names below it, and holds only its own ("Considerations
// when working with a private hosted zone" in the Route 53 Developer Guide).
func (v *validator) namespace() {
	e := v.env
	namespace := e.Cluster.Namespace
	if !e.Cluster.Namespaced() {
		return
	}
	for _, special := range []string{"localhost", "invalid", "arpa"} { // RFC 6761
		if within(namespace, special) {
			v.reject("cluster.namespace", namespace, "resolvers look up no name in "+special+" as others", "write for example default.prefect.local")
		}
	}
	for _, host := range e.hosts() {
		if within(host, namespace) {
			v.reject("cluster.namespace", namespace, "a private namespace hides all other names in it from the VPC, and a task needs "+host,
				"choose a name that nobody else uses, for example default.prefect.local", "prefect.api_url", "worker.image")
		}
	}
}

// hosts returns the names that a task looks up and that cannot be registered in the namespace before it runs.
func (e *Environment) hosts() []string {
	var hosts []string
	if u, err := url.Parse(e.Prefect.APIURL); e.Server.Enabled {
		// It is in the namespace, and in no public zone.
	} else if e.Prefect.APIURL == "" {
		hosts = append(hosts, "api.prefect.cloud")
	} else if err == nil && !privateName.MatchString(u.Hostname()) {
		hosts = append(hosts, u.Hostname())
	}
	for _, image := range []string{e.Worker.Image, e.WorkPool.Job.Image} {
		named, err := reference.ParseNormalizedNamed(image)
		if err != nil {
			continue
		}
		registry := reference.Domain(named)
		hosts = append(hosts, strings.Split(registry, ":")[0])
		if registry == "docker.io" {
			hosts = append(hosts, "registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com")
		}
	}
	if partition, known := awsRegions[e.Region]; known {
		for _, need := range append(e.neededEndpoints(), need{endpoint: "s3"}) {
			hosts = append(hosts, need.endpoint.host(e.Region, partition.DNSSuffix()))
		}
	}
	if u, err := url.Parse(e.Network.Proxy); err == nil && e.Network.Proxy != "" {
		hosts = append(hosts, u.Hostname())
	}
	if e.Server.Enabled && !e.Server.OwnDatabase() {
		hosts = append(hosts, e.Server.Database.ExistingHost)
	}
	if len(e.PipPackages()) > 0 {
		hosts = append(hosts, "pypi.org", "files.pythonhosted.org")
	}
	return hosts
}

// privateName are names that no public zone has, so that a service may be registered there.
var privateName = regexp.MustCompile(`\.(local|internal|test|home\.arpa)$`)

// authentication refuses ways of authentication that the API or the image's Prefect lacks.
func (v *validator) authentication() {
	p := v.env.Prefect
	if p.Authentication == AuthAPIKey || v.env.Server.Enabled { // what a server of one's own takes: server
		return
	}
	u, err := url.Parse(p.APIURL)
	if err != nil || p.APIURL == "" || isCloud(u.Hostname()) {
		v.reject("prefect.authentication", p.Authentication, "Prefect Cloud, which is the API where no prefect.api_url says otherwise, takes only API keys", "set prefect.api_url to that of your own server, or remove prefect.authentication", "prefect.api_url")
	}
	// PREFECT_API_AUTH_STRING came with Prefect 3.
	if runtime, err := v.env.Worker.Runtime(); err == nil && p.Authentication == AuthBasic && runtime.Major() < 3 {
		v.reject("prefect.authentication", p.Authentication, fmt.Sprintf("Prefect %d cannot send user and password", runtime.Major()), "use an image with Prefect 3, for example prefecthq/prefect:3-latest", "worker.image")
	}
	v.withoutSecret()
}

// withoutSecret refuses settings of a secret that there is not.
func (v *validator) withoutSecret() {
	if v.env.Prefect.Authentication != AuthNone {
		return
	}
	without := func(keys ...string) {
		v.rejectIgnored("without authentication there is no secret", "remove it, or set prefect.authentication to api_key or basic", keys...)
	}
	without("secret.name", "secret.existing_arn", "secret.json_key", "secret.version")
	// The database of an in-stack server has a secret in any case.
	if s := v.env.Server; !s.Enabled {
		without("secret.recovery_window_days", "secret.kms_key_arn")
	} else if !s.OwnDatabase() {
		without("secret.recovery_window_days")
	}
}

func (v *validator) secret() {
	s := v.env.Secret
	if s.ExistingARN != "" {
		v.rejectIgnored("the program makes no secret where existing_arn names one", "remove it, or existing_arn", "secret.name", "secret.recovery_window_days")
	} else if s.JSONKey != "" {
		v.reject("secret.json_key", s.JSONKey, "the secret that the program creates holds the key alone", "remove json_key, or set existing_arn")
	}
}

// APIPort returns the TCP port of a Prefect API URL: the one it names, or 80 for http and
// 443 for https. 443 for an empty URL, which stands for Prefect Cloud.
func APIPort(apiURL string) int {
	u, err := url.Parse(apiURL)
	if err != nil || apiURL == "" {
		return 443
	}
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return port
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

// RemoteAPIPort returns the TCP port of a Prefect API outside of the stack, 0 for the in-stack server.
func (e *Environment) RemoteAPIPort() int {
	if e.Server.Enabled {
		return 0
	}
	return APIPort(e.Prefect.APIURL)
}
