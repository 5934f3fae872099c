//! Reads typed values out of a TOML table and keeps every mistake with its place.
//! Own reading instead of serde's derive because `untagged` and `flatten` lose spans and give "did not match any variant".
//! Depends on: taskfile::diagnostic.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, nearest};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A table that is being read, key by key. [`Table::finish`] reports what nobody asked for.
pub(super) struct Table<'a> {
    entries: &'a DeTable<'a>,
    what: &'static str,
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) fn new(entries: &'a DeTable<'a>, what: &'static str) -> Self {
        Self { entries, what, asked: Vec::new() }
    }

    /// The raw value of a key, which counts as known from now on.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.entries.get(key)
    }

    pub(super) fn string(
        &mut self,
        key: &'static str,
        out: &mut Vec<Diagnostic>,
    ) -> Option<At<String>> {
        let value = self.get(key)?;
        text(value, key, out)
    }

    pub(super) fn boolean(&mut self, key: &'static str, out: &mut Vec<Diagnostic>) -> Option<bool> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => {
                out.push(wrong_type(key, "true or false", other, value.span()));
                None
            }
        }
    }

    pub(super) fn strings(
        &mut self,
        key: &'static str,
        out: &mut Vec<Diagnostic>,
    ) -> Option<At<Vec<String>>> {
        let value = self.get(key)?;
        texts(value, key, out)
    }

    pub(super) fn table(
        &mut self,
        key: &'static str,
        what: &'static str,
        out: &mut Vec<Diagnostic>,
    ) -> Option<Table<'a>> {
        let value = self.get(key)?;
        as_table(value, key, what, out)
    }

    /// A table of names to texts, as for `args`.
    pub(super) fn string_map(
        &mut self,
        key: &'static str,
        out: &mut Vec<Diagnostic>,
    ) -> BTreeMap<String, String> {
        let named = self.named_texts(key, out);
        named.into_iter().map(|(name, text)| (name.value, text.value)).collect()
    }

    /// As [`Table::string_map`], with the places.
    pub(super) fn named_texts(
        &mut self,
        key: &'static str,
        out: &mut Vec<Diagnostic>,
    ) -> Vec<(At<String>, At<String>)> {
        let table = self.table(key, key, out);
        let entries = table.iter().flat_map(Table::entries);
        entries.filter_map(|(name, value)| Some((name, text(value, key, out)?))).collect()
    }

    /// As [`Table::strings`], with the place of each; nothing where one of them is wrong.
    pub(super) fn listed_texts(
        &mut self,
        key: &'static str,
        out: &mut Vec<Diagnostic>,
    ) -> Vec<At<String>> {
        self.get(key).and_then(|value| items(value, key, out)).unwrap_or_default()
    }

    /// All entries, for tables whose keys are the user's own names.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (At<String>, &'a Spanned<DeValue<'a>>)> + use<'a> {
        self.entries
            .iter()
            .map(|(key, value)| (At { value: key.get_ref().to_string(), span: key.span() }, value))
    }

    /// Reports every key that was never asked for, with the nearest that could have been meant.
    pub(super) fn finish(self, out: &mut Vec<Diagnostic>) {
        for (key, _) in self.entries.iter() {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let help = match nearest(name, self.asked.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            out.push(Diagnostic {
                message: format!("unknown key `{name}` in {}", self.what),
                span: key.span(),
                label: "not known here".to_owned(),
                help: Some(help),
            });
        }
    }
}

pub(super) fn text(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    out: &mut Vec<Diagnostic>,
) -> Option<At<String>> {
    match value.get_ref() {
        DeValue::String(text) if text.contains('\0') => {
            out.push(finding(format!("`{key}` holds a NUL byte"), value.span(), "not allowed"));
            None
        }
        DeValue::String(text) => Some(At { value: text.to_string(), span: value.span() }),
        other => {
            out.push(wrong_type(key, "a string", other, value.span()));
            None
        }
    }
}

pub(super) fn texts(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    out: &mut Vec<Diagnostic>,
) -> Option<At<Vec<String>>> {
    let items = items(value, key, out)?;
    Some(At { value: items.into_iter().map(|item| item.value).collect(), span: value.span() })
}

fn items(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    out: &mut Vec<Diagnostic>,
) -> Option<Vec<At<String>>> {
    let DeValue::Array(items) = value.get_ref() else {
        out.push(wrong_type(key, "an array of strings", value.get_ref(), value.span()));
        return None;
    };
    let texts: Vec<_> = items.iter().filter_map(|item| text(item, key, out)).collect();
    (texts.len() == items.len()).then_some(texts)
}

pub(super) fn as_table<'a>(
    value: &'a Spanned<DeValue<'a>>,
    key: &str,
    what: &'static str,
    out: &mut Vec<Diagnostic>,
) -> Option<Table<'a>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(Table::new(table, what)),
        other => {
            out.push(wrong_type(key, "a table", other, value.span()));
            None
        }
    }
}

pub(super) fn finding(
    message: impl Into<String>,
    span: Range<usize>,
    label: impl Into<String>,
) -> Diagnostic {
    Diagnostic { message: message.into(), span, label: label.into(), help: None }
}

pub(super) fn wrong_type(
    key: &str,
    wanted: &str,
    found: &DeValue<'_>,
    span: Range<usize>,
) -> Diagnostic {
    finding(format!("`{key}` must be {wanted}"), span, format!("this is {}", type_name(found)))
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
