package source

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// settings are the options of ours, the same for every remote source.
type settings struct {
	retries int           // "retries": how often one request is tried again
	timeout time.Duration // "timeout": without a byte, after which a connection counts as dropped
	wait    time.Duration // "retry_wait": before the first retry; doubles with each
	stall   time.Duration // "stall": without a byte, after which a read of a mount counts as lost
	ordered bool          // "ordered": a bucket lists its keys in byte order
}

// allowed are rclone's options that a Spec may set. What would run a program,
// ask at the terminal, or write is left out.
var allowed = map[string]string{
	"s3": "provider access_key_id secret_access_key session_token env_auth profile shared_credentials_file region endpoint location_constraint " +
		"role_arn role_session_name role_session_duration role_external_id force_path_style v2_auth use_dual_stack use_accelerate_endpoint " +
		"use_arn_region list_chunk list_version list_url_encode requester_pays disable_http2 sign_accept_encoding use_x_id " +
		"sse_customer_algorithm sse_customer_key sse_customer_key_base64 sse_customer_key_md5",
	"google cloud storage": "service_account_credentials service_account_file access_token anonymous env_auth project_number user_project endpoint",
	"azureblob": "account key sas_url connection_string env_auth tenant client_id client_secret client_certificate_path client_certificate_password " +
		"username password use_msi msi_object_id msi_client_id msi_mi_res_id use_emulator endpoint list_chunk",
	"sftp": "user pass port key_pem key_file key_file_pass pubkey pubkey_file key_use_agent known_hosts_file host_keys host_key_algorithms " +
		"use_insecure_cipher disable_concurrent_reads chunk_size concurrency connections ciphers key_exchange macs idle_timeout",
	"webdav": "vendor user pass bearer_token headers",
	"http":   "headers user pass bearer_token",
}

// readOptions splits a Spec's options into ours and those of the back end,
// where what the URL says is the default.
func readOptions(p place, given map[string]string) (settings, map[string]string, error) {
	set := settings{retries: 8, timeout: time.Minute, stall: 5 * time.Minute, wait: 250 * time.Millisecond, ordered: true}
	options := map[string]string{}
	for name, value := range p.options {
		options[name] = value
	}
	may := strings.Fields(allowed[p.kind])
	for name, value := range given {
		known, err := set.take(name, value)
		if err != nil {
			return set, nil, err
		}
		if known {
			continue
		}
		if !slices.Contains(may, name) {
			slices.Sort(may)
			return set, nil, fault.New(fault.Invalid, "option %q: unknown here: use retries, timeout, stall, retry_wait%s", name, listed(may))
		}
		options[name] = value
	}
	return set, options, nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ", " + strings.Join(names, ", ")
}

// take reads one of our own options.
func (s *settings) take(name, value string) (known bool, err error) {
	switch name {
	case "retries":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > 1000 {
			return true, fault.New(fault.Invalid, "option retries=%q: give a number from 0 to 1000", value)
		}
		s.retries = n
	case "timeout", "stall", "retry_wait":
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 || d > 24*time.Hour {
			return true, fault.New(fault.Invalid, "option %s=%q: give a duration such as 30s or 5m, at most 24h", name, value)
		}
		*map[string]*time.Duration{"timeout": &s.timeout, "stall": &s.stall, "retry_wait": &s.wait}[name] = d
	case "ordered":
		b, err := strconv.ParseBool(value)
		if err != nil {
			return true, fault.New(fault.Invalid, "option ordered=%q: give true or false", value)
		}
		s.ordered = b
	default:
		return false, nil
	}
	return true, nil
}
