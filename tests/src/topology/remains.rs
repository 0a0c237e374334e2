//! What stays of a lab beyond its value: its names, its directory, and how a kept one is removed.

use std::{
    env, fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::netns;

/// The roles of a lab; each is one namespace.
pub const ROLES: [&str; 12] = [
    "cn", "core", "par", "nar", "third", "par2", "par3", "nar2", "nar3", "air", "mn", "other",
];

/// A directory that goes away with its owner.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(super) keep: bool,
}

impl Directory {
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        // Handover keys are written into it.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, keep: false })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

pub(super) fn namespace_name(tag: &str, role: &str) -> String {
    format!("fmip-{tag}-{role}")
}

pub(super) fn directory_of(tag: &str) -> PathBuf {
    env::temp_dir().join(format!("fmip-lab-{tag}"))
}

/// Removes a lab that was kept. Returns how many namespaces it had.
pub fn clean(tag: &str) -> Result<usize> {
    let existing = netns::list()?;
    let mut removed = 0;
    for role in ROLES {
        let name = namespace_name(tag, role);
        if existing.contains(&name) {
            netns::remove(&name);
            removed += 1;
        }
    }
    let directory = directory_of(tag);
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(removed)
}

/// The tags of labs whose maker no longer runs: kept ones, and what a killed runner has left.
pub fn abandoned() -> Result<Vec<String>> {
    let mut tags: Vec<String> = netns::list()?
        .iter()
        .filter_map(|name| tag_of(name))
        .filter(|tag| {
            let maker = tag.split('x').next().unwrap_or_default();
            !Path::new("/proc").join(maker).exists()
        })
        .map(str::to_owned)
        .collect();
    tags.sort();
    tags.dedup();
    Ok(tags)
}

/// The tag in a namespace's name, if a lab made it.
fn tag_of(name: &str) -> Option<&str> {
    let (tag, role) = name.strip_prefix("fmip-")?.rsplit_once('-')?;
    let (maker, count) = tag.split_once('x')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (ROLES.contains(&role) && number(maker) && number(count)).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_a_lab_have_a_tag() {
        assert_eq!(tag_of("fmip-12x1-core"), Some("12x1"));
        assert_eq!(tag_of("fmip-12x1-elsewhere"), None);
        assert_eq!(tag_of("fmip-probe-core"), None);
        assert_eq!(tag_of("other"), None);
    }
}
