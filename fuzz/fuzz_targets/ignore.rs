//! Any ignore file and any paths are answered, and every way of asking about a path gives the same answer.
//!
//! The first byte of an input is a separator. It splits the rest into the ignore file and paths.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tg::digest::ignore::{BadPattern, IgnoreRules, Matched};

fuzz_target!(|input: &[u8]| {
    let Some((separator, rest)) = input.split_first() else { return };
    let mut fields = rest.split(|byte| byte == separator);
    let file = fields.next().unwrap_or_default();
    let lines = file.split(|byte| *byte == b'\n').count();
    let rules = match IgnoreRules::parse(file) {
        Ok(rules) => rules,
        Err(bad) => return check(&bad, lines),
    };
    let ordered = rules.rules().is_sorted_by_key(|rule| rule.line);
    assert!(ordered && rules.rules().iter().all(|rule| (1..=lines).contains(&rule.line)));
    for path in fields.filter(|path| is_path(path)) {
        ask(&rules, path, lines);
    }
});

fn check(bad: &BadPattern, lines: usize) {
    assert!((1..=lines).contains(&bad.line) && !bad.message.is_empty(), "{bad:?}");
}

/// What a walk can come to.
fn is_path(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/')
        .all(|name| !matches!(name, b"" | b"." | b"..") && name.len() < 256 && !name.contains(&0))
}

fn ask(rules: &IgnoreRules, path: &[u8], lines: usize) {
    let explanation = match rules.explain(path) {
        Ok(explanation) => explanation,
        Err(bad) => return check(&bad, lines),
    };
    let below = |directory: &[u8]| {
        path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    };
    assert!(below(explanation.at) && explanation.pruned.is_none_or(below));
    // What was not matched is kept, and what was matched is what the rule says.
    assert_eq!(explanation.excluded, explanation.by.is_some_and(|rule| !rule.keeps));
    assert!(!explanation.emptied || !explanation.excluded);

    // The same by the steps that the walk takes.
    let mut parent = Matched::default();
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    for (end, _) in slashes {
        let directory = &path[..end];
        let (verdict, matched) = rules.enter(&parent, directory).expect("it was explained");
        let asked = rules.verdict(&parent, directory).expect("it was entered");
        assert_eq!(asked.excluded, verdict.excluded, "entering and asking differ");
        if verdict.excluded && rules.prunes(directory) {
            assert_eq!(explanation.pruned, Some(directory));
            assert!(explanation.excluded);
            return;
        }
        parent = matched;
    }
    assert_eq!(explanation.pruned, None);
    let verdict = rules.verdict(&parent, path).expect("it was explained");
    assert_eq!(verdict.excluded, explanation.excluded);
    assert_eq!(verdict.by.map(|rule| rule.line), explanation.by.map(|rule| rule.line));
    let emptied = !verdict.excluded && rules.refuses_to_open(path);
    assert_eq!(emptied, explanation.emptied);
}
