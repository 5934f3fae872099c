//! What machines read: versioned, on standard output, never coloured. Wire structs are apart from the domain's types.
//! Depends on: report::event, serde.

use serde_json::{Value, json};

use super::event::{Event, EventKind, Outcome, StepName};
use crate::digest::change::{Change, PathChange, Shown};

/// The version of every JSON answer. Fields are only added within a version.
pub const SCHEMA: u32 = 1;

/// One event as one line.
#[must_use]
pub fn event(event: &Event) -> String {
    let mut value = match &event.kind {
        EventKind::RunStarted { name, run, cluster } => {
            json!({"event": "run-started", "name": name, "run": run, "cluster": cluster})
        }
        EventKind::StepStarted { step: name, reason, code } => {
            json!({"event": "step-started", "step": step(name), "reason": reason, "code": code})
        }
        EventKind::Revised { step: name, reason } => {
            json!({"event": "revised", "step": step(name), "reason": reason})
        }
        EventKind::Note { step: name, text, detail } => {
            json!({"event": "note", "step": step(name), "text": text, "detail": detail})
        }
        EventKind::Bytes { step: name, bytes } => {
            json!({"event": "bytes", "step": step(name), "bytes": bytes})
        }
        EventKind::Output { step: name, stderr, bytes } => {
            let stream = if *stderr { "stderr" } else { "stdout" };
            let text = String::from_utf8_lossy(bytes);
            json!({"event": "output", "step": step(name), "stream": stream, "text": text})
        }
        EventKind::StepFinished { step: name, outcome, detail, code, took } => json!({
            "event": "step-finished", "step": step(name), "outcome": word(*outcome),
            "detail": detail, "code": code, "seconds": took.as_secs_f64(),
        }),
        EventKind::RunFinished { ok } => json!({"event": "run-finished", "ok": ok}),
    };
    value["schema"] = SCHEMA.into();
    value["elapsed"] = event.elapsed.as_secs_f64().into();
    value.to_string()
}

/// One difference between the inputs of two builds. Values that could be secrets are not known here.
#[must_use]
pub fn change(change: &Change) -> Value {
    let mut value = match change {
        Change::Path { context, path, what } => {
            let mut value = json!({"kind": "path", "path": String::from_utf8_lossy(path)});
            if !context.is_empty() {
                value["context"] = context.as_str().into();
            }
            match what {
                PathChange::Added => value["change"] = "added".into(),
                PathChange::Removed => value["change"] = "removed".into(),
                PathChange::Kind(old, new) => {
                    value["change"] = "type".into();
                    (value["before"], value["after"]) = ((*old).into(), (*new).into());
                }
                PathChange::Modified { content, mode, link, attributes } => {
                    value["change"] = "modified".into();
                    let mode = mode.map(|(old, new)| [format!("{old:04o}"), format!("{new:04o}")]);
                    value["content"] = (*content || link.is_some()).into();
                    value["mode"] = json!(mode);
                    value["attributes"] = (*attributes).into();
                }
            }
            value
        }
        Change::Part { name, before, after } => {
            let shown = |value: &Option<Shown>| match value {
                Some(Shown::Value(text)) => json!(text),
                _ => Value::Null,
            };
            let what = match (before, after) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "modified",
            };
            json!({"kind": "part", "name": name, "change": what, "before": shown(before), "after": shown(after)})
        }
        Change::Dockerfile(lines) => json!({"kind": "dockerfile", "lines": lines}),
        Change::Files { context } => json!({"kind": "files", "context": context}),
    };
    value["text"] = change.to_string().into();
    value
}

fn step(name: &StepName) -> Value {
    json!({"index": name.index, "kind": name.kind, "object": name.object})
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Skipped => "skipped",
        Outcome::Failed => "failed",
        Outcome::NotReached => "not-reached",
    }
}
