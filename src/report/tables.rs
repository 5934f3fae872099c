//! Answers that are looked at once: the list, the plan, the status.
//! Depends on: plan, facts, taskfile (data types), report::{json, Ui}.

use serde_json::{Value, json};

use super::Ui;
use super::json::{SCHEMA, change};
use crate::facts::{ClusterState, Facts, ImageFacts, Known, Lacking};
use crate::plan::{Decision, Plan};
use crate::taskfile::model::{ImageSpec, TaskFile};

/// Prints the tasks and images of a task file.
pub fn print_list(ui: Ui, file: &TaskFile) {
    if ui.json {
        let tasks: Vec<Value> = file
            .tasks
            .iter()
            .map(|(name, task)| {
                let steps: Vec<String> =
                    task.steps.iter().map(|s| format!("{} {}", s.kind(), s.object())).collect();
                json!({"name": name, "description": task.description, "steps": steps})
            })
            .collect();
        let images: Vec<Value> = file
            .images
            .values()
            .map(|spec| json!({"name": spec.id.to_string(), "tag": spec.tag.familiar()}))
            .collect();
        let value = json!({"schema": SCHEMA, "file": file.path, "cluster": file.cluster.name, "tasks": tasks, "images": images});
        return ui.answer(&value.to_string());
    }
    let width = file.tasks.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    ui.answer("Tasks:");
    for (name, task) in &file.tasks {
        let description = task.description.as_deref().unwrap_or_default();
        ui.answer(format!("  {name:width$}  {description}").trim_end());
    }
    let width = file.images.keys().map(|id| id.to_string().chars().count()).max().unwrap_or(0);
    ui.answer("Images:");
    for spec in file.images.values() {
        ui.answer(&format!("  {:width$}  {}", spec.id.to_string(), spec.tag));
    }
}

pub(super) fn verdict(decision: &Decision) -> &'static str {
    match decision {
        Decision::Run { .. } => "run",
        Decision::Skip(_) => "skip",
        Decision::Blocked(_) => "blocked",
    }
}

/// Prints what a run would do: `commands` has the command lines of each step, `forecasts` the layers that it would move, where
/// that was asked for.
pub fn print_plan(
    ui: Ui,
    plan: &Plan,
    file: &TaskFile,
    commands: &[Vec<String>],
    forecasts: &[Option<Vec<Lacking>>],
) {
    let object = |step: &crate::taskfile::model::Step| match step {
        crate::taskfile::model::Step::Cluster(_) => file.cluster.name.clone(),
        other => other.object(),
    };
    if ui.json {
        let steps: Vec<Value> = plan
            .steps
            .iter()
            .zip(commands)
            .zip(forecasts)
            .map(|((planned, commands), forecast)| {
                let mut step = decision_json(&planned.decision);
                step["kind"] = planned.step.kind().into();
                step["object"] = object(&planned.step).into();
                step["commands"] = json!(commands);
                if let Some(layers) = forecast {
                    let layer = |lacking: &Lacking| json!({"layer": lacking.layer, "lacked_by": lacking.nodes});
                    step["layers"] = layers.iter().map(layer).collect();
                }
                step
            })
            .collect();
        return ui
            .answer(&json!({"schema": SCHEMA, "name": plan.name, "steps": steps}).to_string());
    }
    for ((planned, commands), forecast) in plan.steps.iter().zip(commands).zip(forecasts) {
        let (step, decision) = (&planned.step, &planned.decision);
        ui.answer(&format!(
            "{:7}  {} {}: {}",
            verdict(decision),
            step.kind(),
            object(step),
            decision.reason()
        ));
        for command in commands {
            ui.answer(&format!("         $ {command}"));
        }
        for (at, lacking) in forecast.iter().flatten().enumerate() {
            let short = lacking.layer.get(..19).unwrap_or(&lacking.layer);
            let why = match lacking.nodes.as_slice() {
                [] => "on every node".to_owned(),
                nodes => format!("to be moved: missing on {}", nodes.join(", ")),
            };
            ui.answer(&format!("         layer {:>3}  {short}  {why}", at + 1));
        }
    }
}

/// One image of a status.
pub struct StatusRow<'a> {
    /// The image.
    pub spec: &'a ImageSpec,
    /// Its facts.
    pub facts: &'a ImageFacts,
    /// What `build-if-needed` would do.
    pub build: Decision,
    /// What `load-if-needed` would do.
    pub load: Decision,
}

/// Prints the three states of images side by side.
pub fn print_status(ui: Ui, file: &TaskFile, facts: &Facts, rows: &[StatusRow<'_>]) {
    let cluster = cluster_text(facts);
    if ui.json {
        let images: Vec<Value> = rows.iter().map(status_json).collect();
        let value = json!({
            "schema": SCHEMA, "cluster": {"name": file.cluster.name, "state": cluster}, "images": images,
        });
        return ui.answer(&value.to_string());
    }
    ui.answer(&format!("cluster {}: {cluster}", file.cluster.name));
    for row in rows {
        ui.answer(&format!("{} ({})", row.spec.id, row.spec.tag));
        ui.answer(&format!("  inputs  {}", inputs_text(row.facts)));
        for note in notes(row.facts) {
            ui.answer(&format!("  note    {note}"));
        }
        ui.answer(&format!("  docker  {}", host_text(row.facts)));
        for (node, found) in &row.facts.nodes {
            let text = match found {
                Known::Yes(found) => {
                    found.tagged.as_ref().map_or("missing", |id| id.short()).to_owned()
                }
                Known::Unknown(why) => format!("unknown: {why}"),
            };
            ui.answer(&format!("  node    {node}: {text}"));
        }
        ui.answer(&format!("  build   {}: {}", verdict(&row.build), row.build.reason()));
        ui.answer(&format!("  load    {}: {}", verdict(&row.load), row.load.reason()));
        if row.spec.tag.tag() == "latest" {
            ui.answer("  note    pods pull `:latest` again unless they set imagePullPolicy");
        }
    }
}

fn cluster_text(facts: &Facts) -> String {
    match &facts.cluster {
        Known::Yes(ClusterState::Absent) => "absent".to_owned(),
        Known::Yes(ClusterState::BeingMade { pid }) => format!("process {pid} is making it"),
        Known::Yes(ClusterState::Ready { nodes }) => format!("ready, {}", nodes.join(", ")),
        Known::Yes(ClusterState::Running { nodes }) => format!("running, {}", nodes.join(", ")),
        Known::Yes(ClusterState::Broken { why, .. }) => format!("cannot be used: {why}"),
        Known::Unknown(why) => format!("unknown: {why}"),
    }
}

fn inputs_text(facts: &ImageFacts) -> String {
    match &facts.inputs {
        Known::Yes(inputs) => format!("key {}", inputs.key.short()),
        Known::Unknown(why) => format!("unknown: {why}"),
    }
}

fn notes(facts: &ImageFacts) -> &[String] {
    match &facts.inputs {
        Known::Yes(inputs) => &inputs.notes,
        Known::Unknown(_) => &[],
    }
}

fn host_text(facts: &ImageFacts) -> String {
    match &facts.host {
        Known::Yes(None) => "missing".to_owned(),
        Known::Yes(Some(host)) => {
            let id = host.config.as_ref().map_or(host.id.as_str(), |config| config.short());
            let key = host.key.as_ref().map_or("no key", |key| key.short());
            format!("{id}, key {key}, {} MB", host.size / 1_000_000)
        }
        Known::Unknown(why) => format!("unknown: {why}"),
    }
}

fn status_json(row: &StatusRow<'_>) -> Value {
    let nodes: serde_json::Map<String, Value> = row
        .facts
        .nodes
        .iter()
        .map(|(node, found)| {
            let value = match found {
                Known::Yes(found) => json!({
                    "id": found.tagged.as_ref().map(ToString::to_string), "known_as": found.elsewhere,
                    "unpacked": found.is_unpacked,
                }),
                Known::Unknown(why) => json!({"unknown": why}),
            };
            (node.clone(), value)
        })
        .collect();
    let key = match &row.facts.inputs {
        Known::Yes(inputs) => json!(inputs.key.as_str()),
        Known::Unknown(_) => Value::Null,
    };
    let host = match &row.facts.host {
        Known::Yes(Some(host)) => json!({
            "id": host.id, "config": host.config.as_ref().map(ToString::to_string),
            "key": host.key.as_ref().map(ToString::to_string), "size": host.size,
        }),
        Known::Yes(None) => Value::Null,
        Known::Unknown(why) => json!({"unknown": why}),
    };
    json!({
        "name": row.spec.id.to_string(), "tag": row.spec.tag.familiar(), "key": key, "docker": host, "nodes": nodes,
        "notes": notes(row.facts), "build": decision_json(&row.build), "load": decision_json(&row.load),
    })
}

/// A decision with its reason, and the evidence of changed inputs.
pub(super) fn decision_json(decision: &Decision) -> Value {
    let reason = decision.reason();
    let changes: Vec<Value> = reason.changes().iter().map(change).collect();
    json!({
        "decision": verdict(decision), "code": reason.code(), "reason": reason.to_string(), "changes": changes,
    })
}
