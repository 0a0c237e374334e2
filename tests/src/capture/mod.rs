//! What the wires of the lab show, seen from outside the controllers and with eyes of its own.

mod message;
mod story;
mod watch;

pub(crate) use self::story::arrival;
pub use self::{
    story::{Seen, Story},
    watch::Watch,
};
