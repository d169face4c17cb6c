//! The contract of [`SlotStore`], for files, flash and whatever else keeps a device's records.
//!
//! A store is held to it through its [`Medium`]: what survives when the power goes. A medium that can cut the power is
//! cut at every byte and every operation of a rewrite.

use muster_protocol::device::OUTPUT_BYTES_MAX;
use muster_protocol::slot::SlotId;
use muster_protocol::slot::store::{Item, SlotStore};

/// What a store of a device lies on.
pub trait Medium {
    /// The store on it.
    type Store: SlotStore;

    /// Starts the store, as at a boot.
    fn open(&mut self) -> Self::Store;

    /// Lets the power go after so many steps of writing from now. A medium without power cuts says `false`.
    fn cut_after(&mut self, steps: u64) -> bool {
        let _ = steps;
        false
    }

    /// The power is back, and stays.
    fn power_back(&mut self) {}
}

/// Holds a kind of store to the whole contract. `make` gives a new, empty medium each time.
///
/// # Panics
/// When the store breaks it.
pub async fn hold<M: Medium>(mut make: impl FnMut() -> M) {
    starts_empty(make()).await;
    keeps_what_was_put(make()).await;
    touches_no_other_item(make()).await;
    keeps_the_longest_record(make()).await;
    for item in Item::ALL {
        survives_cuts(&mut make, item, None).await;
        survives_cuts(&mut make, item, Some(b"the old record, which is longer")).await;
    }
}

async fn starts_empty<M: Medium>(mut medium: M) {
    for item in Item::ALL {
        assert_eq!(load(&mut medium.open(), item).await, None, "{item:?} of an empty store");
    }
}

async fn keeps_what_was_put<M: Medium>(mut medium: M) {
    for item in Item::ALL {
        for content in [&b"first"[..], b"second and longer", b"3"] {
            let mut store = medium.open();
            put(&mut store, item, content).await;
            assert_eq!(load(&mut store, item).await.as_deref(), Some(content), "{item:?} at once");
            drop(store);
            assert_eq!(load(&mut medium.open(), item).await.as_deref(), Some(content), "{item:?} after a boot");
        }
    }
}

async fn touches_no_other_item<M: Medium>(mut medium: M) {
    let content = |item| format!("content of {item:?}").into_bytes();
    let mut store = medium.open();
    for item in Item::ALL {
        put(&mut store, item, &content(item)).await;
    }
    for changed in Item::ALL {
        put(&mut store, changed, b"changed").await;
        for item in Item::ALL {
            let expected = if item == changed { b"changed".to_vec() } else { content(item) };
            assert_eq!(load(&mut store, item).await, Some(expected), "{item:?} after {changed:?} was put");
        }
        put(&mut store, changed, &content(changed)).await;
    }
}

async fn keeps_the_longest_record<M: Medium>(mut medium: M) {
    let longest = vec![0x5a; OUTPUT_BYTES_MAX];
    put(&mut medium.open(), Item::Trust, &longest).await;
    assert_eq!(load(&mut medium.open(), Item::Trust).await, Some(longest));
}

/// After a cut during `put`: the old bytes or the new ones; a slot may be unreadable, all the others stand.
async fn survives_cuts<M: Medium>(make: &mut impl FnMut() -> M, item: Item, old: Option<&[u8]>) {
    let new = b"the new record";
    let beside = if item == Item::Life { Item::Slot(SlotId::A) } else { Item::Life };
    for steps in 0.. {
        let mut medium = make();
        let mut store = medium.open();
        put(&mut store, beside, b"beside").await;
        if let Some(old) = old {
            put(&mut store, item, old).await;
        }
        if !medium.cut_after(steps) {
            return;
        }
        let done = store.put(item, new).await.is_ok();
        drop(store);
        medium.power_back();
        let mut store = medium.open();
        let found = load(&mut store, item).await;
        let is_new = found.as_deref() == Some(&new[..]);
        let is_old = found.as_deref() == old;
        // What a torn slot holds is the record's business: its check sum says that it is none.
        let is_lost_slot = matches!(item, Item::Slot(_)) && !done;
        assert!(is_new || !done, "{item:?}: put returned and is forgotten, cut after {steps} steps");
        assert!(is_new || is_old || is_lost_slot, "{item:?} holds a third thing, cut after {steps} steps: {found:?}");
        assert_eq!(load(&mut store, beside).await.as_deref(), Some(&b"beside"[..]), "{beside:?} beside {item:?}");
        put(&mut store, item, b"written again").await;
        assert_eq!(load(&mut medium.open(), item).await.as_deref(), Some(&b"written again"[..]));
        if done {
            assert!(steps > new.len() as u64, "only {steps} steps for {} bytes", new.len());
            return;
        }
    }
}

#[allow(clippy::expect_used)]
async fn load(store: &mut impl SlotStore, item: Item) -> Option<Vec<u8>> {
    let mut buffer = vec![0; OUTPUT_BYTES_MAX];
    let length = store.load(item, &mut buffer).await.expect("a store that can be read")?;
    buffer.truncate(length);
    Some(buffer)
}

#[allow(clippy::expect_used)]
async fn put(store: &mut impl SlotStore, item: Item, bytes: &[u8]) {
    store.put(item, bytes).await.expect("a store that can be written");
}
