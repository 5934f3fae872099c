//! What is read from a Dockerfile against what the real builder makes of it: `cargo test --test dockerfile -- --ignored`.
//!
//! The builder is asked for the outline of each file. For that it resolves every image that it needs, by a reference that
//! it prints, and runs nothing. All images are at an address that refuses at once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "how long a case takes is part of the answer")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Instant;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tg::digest::dockerfile::{DockerfileError, External, Situation, external};

/// Stands for the registry in the texts below.
const REGISTRY: &str = "127.0.0.1:9";

/// One file and what it is built with.
#[derive(Clone, Debug, Default)]
struct Case {
    text: String,
    args: BTreeMap<String, String>,
    target: Option<String>,
    contexts: BTreeSet<String>,
    platform: Option<String>,
}

impl Case {
    fn new(text: &str) -> Self {
        Self { text: text.replace("@/", &format!("{REGISTRY}/")), ..Self::default() }
    }

    fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.insert(name.to_owned(), value.to_owned());
        self
    }

    fn target(mut self, name: &str) -> Self {
        self.target = Some(name.to_owned());
        self
    }

    fn context(mut self, name: &str) -> Self {
        self.contexts.insert(name.replace("@/", &format!("{REGISTRY}/")));
        self
    }

    fn platform(mut self, name: &str) -> Self {
        self.platform = Some(name.to_owned());
        self
    }

    fn ours(&self) -> Result<External, DockerfileError> {
        let situation = Situation {
            args: &self.args,
            volatile: &BTreeSet::new(),
            platform: self.platform.as_deref().unwrap_or("linux/amd64"),
            build_platform: "linux/amd64",
            target: self.target.as_deref(),
            contexts: &self.contexts,
        };
        external(&self.text, &situation)
    }

    fn asked(&self) -> Answer {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("Dockerfile"), &self.text).unwrap();
        let mut command = Command::new("docker");
        command.args(["buildx", "build", "--progress=plain"]);
        // The outline forgets the platform. Then it is a build, which gets as far as the first image.
        match &self.platform {
            None => command.arg("--call=outline,format=json"),
            Some(name) => command.arg("--output=type=cacheonly").arg(format!("--platform={name}")),
        };
        for (name, value) in &self.args {
            command.arg(format!("--build-arg={name}={value}"));
        }
        for name in &self.contexts {
            command.arg(format!("--build-context={name}=docker-image://{REGISTRY}/context"));
        }
        command.args(self.target.iter().map(|name| format!("--target={name}")));
        let output = command.arg(directory.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut answer = Answer { fine: output.status.success(), said, ..Answer::default() };
        for line in answer.said.lines().filter(|line| line.starts_with('#')) {
            if let Some((before, image)) = line.split_once(" load metadata for ") {
                match before.split_once("[context ") {
                    None => answer.images.insert(image.to_owned()),
                    Some((_, name)) => {
                        answer.contexts.insert(name.trim_end_matches(']').to_owned())
                    }
                };
            }
        }
        answer.outline = serde_json::from_slice(&output.stdout).unwrap_or_default();
        answer
    }

    /// What the builder and `tg` do not agree on. The builder stops at the first image that it does not get, so of several
    /// it may have named only some.
    fn difference(&self) -> Option<String> {
        let (ours, asked) = (self.ours(), self.asked());
        let named = asked.images.len() + asked.contexts.len();
        let agrees = match &ours {
            Err(_) => !asked.fine && named == 0,
            Ok(ours) => {
                let images: BTreeSet<String> = ours.images.keys().cloned().collect();
                let wanted = images.len() + ours.contexts.len();
                let one = asked.images == images && asked.contexts.len() == ours.contexts.len();
                asked.fine == (wanted == 0)
                    && asked.images.is_subset(&images)
                    && (named > 0) == (wanted > 0)
                    && (one || wanted > 1)
            }
        };
        let Self { text, args, target, contexts, platform } = self;
        (!agrees).then(|| {
            format!(
                "{text}\nwith {args:?} {target:?} {contexts:?} {platform:?}\nours: {ours:?}\n{}",
                asked.said
            )
        })
    }
}

/// Runs all cases, says how long each took, and fails with every difference.
#[track_caller]
fn all_agree(cases: &[Case]) {
    let started = Instant::now();
    let found: Vec<String> = cases.iter().filter_map(Case::difference).collect();
    let each = started.elapsed() / u32::try_from(cases.len()).unwrap();
    let read = cases.iter().filter(|case| case.ours().is_ok()).count();
    println!("{} cases, of which {read} can be built, {each:?} each", cases.len());
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n\n"));
}

/// What the builder said to a file.
#[derive(Debug, Default)]
struct Answer {
    fine: bool,
    said: String,
    images: BTreeSet<String>,
    contexts: BTreeSet<String>,
    outline: serde_json::Value,
}

fn cases() -> Vec<Case> {
    let plain = [
        "FROM @/a",
        "FROM @/a:1",
        "FROM \"@/a\"",
        "from @/A",
        "FROM scratch",
        "FROM scratch:x y",
        "ARG A=1 B=$A-$A\nFROM @/d:$B",
        "ARG B=$A A=1\nFROM @/d:x$B",
        "FROM @/d:${A-unset}",
        "ARG A=1\nARG B=${A}\nARG A=2\nFROM @/d:$A$B",
        "ARG A=\nFROM @/d:x${A-unset}",
        "ARG A=\"b c\"\nFROM @/d:${A%?c}",
        "ARG A='b c'\nFROM @/d:${A% c}",
        "FROM $A",
        "FROM @/$TARGETARCH/$TARGETOS:x$TARGETVARIANT",
        "FROM @/$BUILDPLATFORM:$TARGETSTAGE",
        "FROM @/a:${TARGETVARIANT-y}x${TARGETOSVERSION-y}",
        "FROM @/a:$TARGETSTAGE AS Own",
        "ARG TARGETARCH=own\nFROM @/$TARGETARCH",
        "ARG TARGETARCH\nFROM @/$TARGETARCH",
        "ARG X=${Y:?why}\nFROM @/a",
        "ARG X=${Y\nFROM @/a",
        "ARG =x\nFROM @/a",
        // Stages.
        "FROM @/a AS b\nFROM b",
        "FROM scratch AS Build\nFROM build",
        "FROM scratch AS Build\nFROM Build",
        "FROM scratch AS x\nFROM @/b AS x\nFROM x",
        "FROM scratch AS x\nFROM scratch\nCOPY --from=X / /",
        "FROM @/a\nFROM scratch\nCOPY --from=0 / /",
        "FROM scratch\nCOPY --from=@/a / /\nCOPY --from=1 / /",
        "FROM scratch\nCOPY --from=2 / /",
        "FROM scratch\nRUN --mount=type=cache,target=/x y\nCOPY --from=1 / /",
        "FROM scratch AS t\nCOPY --from=l / /\nFROM scratch AS l\nFROM t",
        "FROM scratch AS 1a",
        "FROM scratch AS a b",
        "FROM scratch AS a-\n",
        "FROM scratch AS a..b\n",
        "FROM @/a AS scratch\nFROM scratch",
        "FROM @/unused\nFROM scratch",
        "FROM UPPER AS unused\nFROM scratch",
        "FROM ${A:?x} AS unused\nFROM scratch",
        "FROM scratch AS u\nCOPY --from=UPPER / /\nFROM scratch",
        "FROM scratch AS u\nENV A=${B:?x}\nFROM scratch",
        "FROM scratch AS s\nCOPY --from=s / /\nFROM scratch AS t\nCOPY --from=s / /",
        "FROM --platform=$BUILDPLATFORM @/a",
        "FROM --platform=$NONE @/a",
        "FROM --platform=a/b/c/d @/a",
        "FROM --platform=arm64 @/a",
        "FROM --platform=nonsense @/a",
        "FROM --platform=linux @/a",
        // Mounts and copies.
        "FROM scratch\nRUN --mount=type=bind,from=@/a,target=/x y",
        "FROM scratch\nRUN --mount=from=$A,target=/x y",
        "FROM scratch\nRUN --mount=target=/x --mount=\"from=@/a,target=/y\" y",
        "FROM scratch\nRUN --mount=type=tmpfs,from=@/a,target=/x y",
        "FROM scratch\nRUN y --mount=from=@/a,target=/x",
        "FROM scratch\nRUN --mount='\"from=@/a\",target=/x' y",
        "FROM scratch AS s\nFROM scratch\nRUN --mount=FROM=S,target=/x y",
        "ARG A=@/a\nFROM scratch\nCOPY --from=$A / /",
        "FROM scratch\nCOPY --link --from=@/a / /",
        "FROM scratch\nCOPY --from='@/a' / /",
        "FROM scratch\nONBUILD COPY --from=@/a / /",
        "FROM scratch AS b\nONBUILD COPY --from=@/a / /\nFROM b",
        "FROM scratch AS b\nONBUILD RUN --mount=from=@/a,target=/x y\nFROM b AS c\nFROM c",
        // Lines.
        "\u{feff}FROM @/a\r\nRUN x\r\n",
        "# c\n\n  from \\\n# c\n\n  @/a \\\n  as b\n",
        "# escape=`\nFROM `\n@/a\n",
        "#\n# escape=`\nFROM @/a\nRUN x `\nFROM @/b\n",
        " # escape=`\nFROM `\n@/a",
        "# escape=`\n# escape=`\nFROM @/a",
        "FROM @/a\nRUN cat <<EOF > /x\nFROM @/b\nEOF\n",
        "FROM @/a\nRUN <<A <<B\nFROM @/b\nA\nFROM @/c\nB\nRUN x",
        "FROM @/a\nRUN 3<<-'E F' cat\nFROM @/b\n\tE F\n",
        "FROM @/a\nCOPY <<A <<\"B\" /x/\nFROM @/b\nA\nFROM @/c\nB\n",
        "FROM @/a\nRUN echo \"<<EOF\"\nRUN x",
        "FROM @/a\nRUN echo $((1<<2))\nRUN x",
        "FROM @/a\nRUN echo 1<<2\nRUN x",
        "FROM @/a\nRUN echo it's <<EOF\nRUN x\n",
        "FROM @/a\nRUN [\"x\", \"<<EOF\"]\nRUN x",
        "FROM @/a\nONBUILD RUN <<EOF\nFROM @/b\nEOF\n",
        "FROM @/a\nRUN <<EOF\nFROM @/b\n",
        "FROM @/a\nRUN x \\\\\nRUN y",
        "FROM @/a\nRUN x \\  \n  FROM @/b\n",
        "FROM @/a\nNOPE x\n",
        "RUN x\nFROM @/a\n",
        "# escape=x\nFROM @/a",
        "",
        "# only\n",
        "ARG A\n",
        "FROM @/a\nRUN x \\",
        "FROM @/a:",
        "FROM @/a@sha256:00",
        "FROM @/a..b",
        "FROM @/a__b/c--d.e",
        "FROM @/a\nRUN << EOF cat\nFROM @/b\nEOF\n",
        "FROM @/a\nRUN \\\n",
        "FROM @/a\n\\\nFROM @/b",
    ];
    let mut cases: Vec<Case> = plain.iter().map(|text| Case::new(text)).collect();
    let built =
        "FROM @/a AS one\nFROM @/b AS two\nFROM scratch AS three\nCOPY --from=two / /\nFROM one";
    cases.extend([
        Case::new("ARG A=1\nFROM @/d:$A").arg("A", "2"),
        Case::new("ARG A=1\nFROM @/d:x$A").arg("A", ""),
        Case::new("FROM @/d:x$A").arg("A", "2"),
        Case::new("ARG X=${Y:?why}\nFROM @/a").arg("X", "1"),
        Case::new("FROM @/$TARGETARCH").arg("TARGETARCH", "own"),
        Case::new("ARG TARGETARCH=x\nFROM @/$TARGETARCH").arg("TARGETARCH", "own"),
        Case::new("FROM @/$TARGETPLATFORM:x$TARGETVARIANT").platform("linux/arm64/v8"),
        Case::new("FROM @/$TARGETPLATFORM:x$TARGETVARIANT").platform("linux/arm/v7"),
        Case::new("FROM @/$TARGETPLATFORM:x$TARGETVARIANT").platform("linux/arm"),
        Case::new("FROM @/$TARGETPLATFORM:x$TARGETVARIANT").platform("linux/aarch64"),
        Case::new("FROM @/$TARGETPLATFORM:x$TARGETVARIANT").platform("linux/amd64/v2"),
        Case::new(built).target("ONE"),
        Case::new(built).target("three"),
        Case::new(built).target("five"),
        Case::new(built).target("0"),
        Case::new("FROM @/a:$TARGETSTAGE AS one").target("ONE"),
        Case::new("FROM @/a").context("@/a"),
        Case::new("FROM @/a:latest").context("@/a"),
        Case::new("FROM @/a").context("@/a:latest"),
        Case::new("FROM @/a:2").context("@/a"),
        Case::new("FROM own").context("docker.io/library/own:latest"),
        Case::new("FROM @/a AS own").context("own"),
        Case::new("FROM @/a AS own\nFROM own").context("own"),
        Case::new("FROM scratch\nCOPY --from=Own / /").context("own"),
        Case::new("FROM scratch\nCOPY --from=own / /").context("own"),
        Case::new("FROM scratch\nRUN --mount=from=own,target=/x y").context("own"),
        Case::new("FROM @/a AS scratch").context("scratch"),
        Case::new("FROM @/a AS context").context("context"),
        Case::new("FROM scratch\nCOPY --from=context / /").context("context"),
    ]);
    cases
}

#[test]
#[ignore = "needs docker"]
fn the_table_is_read_as_by_the_builder() {
    all_agree(&cases());
}

/// An expansion, nested a few levels, over variables that are set, empty, and not there.
fn expansions(text: &'static [&'static str]) -> impl Strategy<Value = String> {
    let text = prop::sample::select(text).prop_map(str::to_owned);
    let name = prop::sample::select(vec!["A", "B", "E", "U", "P"]);
    let plain = prop_oneof![
        text.clone(),
        name.clone().prop_map(|name| format!("${name}")),
        name.clone().prop_map(|name| format!("${{{name}}}")),
    ];
    plain.prop_recursive(3, 12, 3, move |inner| {
        let operator =
            prop::sample::select(vec![":-", "-", ":+", "+", "-", ":?", "#", "##", "%", "%%"]);
        let pattern = prop::collection::vec(
            prop::sample::select(vec!["a", "b", ".", "*", "?", "x", "-", "$A"]),
            0..4,
        );
        prop_oneof![
            (name.clone(), operator, inner.clone())
                .prop_map(|(name, operator, word)| format!("${{{name}{operator}{word}}}")),
            (name.clone(), prop::sample::select(vec!["#", "##", "%", "%%"]), pattern.clone())
                .prop_map(|(name, sign, pattern)| format!("${{{name}{sign}{}}}", pattern.concat())),
            (name.clone(), prop::sample::select(vec!["/", "//"]), pattern, inner.clone()).prop_map(
                |(name, sign, pattern, word)| format!(
                    "${{{name}{sign}{}/{word}}}",
                    pattern.concat()
                )
            ),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|words| words.concat()),
            inner.clone().prop_map(|word| format!("\"{word}\"")),
            inner.prop_map(|word| format!("'{word}'")),
        ]
    })
}

const VARIABLES: &str = "ARG A=x\nARG B=a.b-a\nARG E=\nARG P=xa.bax\n";

/// How many random cases of each kind: `TG_TEST_CASES`, for a longer search.
fn count() -> u32 {
    std::env::var("TG_TEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(80)
}

#[test]
#[ignore = "needs docker"]
fn random_references_expand_as_in_the_builder() {
    let mut runner = TestRunner::deterministic();
    let words = expansions(&["a", "b", "x.y", "1", "\\a", "\\$"]);
    let cases: Vec<Case> = (0..count())
        .map(|_| words.new_tree(&mut runner).unwrap().current())
        .map(|word| Case::new(&format!("{VARIABLES}FROM @/a:v{word}\n")))
        .collect();
    all_agree(&cases);
}

#[test]
#[ignore = "needs docker"]
fn random_values_expand_as_in_the_builder() {
    let mut runner = TestRunner::deterministic();
    let words = expansions(&[
        "a", " ", "é", "\\", "\\\\", "\\'", "\\\"", "\\$", "'", "\"", "$", "{", "}", "\\}", "\\/",
        "/", "<<", "#", "=", "`", "$$", "$1", "$-", ":", "~",
    ]);
    let started = Instant::now();
    for number in 0..count() {
        let word = words.new_tree(&mut runner).unwrap().current();
        let head = if number % 4 == 0 { "# escape=`\n" } else { "" };
        // The source of an ADD shows our value, the outline the builder's.
        let text =
            format!("{head}{VARIABLES}ARG R=v{word}\nFROM scratch AS s\nARG R\nADD http://$R /\n");
        let case = Case { text, ..Case::default() };
        let (ours, asked) = (case.ours(), case.asked());
        let context = format!("{}\nours: {ours:?}\nbuilder: {}", case.text, asked.said);
        assert_eq!(ours.is_ok(), asked.fine, "{context}");
        let args = asked.outline["args"].as_array();
        let value = args.into_iter().flatten().find(|arg| arg["name"] == "R");
        if let (Ok(ours), Some(value)) = (&ours, value) {
            let address = ours.addresses.first().map(|address| address.0.as_str());
            let shown = address.and_then(|address| address.strip_prefix("http://"));
            assert_eq!(shown, value["value"].as_str(), "{context}");
        }
    }
    println!("{} cases, {:?} each", count(), started.elapsed() / count());
}
