#![no_std]
//! What the data path and the controller must agree on, and nothing else.
