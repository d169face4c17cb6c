//! Worlds with both ends: simulated and live.
