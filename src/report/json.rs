//! What machines read: versioned, on standard output, never coloured. Wire structs are apart from the domain's types.
//! Depends on: report::event, digest::{change, tree}, serde.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::event::{Event, EventKind, LayerLoad, LoadReport, Outcome, StepName};
use crate::digest::change::{Change, PathChange, Shown};
use crate::digest::tree::hex;

/// The version of every JSON answer. Fields are only added within a version.
pub const SCHEMA: u32 = 1;

/// The beginnings of characters, by step and whether it is standard error.
type Begun = BTreeMap<(usize, bool), (StepName, Vec<u8>)>;

/// Events as lines. What a child prints comes in pieces that may end within a character, and is put together again.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Begun,
}

impl Lines {
    /// The lines of one event: none for a piece of a character, more than one where such a piece is left at the end.
    #[must_use]
    pub fn take(&mut self, event: &Event) -> Vec<String> {
        let elapsed = event.elapsed;
        let line = |value| vec![stamped(value, elapsed)];
        let value = match &event.kind {
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
            EventKind::Loaded { step: name, report } => {
                let mut value = loaded(report);
                (value["event"], value["step"]) = ("loaded".into(), step(name));
                value
            }
            EventKind::Output { step: name, stderr, bytes } => {
                let bytes = self.whole(name, *stderr, bytes);
                return if bytes.is_empty() { vec![] } else { line(output(name, *stderr, &bytes)) };
            }
            EventKind::StepFinished { step: name, outcome, detail, code, took } => {
                let mut lines = self.rest(|step| step == name.index, elapsed);
                let value = json!({
                    "event": "step-finished", "step": step(name), "outcome": word(*outcome),
                    "detail": detail, "code": code, "seconds": took.as_secs_f64(),
                });
                lines.push(stamped(value, elapsed));
                return lines;
            }
            EventKind::RunFinished { ok, chain } => {
                let mut lines = self.rest(|_| true, elapsed);
                let chain: Vec<Value> = chain
                    .iter()
                    .map(|(name, took)| json!({"step": step(name), "seconds": took.as_secs_f64()}))
                    .collect();
                let finished = json!({"event": "run-finished", "ok": ok, "chain": chain});
                lines.push(stamped(finished, elapsed));
                return lines;
            }
        };
        line(value)
    }

    /// What can be told of a step's output with this piece; a character that has only begun is kept.
    fn whole(&mut self, name: &StepName, stderr: bool, piece: &[u8]) -> Vec<u8> {
        let begun = self.begun.remove(&(name.index, stderr));
        let mut bytes = begun.map(|(_, begun)| begun).unwrap_or_default();
        bytes.extend_from_slice(piece);
        let begun = bytes.split_off(bytes.len() - begun_at_the_end(&bytes));
        if !begun.is_empty() {
            self.begun.insert((name.index, stderr), (name.clone(), begun));
        }
        bytes
    }

    /// The characters that will not be finished any more.
    fn rest(&mut self, ended: impl Fn(usize) -> bool, elapsed: Duration) -> Vec<String> {
        let begun = std::mem::take(&mut self.begun);
        let (left, begun): (Begun, Begun) =
            begun.into_iter().partition(|((step, _), _)| ended(*step));
        self.begun = begun;
        left.iter()
            .map(|((_, stderr), (name, bytes))| stamped(output(name, *stderr, bytes), elapsed))
            .collect()
    }
}

/// How many bytes at the end could become a character with more of them.
fn begun_at_the_end(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Err(error) = std::str::from_utf8(rest) {
        let bad = &rest[error.valid_up_to()..];
        match error.error_len() {
            Some(length) => rest = &bad[length..],
            None => return bad.len(),
        }
    }
    0
}

fn output(name: &StepName, stderr: bool, bytes: &[u8]) -> Value {
    let stream = if stderr { "stderr" } else { "stdout" };
    let text = String::from_utf8_lossy(bytes);
    json!({"event": "output", "step": step(name), "stream": stream, "text": text})
}

fn stamped(mut value: Value, elapsed: Duration) -> String {
    value["schema"] = SCHEMA.into();
    value["elapsed"] = elapsed.as_secs_f64().into();
    value.to_string()
}

/// Sets a field to a path or the like. Two that are no text may read the same, so their bytes are there as well.
pub(super) fn set_bytes(value: &mut Value, field: &str, bytes: &[u8]) {
    value[field] = String::from_utf8_lossy(bytes).into();
    if std::str::from_utf8(bytes).is_err() {
        value[format!("{field}_bytes")] = hex(bytes).into();
    }
}

/// One difference between the inputs of two builds. Values that could be secrets are not known here.
#[must_use]
pub fn change(change: &Change) -> Value {
    let mut value = match change {
        Change::Path { context, path, what } => {
            let mut value = json!({"kind": "path"});
            set_bytes(&mut value, "path", path);
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
                    value["content"] = (*content).into();
                    if let Some((before, after)) = link {
                        value["link"] = json!({});
                        set_bytes(&mut value["link"], "before", before);
                        set_bytes(&mut value["link"], "after", after);
                    }
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

/// Times are seconds.
fn loaded(report: &LoadReport) -> Value {
    let layers: Vec<Value> = report
        .layers
        .iter()
        .map(|layer| {
            let LayerLoad { digest, size, sent, lacked_by } = layer;
            json!({"digest": digest, "size": size, "sent": sent, "lacked_by": lacked_by})
        })
        .collect();
    let nodes: Vec<Value> = report
        .nodes
        .iter()
        .map(|(name, node)| {
            json!({
                "node": name, "strategy": node.strategy, "why": node.why, "ok": node.result.is_ok(),
                "error": node.result.as_ref().err(), "layers_total": report.layers.len(),
                "layers_moved": node.layers_moved, "bytes_moved": node.bytes_moved, "bytes_saved": node.bytes_saved,
                "seconds": {
                    "facts": report.facts.as_secs_f64(), "export": report.export.as_secs_f64(),
                    "transfer": node.transfer.as_secs_f64(), "import": node.import.as_secs_f64(),
                    "verify": node.verify.as_secs_f64(),
                },
            })
        })
        .collect();
    json!({"config": report.config.as_ref().map(ToString::to_string), "layers": layers, "nodes": nodes})
}

fn step(name: &StepName) -> Value {
    json!({"index": name.index, "kind": name.kind, "object": name.object})
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Skipped => "skipped",
        Outcome::Failed => "failed",
        Outcome::Stopped => "stopped",
        Outcome::NotReached => "not-reached",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts that a reader gets of these pieces, each with its stream, and the end of each step in between.
    fn told(pieces: &[(usize, &str, &[u8])]) -> String {
        let mut lines = Lines::default();
        let mut told = Vec::new();
        for (index, stream, bytes) in pieces {
            let step = StepName { index: *index, kind: "run", object: "x".to_owned() };
            let kind = match *stream {
                "end" => EventKind::StepFinished {
                    step,
                    outcome: Outcome::Done,
                    detail: String::new(),
                    code: "",
                    took: Duration::ZERO,
                },
                "all" => EventKind::RunFinished { ok: true, chain: Vec::new() },
                stream => {
                    EventKind::Output { step, stderr: stream == "err", bytes: bytes.to_vec() }
                }
            };
            for line in lines.take(&Event { elapsed: Duration::ZERO, kind }) {
                let line: Value = serde_json::from_str(&line).unwrap();
                assert_eq!(line["schema"], SCHEMA);
                told.push(match line["event"].as_str().unwrap() {
                    "output" => {
                        let (step, stream) = (&line["step"]["index"], line["stream"].as_str());
                        let text = line["text"].as_str().unwrap();
                        format!("{step}{}:{text}", &stream.unwrap()[3..4])
                    }
                    event => event.to_owned(),
                });
            }
        }
        told.join(" ")
    }

    #[test]
    fn characters_are_put_together_again() {
        for (pieces, wanted) in [
            (vec![(0, "out", &b"a\xc3"[..]), (0, "out", b"\xa9b")], "0o:a 0o:éb"),
            (vec![(0, "out", b"\xf0\x9f"), (0, "out", b"\x98"), (0, "out", b"\x80")], "0o:😀"),
            // Each stream and each step has its own.
            (
                vec![
                    (0, "out", b"\xc3"),
                    (0, "err", b"\xc3"),
                    (1, "out", b"x"),
                    (0, "out", b"\xa9"),
                ],
                "1o:x 0o:é",
            ),
            (vec![(0, "out", b"a\xc3"), (0, "out", b"b")], "0o:a 0o:\u{fffd}b"),
            (vec![(0, "out", b"a\xffb\xc3"), (0, "out", b"\xa9")], "0o:a\u{fffd}b 0o:é"),
            (
                vec![
                    (0, "err", b"\xc3"),
                    (1, "err", b"\xc3"),
                    (0, "end", b""),
                    (1, "err", b"\xa9"),
                ],
                "0e:\u{fffd} step-finished 1e:é",
            ),
            (vec![(0, "out", b"\xc3"), (0, "all", b"")], "0o:\u{fffd} run-finished"),
            (vec![(0, "out", "é".as_bytes()), (0, "end", b"")], "0o:é step-finished"),
        ] {
            assert_eq!(told(&pieces), wanted, "{pieces:?}");
        }
    }

    fn modified(content: bool, link: Option<(&[u8], &[u8])>) -> PathChange {
        let link = link.map(|(before, after)| (before.to_vec(), after.to_vec()));
        PathChange::Modified { content, mode: None, link, attributes: false }
    }

    #[test]
    fn changed_paths_can_be_told_apart() {
        let of = |path: &[u8], what| {
            change(&Change::Path { context: String::new(), path: path.to_vec(), what })
        };
        let text = of("é".as_bytes(), PathChange::Added);
        assert_eq!((text["path"].as_str(), text.get("path_bytes")), (Some("é"), None));
        assert_eq!(of(b"n\xff", PathChange::Added)["path_bytes"], "6eff");
        assert_eq!(of(b"n\xfe", PathChange::Removed)["path_bytes"], "6efe");

        let file = of(b"a", modified(true, None));
        assert_eq!((&file["content"], file.get("link")), (&json!(true), None));
        let link = of(b"a", modified(false, Some((b"old", b"new"))));
        assert_eq!(link["content"], false);
        assert_eq!(link["link"], json!({"before": "old", "after": "new"}));
        let link = of(b"a", modified(false, Some((b"old", b"\xff"))));
        assert_eq!(link["link"]["after_bytes"], "ff");
    }
}
