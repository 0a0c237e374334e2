//! What a probe for redirected frames finds.

/// Nothing was sent.
pub const IDLE: u32 = 0;
/// The frame was sent, and nothing heard of it yet.
pub const SENT: u32 = 1;
/// The driver took the frame.
pub const TAKEN: u32 = 2;
/// The driver did not take it.
pub const REFUSED: u32 = 3;
/// The kernel did not even ask the driver.
pub const NOT_ASKED: u32 = 4;

/// What became of the frame that was sent on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// [`IDLE`], [`SENT`], [`TAKEN`], [`REFUSED`] or [`NOT_ASKED`].
    pub state: u32,
    /// What the driver or the kernel said: 0, or a negative error number.
    pub error: i32,
}

const _: () = assert!(size_of::<Probe>() == 8);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), without padding (size asserted above), every bit pattern valid.
    unsafe impl aya::Pod for super::Probe {}
}
