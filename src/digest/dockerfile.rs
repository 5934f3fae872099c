//! What a Dockerfile takes from outside its context: base images and remote files.
//! Depends on: parse-dockerfile.

use std::collections::{BTreeMap, BTreeSet};

use parse_dockerfile::{Flag, Instruction, Source, UnescapedString};

/// The outside world of a Dockerfile, with build arguments filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    /// Image references of `FROM`, `COPY --from` and `RUN --mount=from=`, without stages and `scratch`.
    pub images: BTreeSet<String>,
    /// Remote sources of `ADD` that carry no checksum: what they hold cannot be known from here.
    pub unverifiable: BTreeSet<String>,
}

/// Reads what a Dockerfile depends on.
///
/// # Errors
/// The parser's own message for a file that it cannot read.
pub fn external(text: &str, args: &BTreeMap<String, String>) -> Result<External, String> {
    let file = parse_dockerfile::parse(text).map_err(|error| error.to_string())?;
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for arg in file.global_args() {
        let declared = &arg.arguments.value;
        let (name, default) = match declared.split_once('=') {
            Some((name, default)) => (name.trim(), Some(unquote(default.trim()))),
            None => (declared.trim(), None),
        };
        let value = args.get(name).cloned().or_else(|| default.map(|d| expand(d, &variables)));
        variables.extend(value.map(|value| (name.to_owned(), value)));
    }
    let mut stages: BTreeSet<String> = BTreeSet::new();
    let mut found = External::default();
    let mut add_image = |name: &str, stages: &BTreeSet<String>| {
        let known = stages.contains(&name.to_lowercase()) || name.parse::<usize>().is_ok();
        if name != "scratch" && !name.is_empty() && !known {
            found.images.insert(name.to_owned());
        }
    };
    for instruction in &file.instructions {
        match instruction {
            Instruction::From(from) => {
                add_image(&expand(&from.image.value, &variables), &stages);
                stages.extend(from.as_.as_ref().map(|(_, name)| name.value.to_lowercase()));
            }
            Instruction::Copy(copy) => {
                for from in flags(&copy.options, "from") {
                    add_image(&expand(from, &variables), &stages);
                }
            }
            Instruction::Run(run) => {
                for mount in flags(&run.options, "mount") {
                    for from in mount.split(',').filter_map(|part| part.strip_prefix("from=")) {
                        add_image(&expand(from, &variables), &stages);
                    }
                }
            }
            _ => {}
        }
    }
    for instruction in &file.instructions {
        if let Instruction::Add(add) = instruction {
            let checked = flags(&add.options, "checksum").next().is_some();
            found.unverifiable.extend(add.src.iter().filter(|_| !checked).filter_map(remote));
        }
    }
    Ok(found)
}

fn flags<'a>(options: &'a [Flag<'_>], name: &'a str) -> impl Iterator<Item = &'a str> {
    options
        .iter()
        .filter(move |flag| flag.name.value == name)
        .filter_map(|flag| flag.value.as_ref())
        .map(|value: &UnescapedString<'_>| value.value.as_ref())
}

fn remote(source: &Source<'_>) -> Option<String> {
    let Source::Path(path) = source else {
        return None;
    };
    let path = path.value.as_ref();
    let remote = ["http://", "https://", "git://", "git@", "ssh://"];
    remote.iter().any(|scheme| path.starts_with(scheme)).then(|| path.to_owned())
}

fn unquote(text: &str) -> &str {
    let inner = |quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// Fills in `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+other}` as the builder does; unknown names are empty.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(body) = rest.strip_prefix('{') {
            let (inside, after) = body.split_once('}').unwrap_or((body, ""));
            out.push_str(&expand_braced(inside, variables));
            rest = after;
        } else {
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            out.push_str(variables.get(&rest[..end]).map_or("", String::as_str));
            rest = &rest[end..];
        }
    }
    out + rest
}

fn expand_braced(inside: &str, variables: &BTreeMap<String, String>) -> String {
    let value = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    if let Some((name, default)) = inside.split_once(":-") {
        return value(name).cloned().unwrap_or_else(|| expand(default, variables));
    }
    if let Some((name, other)) = inside.split_once(":+") {
        return value(name).map(|_| expand(other, variables)).unwrap_or_default();
    }
    variables.get(inside).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_from_outside_is_found() {
        let text = "ARG VERSION=1\nARG BASE=\"debian:${VERSION}\"\nFROM $BASE AS build\n\
            COPY --from=tools:2 /a /a\nRUN --mount=type=bind,from=mounted:3,target=/x true\n\
            ADD https://example.com/x /x\nADD --checksum=sha256:00 https://example.com/y /y\nADD local /z\n\
            FROM scratch\nCOPY --from=Build /a /a\nCOPY --from=0 /a /a\n";
        let args = BTreeMap::from([("VERSION".to_owned(), "12".to_owned())]);
        let found = external(text, &args).unwrap();
        let images: Vec<&str> = found.images.iter().map(String::as_str).collect();
        assert_eq!(images, ["debian:12", "mounted:3", "tools:2"]);
        assert_eq!(Vec::from_iter(found.unverifiable), ["https://example.com/x"]);
    }

    #[test]
    fn variables_expand_as_in_the_builder() {
        let variables = BTreeMap::from([("A".to_owned(), "x".to_owned())]);
        for (text, wanted) in [
            ("$A-${A}", "x-x"),
            ("${B:-y}", "y"),
            ("${A:+z}${B:+z}", "z"),
            ("$B", ""),
            ("plain", "plain"),
        ] {
            assert_eq!(expand(text, &variables), wanted, "{text}");
        }
    }
}
