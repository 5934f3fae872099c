//! A failure for people, for machines and for GitHub: what, where with its source line, why, and the next command.
//! Depends on: error, taskfile (findings), annotate-snippets.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use owo_colors::Style;
use serde_json::json;

use super::{Ui, json};
use crate::error::Failure;
use crate::taskfile::{LoadError, Rejected};

/// Prints a failure where its readers look for it.
pub fn print_failure(ui: Ui, failure: &Failure) {
    let chain: Vec<String> = causes(failure);
    if ui.json {
        let code = failure.kind.exit_code();
        let value = json!({
            "schema": json::SCHEMA, "error": chain.join(": "), "exit_code": code, "hints": failure.hints,
        });
        ui.answer(&value.to_string());
    }
    let loud = Ui { quiet: false, ..ui };
    if let Some(LoadError::Rejected(rejected)) = failure.cause.downcast_ref::<LoadError>() {
        loud.say(render(ui, rejected).trim_end());
    } else {
        let error = ui.paint("error:", Style::new().red().bold());
        loud.say(&format!("{error} {}", chain.join(": ")));
    }
    for hint in &failure.hints {
        loud.say(&format!("{} {hint}", ui.paint("hint:", Style::new().cyan())));
    }
    if ui.github && !ui.json {
        // Escaped as the workflow commands want it, so that no output can pose as a command.
        let text = chain.join(": ").replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        ui.answer(&format!("::error title=tg::{text}"));
    }
}

/// The failure and its causes, without those that only repeat what was said.
fn causes(failure: &Failure) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for cause in failure.cause.chain() {
        let text = cause.to_string();
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
    }
    said
}

fn render(ui: Ui, rejected: &Rejected) -> String {
    let renderer = if ui.color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let path = rejected.path.display().to_string();
    let mut text = String::new();
    for finding in &rejected.findings {
        let annotation = AnnotationKind::Primary.span(finding.span.clone()).label(&finding.label);
        let snippet = Snippet::source(&rejected.text).path(&path).annotation(annotation);
        let mut group: Group<'_> = Level::ERROR.primary_title(&finding.message).element(snippet);
        if let Some(help) = &finding.help {
            group = group.element(Level::HELP.message(help));
        }
        text.push_str(&renderer.render(&[group]));
        text.push('\n');
    }
    text
}
