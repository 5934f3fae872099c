//! Which processes are there: whose leftovers are to be removed.
//! Depends on: rustix, sha2.

use sha2::{Digest, Sha256};

/// Whether there is such a process on this machine.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    rustix::process::Pid::from_raw(pid.cast_signed())
        .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// A number for the processes that this one can see: the same for all of one container or machine, until it is booted again.
#[must_use]
pub fn processes_here() -> u32 {
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let known = [boot.as_slice(), space.as_os_str().as_encoded_bytes()].concat();
    let digest = Sha256::digest(known);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}
