//! `fmip-ctl replay`: does the protocol do again what was recorded?

use std::{
    fs::File,
    io::{self, BufReader, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use fmip_ctl::record::{self, Replayed};

#[derive(Args)]
pub(super) struct Options {
    /// A recording of `fmip-ctl run --record`.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Says in one line that all was the same; the first difference is an error.
pub(super) fn replay(options: &Options) -> anyhow::Result<()> {
    let path = &options.file;
    let name = || path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {}", name()))?;
    let replayed = record::replay(BufReader::new(file)).with_context(name)?;
    writeln!(io::stdout(), "{}", summary(path, replayed))?;
    Ok(())
}

fn summary(path: &Path, replayed: Replayed) -> String {
    let end = if replayed.complete {
        ""
    } else {
        "; it was cut short"
    };
    format!(
        "{}: {} replayed, {} the same as recorded{end}",
        path.display(),
        super::counted(replayed.inputs, "input"),
        super::counted(replayed.outputs, "output"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agreed_is_counted_and_a_cut_is_said() {
        let replayed = Replayed {
            inputs: 1,
            outputs: 2,
            complete: true,
        };
        let path = Path::new("a.jsonl");
        assert_eq!(
            summary(path, replayed),
            "a.jsonl: 1 input replayed, 2 outputs the same as recorded"
        );
        let cut = Replayed {
            complete: false,
            ..replayed
        };
        assert!(summary(path, cut).ends_with("; it was cut short"));
    }
}
