//! Link layers that this machine has no hardware for, as processes of their own in the lab.

pub mod ieee80211;
pub mod ieee80216e;
