//! The fmip controller.

pub mod config;
pub mod io;
pub mod link;
pub mod observe;
pub mod proto;
pub mod record;
pub mod wire;
