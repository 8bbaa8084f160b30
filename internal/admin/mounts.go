package admin

// Mount is one line of /mounts: an engine that clients' requests made known, and what
// kind of cluster its requests need.
type Mount struct {
	Namespace string   `json:"namespace"`
	Path      string   `json:"path"`
	Type      string   `json:"type"`
	Local     bool     `json:"local"`
	Reads     []string `json:"reads"`  // classes of the operations that read
	Writes    []string `json:"writes"` // and of those that write
}
