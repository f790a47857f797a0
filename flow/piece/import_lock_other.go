//go:build !unix

package piece

import "os"

// lock trusts the leases of imports: there are no locks of files here.
func lock(*os.File) bool { return true }
