//! What machines read: versioned, on standard output, never coloured. Wire structs are apart from the domain's types.
//! Depends on: report::event, serde.

use serde_json::{Value, json};

use super::event::{Event, EventKind, Outcome, StepName};

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
