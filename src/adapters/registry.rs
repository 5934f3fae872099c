//! What a registry says of an image, asked through `docker buildx imagetools`, which knows Docker's credentials.
//! Depends on: adapters::process.

use std::time::Duration;

use super::process::{self, Command, ProcessError};
use crate::interrupt::Interrupt;

/// How long a registry may take to answer.
const LIMIT: Duration = Duration::from_secs(20);

/// Why the digest of an image is not known.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry or the network between, or Docker's client.
    #[error(transparent)]
    Ask(#[from] ProcessError),
    /// An answer that is no digest.
    #[error("the registry answered `{0}` where a digest was expected")]
    Answer(String),
}

/// The digest of the manifest or index that a reference stands for now, as `sha256:…`.
///
/// # Errors
/// See [`RegistryError`].
pub async fn digest(reference: &str, interrupt: &Interrupt) -> Result<String, RegistryError> {
    let command = Command::new("docker")
        .args(["buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", reference])
        .timeout(LIMIT);
    let answer = process::output(&command, interrupt).await?;
    let manifest = serde_json::from_str::<serde_json::Value>(&answer).unwrap_or_default();
    let digest = manifest.get("digest").and_then(serde_json::Value::as_str).unwrap_or_default();
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(digest.to_owned())
    } else {
        Err(RegistryError::Answer(answer.lines().next().unwrap_or_default().to_owned()))
    }
}
