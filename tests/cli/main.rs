//! What the command line says: the real binary in a sandbox, without Docker and without a cluster.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod errors;
mod failures;
mod help;
mod ignore;
mod image_errors;
mod list;
mod support;
