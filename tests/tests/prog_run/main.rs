//! Every program, one packet at a time: packet in; packet, verdict and counter out (BPF_PROG_RUN).

mod bench;
mod copy;
mod departed;
mod drain;
mod drain_thread;
mod hold;
mod host;
mod mobile;
mod nested;
mod packets;
mod pass;
mod rebinding;
mod receiver;
mod reverse;
mod scale;
mod signalling;
mod straggler;
mod switches;
mod too_big;
mod tunnel;
