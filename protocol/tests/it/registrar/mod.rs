//! The gateway's counterpart, step by step: who is let in, what is issued, what is withdrawn and when.

mod admit;
mod desk;
mod operate;
mod rotate;
