//! Answers to "why": the whole evidence of a decision, the difference of two keys, the rule that decided about a path.
//! Depends on: digest (types), plan, report::{json, tables, Ui}.

use std::path::Path;

use serde_json::{Value, json};

use super::Ui;
use super::json::{SCHEMA, change, set_bytes};
use super::tables::{StatusRow, decision_json, verdict};
use crate::digest::change::Change;
use crate::digest::ignore::Explanation;
use crate::facts::Known;
use crate::names::Key;

/// Prints every decision about some images with all that is known of its reason.
pub fn print_why(ui: Ui, rows: &[StatusRow<'_>]) {
    if ui.json {
        let images: Vec<Value> = rows.iter().map(why_json).collect();
        return ui.answer(&json!({"schema": SCHEMA, "images": images}).to_string());
    }
    for row in rows {
        ui.answer(&format!("{} ({})", row.spec.id, row.spec.tag));
        let (build, load) = (&row.build, &row.load);
        ui.answer(&format!("  build {}: {}", verdict(build), build.reason()));
        for change in build.reason().changes() {
            ui.answer(&format!("    {change}"));
        }
        if let Known::Yes(inputs) = &row.facts.inputs {
            for note in &inputs.notes {
                ui.answer(&format!("    note: {note}"));
            }
            ui.answer(&format!("    key of the inputs  {}", inputs.key));
            if let Some(last) = &inputs.last {
                let made = last.config.short();
                ui.answer(&format!("    last build         {} made {made}", last.key));
            }
        }
        if let Known::Yes(Some(host)) = &row.facts.host {
            let key = host.key.as_ref().map_or("none", Key::as_str);
            ui.answer(&format!("    key of the image   {key}"));
        }
        ui.answer(&format!("  load {}: {}", verdict(load), load.reason()));
    }
}

fn why_json(row: &StatusRow<'_>) -> Value {
    let (key, last, notes) = match &row.facts.inputs {
        Known::Yes(inputs) => (
            json!(inputs.key.as_str()),
            inputs
                .last
                .as_ref()
                .map(|last| json!({"key": last.key.as_str(), "image": last.config.to_string()})),
            inputs.notes.clone(),
        ),
        Known::Unknown(why) => (Value::Null, None, vec![why.clone()]),
    };
    let image_key = match &row.facts.host {
        Known::Yes(Some(host)) => host.key.as_ref().map(ToString::to_string),
        _ => None,
    };
    json!({
        "name": row.spec.id.to_string(), "tag": row.spec.tag.familiar(), "key": key, "image_key": image_key,
        "last_build": last, "notes": notes, "build": decision_json(&row.build), "load": decision_json(&row.load),
    })
}

/// Prints what differs between the inputs of two builds.
pub fn print_between(ui: Ui, image: &str, keys: [&Key; 2], changes: &[Change]) {
    if ui.json {
        let changes: Vec<Value> = changes.iter().map(change).collect();
        let [before, after] = keys.map(Key::as_str);
        let value = json!({"schema": SCHEMA, "image": image, "before": before, "after": after, "changes": changes});
        return ui.answer(&value.to_string());
    }
    ui.answer(&format!("{image}: {} → {}", keys[0].short(), keys[1].short()));
    for change in changes {
        ui.answer(&format!("  {change}"));
    }
    if changes.is_empty() {
        ui.answer("  no difference");
    }
}

/// What becomes of one path of a context.
pub struct Explained<'a> {
    /// Relative to the context.
    pub path: &'a [u8],
    /// Whether there is such a path now.
    pub exists: bool,
    /// The ignore file that applies.
    pub file: Option<&'a Path>,
    /// What it says.
    pub explanation: Option<Explanation<'a>>,
}

/// Prints which rule decides about a path.
pub fn print_explained(ui: Ui, explained: &Explained<'_>) {
    if ui.json {
        return ui.answer(&explained_json(explained).to_string());
    }
    let path = text(explained.path);
    let explanation = explained.explanation.as_ref();
    let excluded = explanation.is_some_and(|e| e.excluded);
    ui.answer(&format!("{path}: {}", if excluded { "left out" } else { "sent" }));
    let file = explained.file.map(|file| file.display().to_string());
    match (file, explanation.and_then(|e| Some((e.by?, text(e.at))))) {
        (None, _) => ui.answer("  there is no ignore file"),
        (Some(file), None) => ui.answer(&format!("  no rule of {file} matches")),
        (Some(file), Some((rule, at))) => {
            let by = if at == path { String::new() } else { format!(", by its directory {at}") };
            ui.answer(&format!("  {file}:{}: `{}`{by}", rule.line, rule.text));
        }
    }
    if let Some(pruned) = explanation.and_then(|e| e.pruned) {
        ui.answer(&format!("  the builder does not look into {}", text(pruned)));
    }
    if explanation.is_some_and(|e| e.emptied) {
        ui.answer("  the builder sends it as an empty file: a later rule excludes it where a directory above it is kept");
    }
    if !explained.exists {
        ui.answer("  there is no such path now");
    }
}

fn explained_json(explained: &Explained<'_>) -> Value {
    let explanation = explained.explanation.as_ref();
    let rule = explanation.and_then(|e| {
        let rule = e.by?;
        Some(json!({"line": rule.line, "text": rule.text, "matches": text(e.at)}))
    });
    let mut value = json!({
        "schema": SCHEMA,
        "exists": explained.exists,
        "sent": !explanation.is_some_and(|e| e.excluded),
        "emptied": explanation.is_some_and(|e| e.emptied),
        "file": explained.file.map(|file| file.display().to_string()),
        "rule": rule,
        "pruned": explanation.and_then(|e| e.pruned).map(text),
    });
    set_bytes(&mut value, "path", explained.path);
    value
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explained_paths_can_be_told_apart() {
        let of =
            |path| explained_json(&Explained { path, exists: true, file: None, explanation: None });
        assert_eq!(of(b"n\xff")["path_bytes"], "6eff");
        assert_eq!(of(b"n\xfe")["path_bytes"], "6efe");
        assert_eq!(of(b"n").get("path_bytes"), None);
    }
}
