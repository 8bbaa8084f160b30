// Package vault makes a cluster's engine of a real Vault Community process.
//
// Server is the process: started with a file storage in a temporary directory,
// unsealed, killed with SIGKILL and started again on the same port with the same
// data. The servers of one lab begin as copies of one storage that was initialised
// and never opened: they have the same keys, as in a replication set, so that an
// orphan batch token is valid on all.
//
// Engine executes requests on a Server and replicates by statement: Community has
// no replication, so each write that Vault Enterprise would replicate is noted as
// a request, and executed again on the other clusters' processes in the same
// order.
//
// What a statement does has to be the same everywhere. Where Vault makes up
// something random the statement is rewritten to carry it (AppRole's role ids
// and secret ids). Where that is not possible the write is refused (keys of
// transit and pki, rotation of database passwords) or stays on the cluster where
// it arrives (identity); rules has the table. Two more differences remain:
// times, such as created_time, are those of each cluster, and so are accessors
// of mounts. A statement that a SIGKILL cuts short may be executed twice after
// the restart.
package vault
