//! The builder's copies of local contexts, through `docker buildx du` and `prune`. They are named by nothing but an id, and
//! the context's name in the build that made them.
//! Depends on: adapters::process, interrupt.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use super::process::{self, Command, ProcessError};
use crate::interrupt::Interrupt;

const LIMIT: Duration = Duration::from_secs(30);
const FILTER: &str = "type=source.local";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    description: String,
}

/// The ids of all copies of main contexts and of contexts with these names.
///
/// # Errors
/// What the builder's client said.
pub async fn list<T>(
    contexts: &BTreeMap<String, T>,
    interrupt: &Interrupt,
) -> Result<BTreeSet<String>, ProcessError> {
    let command = Command::new("docker")
        .args(["buildx", "du", "--format", "json", "--filter", FILTER])
        .timeout(LIMIT);
    let rows = process::output(&command, interrupt).await?;
    let is_context = |description: &str| {
        let name = description.strip_prefix("local source for ").unwrap_or_default();
        name == "context" || contexts.contains_key(name)
    };
    Ok(rows
        .lines()
        .filter_map(|line| serde_json::from_str::<Row>(line).ok())
        .filter(|row| is_context(&row.description))
        .map(|row| row.id.trim_end_matches('*').to_owned())
        .collect())
}

/// Removes one copy. That it is gone already is no error.
///
/// # Errors
/// What the builder's client said.
pub async fn remove(id: &str, interrupt: &Interrupt) -> Result<(), ProcessError> {
    let id = format!("id={id}");
    let command = Command::new("docker")
        .args(["buildx", "prune", "--force", "--filter", &id, "--filter", FILTER])
        .timeout(LIMIT);
    process::output(&command, interrupt).await.map(drop)
}
