//! Integration tests of the factory line's library.

mod fleet;
mod station;
