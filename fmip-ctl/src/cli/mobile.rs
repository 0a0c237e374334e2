//! `fmip-ctl mobile`: the controller of a mobile node.

use anyhow::bail;
use fmip_ctl::config::Role;

use super::run::{self, Options};

/// As `fmip-ctl run`, for a configuration of a mobile node alone: who asks for a mobile node does not
/// get a router because of a wrong file.
pub(super) fn mobile(options: &Options) -> anyhow::Result<()> {
    let file = options.file();
    let config = super::load(file)?;
    if !matches!(config.role, Role::MobileNode(_)) {
        bail!(
            "{}: role is {:?}, and this is for a mobile node: `fmip-ctl run` takes any role",
            file.display(),
            config.role.name()
        );
    }
    run::start(options, config)
}
