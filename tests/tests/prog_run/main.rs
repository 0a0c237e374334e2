//! Every program, one packet at a time: packet in; packet, verdict and counter out (BPF_PROG_RUN).

mod bench;
mod drain;
mod hold;
mod mobile;
mod packets;
mod pass;
mod rebinding;
mod receiver;
mod reverse;
mod signalling;
mod straggler;
mod too_big;
mod tunnel;
