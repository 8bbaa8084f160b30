package routing

// Class says what kind of cluster a request needs.
type Class string

// The classes; the contract's words.
const (
	Nearest  Class = "nearest"  // any serving cluster; the nearest is best
	Primary  Class = "primary"  // changes replicated storage
	Owner    Class = "owner"    // only the cluster that issued what the request names
	Operator Class = "operator" // one cluster or node, by a person's choice
)

// Effect says what sending a request twice would do.
type Effect uint8

// The effects. Anything that is not Repeatable is never sent again once it may
// have been received.
const (
	Once       Effect = iota // something would happen twice
	Repeatable               // reads and pure computations
)

// Subject says which thing's home an owner request has to go to.
type Subject uint8

// The subjects. What is in the body may also be in a form or in the query, as the
// operation has it.
const (
	NoSubject       Subject = iota
	CallerToken             // the token that the request carries
	BodyToken               // the token in the body's "token"
	BodyAccessor            // the accessor in the body's "accessor"
	BodyLease               // the lease in the body's "lease_id", or at the end of the path
	WrappingToken           // the wrapping token in the body's "token", else the one the request carries
	Serial                  // a certificate, by "serial_number" or in the path
	OneTimePassword         // the password in the body's "otp"
	MFARequest              // a login that waits for its second factor, by "mfa_request_id"
	OIDCState               // an OIDC login on its way, by its "state"
	OIDCCode                // an authorization code of Vault's OIDC provider, by "code"
	ACMEAccount             // the ACME account, or the EAB key, that signed the body
	EABKey                  // the EAB key at the end of the path
	Flow                    // state on one cluster that has no name in the request
)

// Special marks the few operations of which the exchange has to know more than the
// class.
type Special uint8

// The special operations.
const (
	Plain        Special = iota
	Login                // its answer is a new client token
	RevokeSelf           // ends the session of the calling token
	Revoke               // ends the token or lease that it names, and says so where it knows neither
	SelfLookup           // its answer names the calling token
	RevokePrefix         // ends all leases below a prefix, on the one cluster that gets it
	MountsEdit           // changes the mount table
)

// Decision is what routing makes of one request. It is a plain value; Reason and
// Rule are constants or come from the configuration.
type Decision struct {
	Class     Class
	Reason    string // why this class, for people
	Rule      string // path of the configured rule that decided; empty otherwise
	Cluster   string // the one cluster a rule sends this to; empty otherwise
	Refused   bool   // a configured rule refuses the request
	Guess     bool   // nothing is known of the mount or the path; the careful default was taken
	Direct    bool   // of class primary: only at the primary itself, never through a secondary that forwards
	Verb      Verb
	Namespace string // "" or with trailing slash
	Mount     string // with trailing slash; empty while unknown
	Engine    string // engine type; empty while unknown
	Path      string // decoded, below the mount (below the namespace while the mount is unknown)
	Effect    Effect
	Subject   Subject
	Special   Special
	// Learns is true when the answer may carry a token, a lease or a wrapping
	// token whose home has to be remembered.
	Learns bool
	// BodyMatters is true when "local": true in the body would change the class.
	BodyMatters bool
	// StatusRead is true for the few operator reads that every client library
	// sends without asking for a cluster (sys/health, sys/seal-status, sys/leader,
	// sys/init); they are answered by the nearest cluster.
	StatusRead bool
}
