//! A run for people: one line per decision, a line that moves on a terminal, a summary at the end.
//! Depends on: report::{event, json, Ui}, indicatif.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::Style;

use super::event::{Event, EventKind, LoadReport, Outcome, StepName};
use super::{Ui, json};

/// What takes less is shown as no time at all.
const SHOWN: Duration = Duration::from_millis(5);

struct Row {
    step: StepName,
    outcome: Outcome,
    detail: String,
    took: Duration,
}

struct Lines {
    ui: Ui,
    bar: Option<ProgressBar>,
    /// What the steps that are under way say, by their places.
    under_way: BTreeMap<usize, String>,
    rows: Vec<Row>,
}

/// The reporter for a run: JSON lines on standard output, or lines for people on standard error.
#[must_use]
pub fn reporter(ui: Ui) -> Box<dyn FnMut(Event) + Send> {
    if ui.json {
        let mut lines = json::Lines::default();
        return Box::new(move |event| lines.take(&event).iter().for_each(|line| ui.answer(line)));
    }
    let mut lines = Lines { ui, bar: None, under_way: BTreeMap::new(), rows: Vec::new() };
    Box::new(move |event| lines.take(event))
}

impl Lines {
    fn take(&mut self, event: Event) {
        match event.kind {
            EventKind::RunStarted { name, run, cluster } => {
                self.line(&format!("tg {name} · cluster {cluster} · run {run}"));
            }
            EventKind::StepStarted { step, reason, .. } => self.started(&step, &reason),
            EventKind::Revised { step, reason } => {
                self.line(&format!("  {} {}: looked again: {reason}", step.kind, step.object));
            }
            EventKind::Note { step, text, detail } => self.note(&step, &text, detail),
            EventKind::Bytes { step, bytes } => {
                self.moves(&step, &indicatif::DecimalBytes(bytes).to_string());
            }
            EventKind::Loaded { report, .. } if self.ui.explains => {
                explained(&report).iter().for_each(|line| self.line(line));
            }
            EventKind::Loaded { .. } => {}
            EventKind::Output { stderr, bytes, .. } => self.pass_on(stderr, &bytes),
            EventKind::StepFinished { step, outcome, detail, took, .. } => {
                self.finished(Row { step, outcome, detail, took });
            }
            EventKind::RunFinished { ok, chain } => self.summary(ok, &chain, event.elapsed),
        }
    }

    fn started(&mut self, step: &StepName, reason: &str) {
        let arrow = self.ui.paint("→", Style::new().cyan());
        self.line(&format!("{arrow} {} {}: {reason}", step.kind, step.object));
        if self.ui.draws && !self.ui.quiet && self.bar.is_none() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            self.bar = Some(bar);
        }
        self.moves(step, "");
    }

    fn note(&mut self, step: &StepName, text: &str, detail: bool) {
        if !detail || self.ui.verbose {
            self.line(&format!("  {text}"));
        } else {
            self.moves(step, text);
        }
    }

    /// What a step is about just now, on the line that moves.
    fn moves(&mut self, step: &StepName, text: &str) {
        let colon = if text.is_empty() { "" } else { ": " };
        let text = format!("{} {}{colon}{text}", step.kind, step.object);
        self.under_way.insert(step.index, text);
        self.draw();
    }

    fn draw(&self) {
        if let Some(bar) = &self.bar {
            let texts: Vec<&str> = self.under_way.values().map(String::as_str).collect();
            bar.set_message(texts.join(" · "));
        }
    }

    fn finished(&mut self, row: Row) {
        self.under_way.remove(&row.step.index);
        self.draw();
        if let Some(bar) = self.bar.take_if(|_| self.under_way.is_empty()) {
            bar.finish_and_clear();
        }
        let (mark, style) = match row.outcome {
            Outcome::Done => ("✓", Style::new().green()),
            Outcome::Skipped => ("·", Style::new().dimmed()),
            Outcome::Failed => ("✗", Style::new().red().bold()),
            Outcome::Stopped | Outcome::NotReached => (" ", Style::new().dimmed()),
        };
        let mark = self.ui.paint(mark, style);
        let StepName { kind, object, .. } = &row.step;
        match row.outcome {
            Outcome::Done => {
                let detail =
                    if row.detail.is_empty() { String::new() } else { format!(": {}", row.detail) };
                self.line(&format!("{mark} {kind} {object} in {}{detail}", seconds(row.took)));
            }
            Outcome::Skipped => {
                self.line(&format!("{mark} {kind} {object} skipped: {}", row.detail))
            }
            Outcome::Failed => {
                self.line(&format!("{mark} {kind} {object} failed after {}", seconds(row.took)))
            }
            Outcome::Stopped => {
                self.line(&format!("{mark} {kind} {object} stopped after {}", seconds(row.took)))
            }
            Outcome::NotReached => {}
        }
        self.rows.push(row);
    }

    fn summary(&mut self, ok: bool, chain: &[(StepName, Duration)], elapsed: Duration) {
        self.rows.sort_by_key(|row| row.step.index);
        let width = |part: fn(&Row) -> usize| self.rows.iter().map(part).max().unwrap_or(0);
        let (kinds, objects) =
            (width(|row| row.step.kind.len()), width(|row| row.step.object.chars().count()));
        self.line("");
        for Row { step, outcome, detail, took } in &self.rows {
            let (word, time) = match outcome {
                Outcome::Done => ("done", seconds(*took)),
                Outcome::Skipped => ("skipped", String::new()),
                Outcome::Failed => ("failed", seconds(*took)),
                Outcome::Stopped => ("stopped", seconds(*took)),
                Outcome::NotReached => ("not run", String::new()),
            };
            let (kind, object) = (step.kind, &step.object);
            let line = format!("  {kind:kinds$}  {object:objects$}  {word:7}  {time:>8}  {detail}");
            self.line(line.trim_end());
        }
        let word = if ok {
            self.ui.paint("ok", Style::new().green())
        } else {
            self.ui.paint("failed", Style::new().red())
        };
        let decided: Vec<String> = chain
            .iter()
            .filter(|(_, took)| *took >= SHOWN)
            .map(|(step, took)| format!("{} {} ({})", step.kind, step.object, seconds(*took)))
            .collect();
        let decided = match decided.as_slice() {
            [] => String::new(),
            steps => format!(", decided by {}", steps.join(", ")),
        };
        self.line(&format!("{word} in {}{decided}", seconds(elapsed)));
    }

    fn pass_on(&self, stderr: bool, bytes: &[u8]) {
        let write = || {
            // Whoever reads it may have gone away; the run goes on.
            if stderr {
                let _ = std::io::stderr().lock().write_all(bytes);
            } else {
                let mut out = std::io::stdout().lock();
                let _ = out.write_all(bytes).and_then(|()| out.flush());
            }
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.ui.say(text)),
            None => self.ui.say(text),
        }
    }
}

/// Which layers were moved and why, one line each, then what each node got.
fn explained(report: &LoadReport) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, layer) in report.layers.iter().enumerate() {
        let short = layer.digest.get(..19).unwrap_or(&layer.digest);
        let size = indicatif::DecimalBytes(layer.size).to_string();
        let why = match (layer.lacked_by.as_slice(), layer.sent) {
            ([], false) => "on every node".to_owned(),
            ([], true) => "on every node, but not the same blob on all: Docker sent it".to_owned(),
            (nodes, true) => format!("moved: missing on {}", nodes.join(", ")),
            (nodes, false) => format!("unpacked again on {}: the blob is there", nodes.join(", ")),
        };
        lines.push(format!("  layer {:>3}  {short}  {size:>10}  {why}", at + 1));
    }
    for (name, node) in &report.nodes {
        let bytes = indicatif::DecimalBytes(node.bytes_moved);
        let why = node.why.as_deref().and_then(|why| why.lines().next());
        let why = why.map_or(String::new(), |why| format!(", because {why}"));
        let layers = match report.layers.len() {
            0 => String::new(),
            of => format!("{} of {of} layers, ", node.layers_moved),
        };
        lines.push(format!("  {name}: {}, {layers}{bytes}{why}", node.strategy));
    }
    lines
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
