//! The kernel that is booted: a Debian package, unpacked and not installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{CannotRun, tools};
use crate::step;

/// What takes much room in a kernel package and nothing here looks at.
const WITHOUT: [&str; 7] = [
    "*/drivers/gpu",
    "*/drivers/media",
    "*/drivers/infiniband",
    "*/drivers/staging",
    "*/drivers/scsi",
    "*/kernel/sound",
    "./usr/share",
];

/// Where modules are in an unpacked package.
const MODULES: [&str; 2] = ["usr/lib/modules", "lib/modules"];

/// Which kernel somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// The newest that apt offers of a series, such as `6.1`.
    Series(String),
    /// A Debian package's file.
    Package(PathBuf),
    /// A folder with an unpacked package: boot/vmlinuz-* and lib/modules/*.
    Folder(PathBuf),
}

impl Wish {
    /// Reads what stands behind `--kernel`.
    ///
    /// # Errors
    /// If it is none of the three.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        if path.extension().is_some_and(|extension| extension == "deb") {
            return if path.is_file() {
                Ok(Self::Package(path.to_owned()))
            } else {
                Err(format!("there is no file {text}"))
            };
        }
        let mut parts = text.split('.');
        let number = |part: Option<&str>| {
            part.is_some_and(|part| {
                !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit())
            })
        };
        if number(parts.next()) && number(parts.next()) && parts.next().is_none() {
            return Ok(Self::Series(text.to_owned()));
        }
        Err("neither a series such as 6.1, nor a package's file (.deb), nor a folder".to_owned())
    }
}

/// A kernel that can be booted.
#[derive(Debug)]
pub(super) struct Kernel {
    /// What it calls itself.
    pub(super) release: String,
    /// The kernel itself.
    pub(super) image: PathBuf,
    /// The folder with `modules.dep`.
    pub(super) modules: PathBuf,
}

impl Kernel {
    /// Finds, or fetches into `cache`, the kernel of a wish, and lets `busybox` list its modules.
    pub(super) fn ensure(wish: &Wish, cache: &Path, busybox: &Path) -> Result<Self> {
        let folder = match wish {
            Wish::Folder(folder) => {
                fs::canonicalize(folder).with_context(|| folder.display().to_string())?
            }
            Wish::Package(deb) => {
                let stem = deb.file_stem().unwrap_or_default();
                unpacked(deb, &cache.join("kernels").join(stem))?
            }
            Wish::Series(series) => match newest_in(&cache.join("kernels"), series) {
                // What was downloaded once is good enough, also without a network.
                Some(folder) => folder,
                None => downloaded(series, cache)?,
            },
        };
        let kernel = Self::find(&folder)?;
        if !kernel.modules.join("modules.dep").is_file() {
            // Above lib/modules/RELEASE.
            let base = kernel
                .modules
                .ancestors()
                .nth(3)
                .unwrap_or(folder.as_path());
            let mut depmod = Command::new(busybox);
            depmod.args(["depmod", "-b"]).arg(base).arg(&kernel.release);
            step::run("vm-test: listing the kernel's modules", &mut depmod, false)?;
        }
        Ok(kernel)
    }

    fn find(root: &Path) -> Result<Self> {
        let boot = root.join("boot");
        let release = names_in(&boot)
            .iter()
            .filter_map(|name| name.strip_prefix("vmlinuz-"))
            .max_by_key(|release| numbers(release))
            .map(str::to_owned);
        let Some(release) = release else {
            bail!("no kernel: {} has no vmlinuz-*", boot.display());
        };
        let modules = MODULES
            .iter()
            .map(|folder| root.join(folder).join(&release))
            .find(|folder| folder.is_dir());
        let Some(modules) = modules else {
            bail!(
                "no modules of the kernel {release}: {} has no lib/modules/{release}",
                root.display()
            );
        };
        Ok(Self {
            image: boot.join(format!("vmlinuz-{release}")),
            modules,
            release,
        })
    }
}

/// Unpacks a package in `folder`, unless it was before.
fn unpacked(deb: &Path, folder: &Path) -> Result<PathBuf> {
    if !folder.exists() {
        // Under another name until it is whole.
        let partial = folder.with_extension("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        eprintln!("vm-test: unpacking {}", deb.display());
        tools::unpack(deb, &partial, &WITHOUT)?;
        fs::rename(&partial, folder)?;
    }
    Ok(folder.to_owned())
}

fn downloaded(series: &str, cache: &Path) -> Result<PathBuf> {
    tools::check_apt(&format!(
        "a kernel {series}, and give its folder to --kernel"
    ))?;
    let offered = || -> Result<Option<String>> {
        let output = Command::new("apt-cache")
            .args(["--names-only", "search"])
            .arg(format!("^linux-image-{}[.-]", series.replace('.', "[.]")))
            .output()
            .context("cannot run apt-cache")?;
        let offers = String::from_utf8_lossy(&output.stdout);
        Ok(newest_package(&offers, series, debian_architecture()).map(str::to_owned))
    };
    let mut package = offered()?;
    if package.is_none() && tools::refresh_lists() {
        package = offered()?;
    }
    let Some(package) = package else {
        return Err(CannotRun::because(format!(
            "apt offers no kernel {series} (is its list of packages old? `apt-get update`); \
             give a package's file or a folder to --kernel"
        )));
    };
    let debs = tools::download(std::slice::from_ref(&package), &cache.join("packages"))?;
    let deb = debs
        .first()
        .with_context(|| format!("apt-get downloaded no file of {package}"))?;
    let folder = unpacked(deb, &cache.join("kernels").join(&package))?;
    // It is as large as what was unpacked of it.
    let _ = fs::remove_file(deb);
    Ok(folder)
}

fn debian_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The newest of the ordinary kernels in a list of `NAME - DESCRIPTION` lines.
fn newest_package<'a>(offers: &'a str, series: &str, architecture: &str) -> Option<&'a str> {
    offers
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| release_of(name, architecture).is_some_and(|of| is_of(of, series)))
        .max_by_key(|name| numbers(name))
}

/// `linux-image-6.1.0-56-amd64` -> `6.1.0-56`; nothing for kernels of another build (`-rt-amd64`,
/// `-cloud-amd64`), unsigned ones and those with debugging information.
fn release_of<'a>(package: &'a str, architecture: &str) -> Option<&'a str> {
    let release = package
        .strip_prefix("linux-image-")?
        .strip_suffix(architecture)?
        .strip_suffix('-')?;
    let variant = ["rt", "cloud", "686"];
    (!release.split('-').any(|part| variant.contains(&part))).then_some(release)
}

fn is_of(release: &str, series: &str) -> bool {
    release
        .strip_prefix(series)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '+']))
}

/// The newest unpacked kernel of a series.
fn newest_in(kernels: &Path, series: &str) -> Option<PathBuf> {
    names_in(kernels)
        .iter()
        .filter(|name| release_of(name, debian_architecture()).is_some_and(|of| is_of(of, series)))
        .max_by_key(|name| numbers(name))
        .map(|name| kernels.join(name))
}

/// All numbers in a name, to compare versions by.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ordinary_kernel_of_the_series_is_taken() {
        let offers = "linux-image-6.1.0-9-amd64 - Linux 6.1 for 64-bit PCs (signed)\n\
            linux-image-6.1.0-56-amd64 - Linux 6.1 for 64-bit PCs (signed)\n\
            linux-image-6.1.0-57-amd64-unsigned - Linux 6.1 for 64-bit PCs\n\
            linux-image-6.1.0-57-amd64-dbg - Debug symbols\n\
            linux-image-6.1.0-57-rt-amd64 - Linux 6.1, PREEMPT_RT\n\
            linux-image-6.1.0-57-cloud-amd64 - Linux 6.1, cloud\n\
            linux-image-6.12.9+bpo-amd64 - Linux 6.12\n";
        let newest = |series| newest_package(offers, series, "amd64");
        assert_eq!(newest("6.1"), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(newest("6.12"), Some("linux-image-6.12.9+bpo-amd64"));
        assert_eq!(newest("6.2"), None);
        assert_eq!(newest_package("", "6.1", "amd64"), None);
    }

    #[test]
    fn a_wish_is_a_series_a_package_or_a_folder() {
        assert_eq!(Wish::read("6.1"), Ok(Wish::Series("6.1".to_owned())));
        assert_eq!(Wish::read("/"), Ok(Wish::Folder("/".into())));
        assert!(
            Wish::read("/none/such.deb")
                .unwrap_err()
                .contains("no file")
        );
        for text in ["", "6", "6.x", "6.1.2", "six"] {
            assert!(Wish::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_folder_without_a_kernel_is_named() {
        let error = Kernel::find(Path::new("/none")).unwrap_err().to_string();
        assert!(error.contains("/none/boot"), "{error}");
    }
}
