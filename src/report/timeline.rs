//! A run as a picture, or as a trace that browsers and Perfetto show: when each step ran, and which decided how long it took.
//! Depends on: report::event, serde_json.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::event::{Event, EventKind, Outcome, StepName};

/// Widths in the picture, in pixels.
const LABEL: f64 = 220.0;
const CHART: f64 = 640.0;
/// Height of a row, in pixels.
const ROW: usize = 22;
/// Lines of time at most.
const TICKS: f64 = 8.0;

struct Span {
    step: StepName,
    from: Duration,
    to: Duration,
    outcome: Outcome,
}

/// Collects what happens, and writes it at the end.
pub struct Timeline {
    path: PathBuf,
    title: String,
    /// When the first step could begin: before that everything was looked at.
    looked: Duration,
    started: BTreeMap<usize, Duration>,
    spans: Vec<Span>,
}

impl Timeline {
    /// Into a file whose name ends in `.svg` or `.json`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let (started, spans) = (BTreeMap::new(), Vec::new());
        Self { path, title: String::new(), looked: Duration::ZERO, started, spans }
    }

    /// Whether a file of this name can be written.
    #[must_use]
    pub fn is_known(path: &Path) -> bool {
        path.extension().is_some_and(|end| end == "svg" || end == "json")
    }

    /// Takes what happened; the end of the run writes the file.
    ///
    /// # Errors
    /// What the system said when the file could not be written.
    pub fn take(&mut self, event: &Event) -> std::io::Result<()> {
        let now = event.elapsed;
        match &event.kind {
            EventKind::RunStarted { name, cluster, .. } => {
                self.looked = now;
                self.title = format!("tg {name} · cluster {cluster}");
            }
            EventKind::StepStarted { step, .. } => drop(self.started.insert(step.index, now)),
            EventKind::StepFinished { step, outcome, .. } => {
                if let Some(from) = self.started.remove(&step.index) {
                    let (step, outcome) = (step.clone(), *outcome);
                    self.spans.push(Span { step, from, to: now, outcome });
                }
            }
            EventKind::RunFinished { chain, .. } => {
                let chain: Vec<usize> = chain.iter().map(|(step, _)| step.index).collect();
                let is_trace = self.path.extension().is_some_and(|end| end == "json");
                let text = if is_trace { self.trace() } else { self.picture(&chain, now) };
                return std::fs::write(&self.path, text);
            }
            _ => {}
        }
        Ok(())
    }

    /// Complete events of the Trace Event Format (Chromium), times in microseconds.
    fn trace(&self) -> String {
        let event = |name: String, category: &str, from: Duration, to: Duration, row: usize| {
            let (ts, dur) = (from.as_micros(), to.saturating_sub(from).as_micros());
            json!({"name": name, "cat": category, "ph": "X", "ts": ts, "dur": dur, "pid": 1, "tid": row})
        };
        let look = event("look".to_owned(), "look", Duration::ZERO, self.looked, 0);
        let steps = self.spans.iter().map(|span| {
            let name = format!("{} {}", span.step.kind, span.step.object);
            event(name, span.step.kind, span.from, span.to, span.step.index + 1)
        });
        let events: Vec<_> = std::iter::once(look).chain(steps).collect();
        json!({"displayTimeUnit": "ms", "traceEvents": events}).to_string()
    }

    fn picture(&self, chain: &[usize], whole: Duration) -> String {
        let mut spans: Vec<&Span> = self.spans.iter().collect();
        spans.sort_by_key(|span| (span.from, span.step.index));
        let whole = whole.as_secs_f64().max(0.001);
        let x = |at: Duration| LABEL + at.as_secs_f64() / whole * CHART;
        let height = 60 + ROW * (spans.len() + 1);
        let mut svg = String::new();
        // Writing into a text cannot fail.
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"18\" font-size=\"13\">{}: {whole:.2} s</text>",
            LABEL + CHART + 80.0,
            escaped(&self.title),
        );
        let tick = tick(whole);
        let mut at = 0.0;
        while at <= whole {
            let x = LABEL + at / whole * CHART;
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"30\" y2=\"{}\" stroke=\"#dddddd\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#777777\">{} s</text>",
                height - 24,
                height - 10,
                (at * 100.0).round() / 100.0,
            );
            at += tick;
        }
        let mut row = |label: &str, from: Duration, to: Duration, colour: &str, at: usize| {
            let (left, right, y) = (x(from), x(to), 34 + ROW * at);
            let _ = writeln!(
                svg,
                "<text x=\"10\" y=\"{}\">{}</text><rect x=\"{left:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\" fill=\"#555555\">{:.2} s</text>",
                y + 11,
                escaped(&short(label)),
                (right - left).max(1.0),
                right + 4.0,
                y + 11,
                to.saturating_sub(from).as_secs_f64(),
            );
        };
        row("look", Duration::ZERO, self.looked, "#b0b0b0", 0);
        for (at, span) in spans.iter().enumerate() {
            let colour = match span.outcome {
                Outcome::Failed => "#b3261e",
                _ if chain.contains(&span.step.index) => "#1b7f5c",
                _ => "#8fc7b3",
            };
            let label = format!("{} {}", span.step.kind, span.step.object);
            row(&label, span.from, span.to, colour, at + 1);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Seconds between two lines: 1, 2 or 5 times a power of ten.
fn tick(whole: f64) -> f64 {
    let least = whole / TICKS;
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|step| step * power)
        .find(|tick| *tick >= least)
        .unwrap_or(10.0 * power)
}

fn short(label: &str) -> String {
    if label.chars().count() <= 34 {
        return label.to_owned();
    }
    label.chars().take(33).chain(['…']).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(index: usize, kind: &'static str) -> StepName {
        StepName { index, kind, object: "a<b".to_owned() }
    }

    fn drawn(name: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        let mut timeline = Timeline::new(path.clone());
        let second = Duration::from_secs;
        let started = |index, kind| EventKind::StepStarted {
            step: step(index, kind),
            reason: String::new(),
            code: "",
        };
        let finished = |index, kind, outcome| EventKind::StepFinished {
            step: step(index, kind),
            outcome,
            detail: String::new(),
            code: "",
            took: Duration::ZERO,
        };
        let (name, run, cluster) = ("test".to_owned(), String::new(), "c".to_owned());
        for (at, kind) in [
            (1, EventKind::RunStarted { name, run, cluster }),
            (1, started(0, "compile")),
            (1, started(1, "build")),
            (3, finished(1, "build", Outcome::Done)),
            (5, finished(0, "compile", Outcome::Failed)),
            (5, finished(2, "load", Outcome::NotReached)),
            (5, EventKind::RunFinished { ok: false, chain: vec![(step(1, "build"), second(2))] }),
        ] {
            timeline.take(&Event { elapsed: second(at), kind }).unwrap();
        }
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_picture_has_a_bar_for_each_step_that_ran() {
        let svg = drawn("run.svg");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(svg.contains("tg test · cluster c: 5.00 s"), "{svg}");
        assert!(svg.contains("compile a&lt;b") && !svg.contains("load a"), "{svg}");
        // From one second to three of five.
        let (left, width) = (LABEL + CHART / 5.0, 2.0 * CHART / 5.0);
        let bar = format!(
            "<rect x=\"{left:.1}\" y=\"78\" width=\"{width:.1}\" height=\"14\" fill=\"#1b7f5c\"/>"
        );
        assert!(svg.contains(&bar), "{svg}");
        assert!(svg.contains("fill=\"#b3261e\""), "the step that failed: {svg}");
    }

    #[test]
    fn a_trace_has_times_in_microseconds() {
        let trace: serde_json::Value = serde_json::from_str(&drawn("run.json")).unwrap();
        let build = &trace["traceEvents"][1];
        assert_eq!(build["name"], "build a<b");
        assert_eq!(
            (build["ts"].as_u64(), build["dur"].as_u64()),
            (Some(1_000_000), Some(2_000_000))
        );
        assert_eq!(trace["traceEvents"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn lines_of_time_are_round() {
        for (whole, wanted) in [(5.0, 1.0), (8.0, 1.0), (9.0, 2.0), (0.3, 0.05), (100.0, 20.0)] {
            assert!((tick(whole) - wanted).abs() < 1e-9, "{whole}: {}", tick(whole));
        }
    }
}
