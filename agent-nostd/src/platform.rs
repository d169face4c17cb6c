//! What a board gives to the agent: traits only, no board's name.
