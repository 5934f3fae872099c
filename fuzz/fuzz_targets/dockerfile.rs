//! Any Dockerfile is read or refused with a line that it has, and what is read is true of itself.
//!
//! The first byte of an input is a separator. It splits the rest into the Dockerfile, the target, the platform, and then
//! arguments as `NAME=VALUE` and named contexts as anything else.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use libfuzzer_sys::fuzz_target;
use tg::digest::dockerfile::{DockerfileError, External, Situation, external};

const PLATFORM: &str = "linux/amd64";

fuzz_target!(|input: &[u8]| {
    let Some((separator, rest)) = input.split_first() else { return };
    let mut fields = rest.split(|byte| byte == separator).map(std::str::from_utf8);
    // What is no text is refused before.
    let mut next = || fields.next().and_then(Result::ok).unwrap_or_default();
    let (text, target, platform) = (next(), next(), next());
    let (mut args, mut contexts) = (BTreeMap::new(), BTreeSet::new());
    let mut volatile = BTreeSet::new();
    for field in fields.filter_map(Result::ok) {
        match field.split_once('=') {
            Some((name, "volatile")) => drop(volatile.insert(name.to_owned())),
            Some((name, value)) => drop(args.insert(name.to_owned(), value.to_owned())),
            None => drop(contexts.insert(field.to_owned())),
        }
    }
    let situation = Situation {
        args: &args,
        platform: if platform.is_empty() { PLATFORM } else { platform },
        build_platform: PLATFORM,
        target: (!target.is_empty()).then_some(target),
        contexts: &contexts,
        volatile: &volatile,
    };
    match external(text, &situation) {
        Ok(found) => check(text, &situation, &found),
        Err(DockerfileError { line, message }) => {
            assert!(!message.is_empty());
            assert!(line.is_none_or(|line| has(text, line)), "line {line:?}: {message}");
        }
    }
});

fn has(text: &str, line: usize) -> bool {
    (1..=text.split('\n').count()).contains(&line)
}

fn check(text: &str, situation: &Situation<'_>, found: &External) {
    assert!(found.contexts.is_subset(situation.contexts));
    assert!(found.unverifiable.values().all(|line| has(text, *line)));
    for (image, lines) in &found.images {
        assert!(
            !lines.is_empty() && lines.is_sorted() && lines.iter().all(|line| has(text, *line))
        );
        // A name that the builder resolves is the name of itself.
        let nothing = (BTreeMap::new(), BTreeSet::new());
        let plain =
            Situation { args: &nothing.0, contexts: &nothing.1, target: None, ..*situation };
        let again = external(&format!("FROM {image}\n"), &plain);
        let again = again.unwrap_or_else(|error| panic!("{image:?} is no image: {error}"));
        assert!(again.images.keys().eq([image]), "{image:?} is {:?}", again.images);
    }
}
