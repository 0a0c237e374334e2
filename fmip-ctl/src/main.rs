//! The `fmip-ctl` binary.

fn main() {}
