//! The outside world, one file each: processes, Docker, nodes, clusters, the builder, cargo. Plain types out; bollard and
//! Kubernetes types stop here. Knows nothing of tasks. Depends on: names, interrupt.

pub mod alive;
pub mod archive;
pub mod buildx;
pub mod cargo;
pub mod cluster;
pub mod copies;
pub mod docker;
pub mod docker_config;
pub mod endpoint;
pub mod node;
pub mod process;
pub mod registry;
