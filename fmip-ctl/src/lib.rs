//! The fmip controller.

pub mod io;
pub mod wire;
