//! The fmip controller.

pub mod wire;
