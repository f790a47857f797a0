package unconfigured

import "os"

// variable names rclone's configuration file.
const variable = "RCLONE_CONFIG"

// named says that the environment names a file because we said so.
var named = name()

func name() bool {
	if _, other := os.LookupEnv(variable); other {
		return false
	}
	return os.Setenv(variable, "") == nil
}

// Done takes back what was said, once the library is initialised: processes that
// are started later need not hear of it.
func Done() {
	if value, still := os.LookupEnv(variable); named && still && value == "" {
		_ = os.Unsetenv(variable)
	}
}
