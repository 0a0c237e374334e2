//! Builds the BPF object and leaves it in `OUT_DIR/fmip-ebpf`, where `io::load` embeds it.

#[path = "../fmip-ebpf/toolchain.rs"]
mod toolchain;

fn main() {
    for path in ["../fmip-ebpf", "../fmip-common/src", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    if let Err(error) = toolchain::build("fmip-ebpf") {
        println!("cargo::error={error}");
    }
}
