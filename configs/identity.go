package configs

import "io/fs"

// Identity is the proxy's own login.
type Identity struct {
	// Method is the way to log in. Required.
	Method Method `yaml:"method"`
	// Mount is where the auth method is mounted, without the auth/ prefix.
	// Default: the method's name.
	Mount string `yaml:"mount"`
	// Namespace is where the auth mount lives. Default: the root namespace.
	Namespace string `yaml:"namespace"`
	// Options are the method's credentials.
	Options Options `yaml:"options"`
	// PerCluster holds what differs on some clusters, by cluster name.
	// Default: nothing differs.
	PerCluster map[string]Override `yaml:"per_cluster"`
	// Use says which requests get the identity, unless a listener says
	// otherwise. Default: fallback.
	Use IdentityUse `yaml:"use"`
	// Sinks are files that the identity's own token is written to, for programs
	// that want one. Default: none.
	Sinks []Sink `yaml:"sinks"`
}

// Sink is one file with the identity's token.
type Sink struct {
	// Path is the file; it is replaced whenever the token changes. Required.
	Path string `yaml:"path" file:"relative"`
	// Mode is the permission of the file, octal. Default: 0600.
	Mode fs.FileMode `yaml:"mode"`
	// Cluster is where the token is to be valid. Default: the nearest cluster
	// that serves, which changes with a failover.
	Cluster string `yaml:"cluster"`
}

// Override is what differs in the proxy's login on one cluster. A key that is
// not given is taken from the identity.
type Override struct {
	// Mount replaces identity.mount.
	Mount string `yaml:"mount"`
	// Namespace replaces identity.namespace; nil keeps it, "" is the root.
	Namespace *string `yaml:"namespace"`
	// Options replace identity.options one by one; a value and the file that
	// can hold it count as one.
	Options Options `yaml:"options"`
}

// Options are the credentials of all login methods; which of them apply
// depends on the method. None has a default but token_path and type.
type Options struct {
	// RoleID is the role id of approle.
	RoleID string `yaml:"role_id"`
	// RoleIDFile is a file that holds RoleID.
	RoleIDFile string `yaml:"role_id_file" file:"relative"`
	// SecretID is the secret id of approle; roles without bind_secret_id need
	// none. Better kept in SecretIDFile.
	SecretID Secret `yaml:"secret_id"`
	// SecretIDFile is a file that holds SecretID.
	SecretIDFile string `yaml:"secret_id_file" file:"relative"`
	// SecretIDWrapped says that SecretID or SecretIDFile holds a wrapping token
	// around the secret id. Default: false.
	SecretIDWrapped bool `yaml:"secret_id_wrapped"`
	// Role is the role to log in to with kubernetes, jwt, aws, gcp or azure.
	Role string `yaml:"role"`
	// TokenPath is the service account token of kubernetes. Default: where
	// Kubernetes puts it.
	TokenPath string `yaml:"token_path" file:"relative"`
	// Path is the file with the token of token_file or the JWT of jwt.
	Path string `yaml:"path" file:"relative"`
	// JWTFile is another word for Path with jwt; after Load it is empty and
	// Path is set.
	JWTFile string `yaml:"jwt_file" file:"relative"`
	// Username is the user of userpass or ldap.
	Username string `yaml:"username"`
	// Password is the password of userpass or ldap. Better kept in PasswordFile.
	Password Secret `yaml:"password"`
	// PasswordFile is a file that holds Password.
	PasswordFile string `yaml:"password_file" file:"relative"`
	// Name is the certificate role of cert. Default: Vault tries all of them.
	Name string `yaml:"name"`
	// Type is what the machine shows: iam or ec2 with aws, gce or iam with gcp.
	// Default: iam with aws, gce with gcp.
	Type string `yaml:"type"`
	// Region is whose STS an iam login of aws is signed for. Default: us-east-1.
	Region string `yaml:"region"`
	// HeaderValue is what Vault wants to find signed in an iam login of aws, its
	// iam_server_id_header_value. Default: none.
	HeaderValue string `yaml:"header_value"`
	// Nonce is what an ec2 login of aws repeats each time. Default: a random one,
	// with which an instance can't log in again once the proxy was restarted.
	Nonce Secret `yaml:"nonce"`
	// Signature is what of an EC2 instance's identity is shown: pkcs7, identity
	// or rsa2048. Default: pkcs7.
	Signature string `yaml:"signature"`
	// ServiceAccount is the account whose JWT an iam login of gcp shows.
	ServiceAccount string `yaml:"service_account"`
	// Resource is the audience of azure's token. Default:
	// https://management.azure.com/.
	Resource string `yaml:"resource"`
}

// For returns the identity as it is on the named cluster: with the overrides
// applied and PerCluster empty.
func (i Identity) For(cluster string) Identity {
	o := i.PerCluster[cluster]
	i.PerCluster = nil
	if o.Mount != "" {
		i.Mount = o.Mount
	}
	if o.Namespace != nil {
		i.Namespace = *o.Namespace
	}
	i.Options = i.Options.with(o.Options)
	return i
}

// with returns o with the options that over gives. A value and its file are
// one option: overriding either drops both. So does secret_id_wrapped, which says
// what they hold.
func (o Options) with(over Options) Options {
	if over.RoleID != "" || over.RoleIDFile != "" {
		o.RoleID, o.RoleIDFile = over.RoleID, over.RoleIDFile
	}
	if !over.SecretID.IsZero() || over.SecretIDFile != "" {
		o.SecretID, o.SecretIDFile, o.SecretIDWrapped = over.SecretID, over.SecretIDFile, false
	}
	o.SecretIDWrapped = o.SecretIDWrapped || over.SecretIDWrapped
	if !over.Password.IsZero() || over.PasswordFile != "" {
		o.Password, o.PasswordFile = over.Password, over.PasswordFile
	}
	if over.Path != "" || over.JWTFile != "" {
		o.Path, o.JWTFile = over.Path, over.JWTFile
	}
	override(&o.Role, over.Role)
	override(&o.TokenPath, over.TokenPath)
	override(&o.Username, over.Username)
	override(&o.Name, over.Name)
	return o.withCloud(over)
}

func (o Options) withCloud(over Options) Options {
	if !over.Nonce.IsZero() {
		o.Nonce = over.Nonce
	}
	override(&o.Type, over.Type)
	override(&o.Region, over.Region)
	override(&o.HeaderValue, over.HeaderValue)
	override(&o.Signature, over.Signature)
	override(&o.ServiceAccount, over.ServiceAccount)
	override(&o.Resource, over.Resource)
	return o
}

func override(s *string, by string) {
	if by != "" {
		*s = by
	}
}
