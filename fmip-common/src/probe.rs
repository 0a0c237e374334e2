//! What a probe for redirected frames finds.

/// Nothing was sent.
pub const IDLE: u32 = 0;
/// The frame was sent; the driver was not asked.
pub const ASKED: u32 = 1;
/// The driver took the frame.
pub const TAKEN: u32 = 2;
/// The driver did not take it.
pub const REFUSED: u32 = 3;

/// What became of the frame that was sent on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// [`IDLE`], [`ASKED`], [`TAKEN`] or [`REFUSED`].
    pub state: u32,
    /// What the driver said: 0, or a negative error number.
    pub error: i32,
}

const _: () = assert!(size_of::<Probe>() == 8);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), without padding (size asserted above), every bit pattern valid.
    unsafe impl aya::Pod for super::Probe {}
}
