//! What other people's tools say of what this package makes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod openssl;
