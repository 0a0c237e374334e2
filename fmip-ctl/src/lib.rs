//! The fmip controller.
