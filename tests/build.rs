//! Builds the helper programs of the bench and leaves them in `OUT_DIR/fmip-bench`, where
//! `bench::object` embeds them.

#[path = "../fmip-ebpf/toolchain.rs"]
mod toolchain;

fn main() {
    for path in [
        "../fmip-ebpf/Cargo.toml",
        "../fmip-ebpf/toolchain.rs",
        "../fmip-ebpf/src/bench.rs",
        "../fmip-common/src/bench.rs",
        "../Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={path}");
    }
    if let Err(error) = toolchain::build("fmip-bench") {
        println!("cargo::error={error}");
    }
}
