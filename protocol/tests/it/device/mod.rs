//! The device's life, step by step: what comes out of each input, and what is stored by then.

mod bench;
mod boot;
mod life;
mod trial;
mod trouble;
