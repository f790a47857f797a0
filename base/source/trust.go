package source

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// ofMachine are the options that use files, credentials or agents of the
// machine that reads, or name a server in words of their own.
var ofMachine = []string{
	"env_auth", "profile", "shared_credentials_file", "service_account_file", "client_certificate_path", "use_msi", "msi_object_id",
	"msi_client_id", "msi_mi_res_id", "use_emulator", "connection_string", "key_file", "pubkey_file", "known_hosts_file", "key_use_agent",
}

// Private says what of the reading machine, or of the network around it, a
// source would use: its files, its credentials, a server that is not public.
// "" is nothing, so that the source may be named by anybody. Host names are
// looked up; one that is unknown is Invalid.
func (s Spec) Private(ctx context.Context) (what string, err error) {
	p, err := parseURL(s.URL)
	if err != nil {
		return "", err
	}
	if p.kind == "local" {
		return "a path of the node", nil
	}
	for name, value := range s.Options {
		if slices.Contains(ofMachine, name) && value != "" && value != "false" {
			return "the option " + name, nil
		}
	}
	if p.kind == "sftp" && s.Options["pass"] == "" && p.options["pass"] == "" && s.Options["key_pem"] == "" {
		return "the keys of the node", nil
	}
	for _, host := range s.hosts(p) {
		public, err := isPublic(ctx, host)
		if err != nil {
			return "", err
		}
		if !public {
			return "a server that is not public", nil
		}
	}
	return "", nil
}

// hosts lists the servers that the URL and the options name.
func (s Spec) hosts(p place) (all []string) {
	named := []string{s.Options["endpoint"], s.Options["sas_url"], s.Options["host"]}
	if !slices.Contains([]string{"s3", "google cloud storage", "azureblob"}, p.kind) {
		named = append(named, strings.TrimPrefix(s.URL, "webdav+"))
	}
	for _, address := range named {
		if host := hostOf(address); host != "" {
			all = append(all, host)
		}
	}
	return all
}

// hostOf returns the host of an address with or without a scheme.
func hostOf(address string) string {
	if address == "" {
		return ""
	}
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Hostname()
}

// isPublic reports whether all addresses of a host are on the open Internet.
func isPublic(ctx context.Context, host string) (bool, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false, fault.New(fault.Invalid, "source: host %.200q: %w", host, err)
	}
	return !slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		a = a.Unmap()
		return !a.IsGlobalUnicast() || a.IsPrivate() || slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
	}), nil
}

// notPublic are ranges beside the private ones: this network (RFC 1122),
// carrier NAT (RFC 6598), protocol assignments (RFC 6890), benchmarks
// (RFC 2544), reserved (RFC 1112), NAT64 (RFC 6052), which may lead to any.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
}
