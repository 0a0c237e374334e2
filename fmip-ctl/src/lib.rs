//! The fmip controller.

pub mod io;
pub mod proto;
pub mod wire;
