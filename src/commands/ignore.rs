//! Says which rule decides whether a path reaches the builder. Reads only, and needs no Docker.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::select;
use crate::digest::{IgnoreFile, ignore_file};
use crate::error::{Failure, Kind};
use crate::report::{Explained, Ui, print_explained};
use crate::taskfile::model::{ContextSource, ImageSpec, TaskFile};

pub(crate) fn explain(
    ui: Ui,
    file: &TaskFile,
    image: Option<&str>,
    context: Option<&str>,
    paths: &[PathBuf],
) -> Result<(), Failure> {
    let spec = image_of(file, image)?;
    let (root, ignore) = match context {
        None => (&spec.context, ignore_file(&spec.context, Some(&spec.dockerfile))),
        Some(name) => match spec.contexts.get(name) {
            Some(ContextSource::Local(path)) => (path, ignore_file(path, None)),
            _ => {
                let message = format!("`{}` has no local context `{name}`", spec.id);
                return Err(Failure::said(Kind::Usage, message));
            }
        },
    };
    let ignore = ignore.map_err(|error| Failure::new(Kind::TaskFile, error))?;
    for path in paths {
        explain_one(ui, root, ignore.as_ref(), path)?;
    }
    Ok(())
}

fn explain_one(
    ui: Ui,
    root: &Path,
    ignore: Option<&IgnoreFile>,
    path: &Path,
) -> Result<(), Failure> {
    let relative = relative(root, path)?;
    let exists = root.join(OsStr::from_bytes(&relative)).symlink_metadata().is_ok();
    let explanation = ignore.map(|file| file.rules.explain(&relative)).transpose();
    let explanation = explanation.map_err(|bad| {
        let file = ignore.map(|file| file.path.display().to_string()).unwrap_or_default();
        Failure::said(Kind::TaskFile, format!("{file}:{}: {}", bad.line, bad.message))
    })?;
    let file = ignore.map(|file| file.path.as_path());
    print_explained(ui, &Explained { path: &relative, exists, file, explanation });
    Ok(())
}

fn image_of<'a>(file: &'a TaskFile, image: Option<&str>) -> Result<&'a ImageSpec, Failure> {
    let names: Vec<String> = image.map(str::to_owned).into_iter().collect();
    let ids = select(file, &names)?;
    match ids.as_slice() {
        [id] => file.images.get(id),
        _ => None,
    }
    .ok_or_else(|| {
        let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
        Failure::said(Kind::Usage, "the task file has several images; name one with --image")
            .hint(format!("defined: {}", names.join(", ")))
    })
}

/// The path as the rules see it: relative to the context, without `.`, `..` and a slash at the end.
fn relative(root: &Path, path: &Path) -> Result<Vec<u8>, Failure> {
    let outside = || {
        let message = format!("{} is not in the context {}", path.display(), root.display());
        Failure::said(Kind::Usage, message)
    };
    let inside = match path.is_absolute() {
        true => path.strip_prefix(root).map_err(|_not_a_prefix| outside())?,
        false => path,
    };
    let mut parts: Vec<&[u8]> = Vec::new();
    for component in inside.components() {
        match component {
            Component::Normal(name) => parts.push(name.as_bytes()),
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop().ok_or_else(outside)?),
            _ => return Err(outside()),
        }
    }
    if parts.is_empty() { Err(outside()) } else { Ok(parts.join(&b'/')) }
}
