//! Factory mode: a blank board becomes a device over its serial line.

mod store;

pub use store::{FactoryStore, Stage, StoreError};
