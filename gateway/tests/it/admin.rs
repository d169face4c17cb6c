//! Operations, with their roles and their audit, and the ways to reach them.

mod api;
mod operations;
mod socket;
