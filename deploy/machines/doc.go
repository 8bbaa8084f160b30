// Package machines tests what is deployed without Kubernetes: the Nomad job and the
// examples for Consul, read by the types of their own modules. It is nothing but tests.
package machines
