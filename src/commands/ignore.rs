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
    let here = std::env::current_dir().ok();
    for path in paths {
        explain_one(ui, here.as_deref(), root, ignore.as_ref(), path)?;
    }
    Ok(())
}

fn explain_one(
    ui: Ui,
    here: Option<&Path>,
    root: &Path,
    ignore: Option<&IgnoreFile>,
    path: &Path,
) -> Result<(), Failure> {
    let relative = relative(root, here, path)?;
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

/// The path as the rules see it: relative to the context, without `.`, `..` and a slash at the end. A path that is there
/// only as seen from the working directory, somewhere in the context, is taken from there.
fn relative(root: &Path, here: Option<&Path>, path: &Path) -> Result<Vec<u8>, Failure> {
    let exists = |path: &Path| path.symlink_metadata().is_ok();
    let found = if path.is_absolute() {
        inside(root, path)
    } else {
        let named = plain(path);
        let there =
            named.as_ref().is_some_and(|bytes| exists(&root.join(OsStr::from_bytes(bytes))));
        let here = here.filter(|here| inside(root, here).is_some());
        let from_here = here.map(|here| here.join(path)).filter(|path| !there && exists(path));
        from_here.and_then(|path| inside(root, &path)).or(named)
    };
    found.ok_or_else(|| {
        let message = format!("{} is not in the context {}", path.display(), root.display());
        Failure::said(Kind::Usage, message)
    })
}

/// An absolute path as it is in the context, also when links lead there.
fn inside(root: &Path, path: &Path) -> Option<Vec<u8>> {
    let real = root.canonicalize().ok().zip(real(path));
    let real = real.and_then(|(root, path)| plain(path.strip_prefix(root).ok()?));
    real.or_else(|| plain(path.strip_prefix(root).ok()?))
}

/// The path without links in its directories, as far as these are there. Its last part may be a link that is asked about.
fn real(path: &Path) -> Option<PathBuf> {
    if matches!(path.components().next_back(), Some(Component::ParentDir)) {
        return path.canonicalize().ok();
    }
    path.ancestors().skip(1).find_map(|directory| {
        let rest = path.strip_prefix(directory).ok()?;
        Some(directory.canonicalize().ok()?.join(rest))
    })
}

/// A relative path by its names, unless it leads out or to where it began.
fn plain(path: &Path) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name.as_bytes()),
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            _ => return None,
        }
    }
    if parts.is_empty() { None } else { Some(parts.join(&b'/')) }
}
