//! What the command line says: the real binary in a sandbox, without Docker and without a cluster.

mod errors;
mod failures;
mod help;
mod list;
mod support;
