//! Lists of devices: pages, search, counts, expiry.

use std::sync::Arc;

use muster_gateway::store::{Change, Device, DeviceQuery, NewDevice, Store, Transaction};
use muster_protocol::DeviceId;
use muster_protocol::registrar::{DeviceRecord, Standing};

use super::fixture::{NOW, active, id, idevid, insert, name, new_device, put};

pub(super) async fn pages_are_stable_while_devices_come_in<S: Store>(store: &Arc<S>) {
    let even: Vec<u32> = (0..100).map(|n| n * 2).collect();
    insert(&**store, even.clone()).await;
    let mut seen: Vec<DeviceId> = Vec::new();
    let mut query = DeviceQuery::first(7);
    let mut odd = (0..100).map(|n| n * 2 + 1);
    loop {
        let page = store.page(query.clone()).await.unwrap();
        assert!(page.rows.len() <= 7);
        seen.extend(page.rows.iter().map(|device| device.id().clone()));
        // Devices come in before and behind the place that was reached.
        insert(&**store, odd.by_ref().take(5)).await;
        insert(&**store, odd.next_back()).await;
        let Some(next) = page.next else { break };
        assert_eq!(Some(&next), seen.last());
        query.after = Some(next);
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
    assert!(even.iter().all(|n| seen.contains(&id(*n))), "none that was there is missing");

    insert(&**store, odd).await;
    let all = store.page(DeviceQuery::first(u16::MAX)).await.unwrap();
    assert_eq!((all.rows.len(), all.next), (200, None));
    let none = store.page(DeviceQuery { after: Some(name("zzz")), ..DeviceQuery::first(5) }).await.unwrap();
    assert_eq!((none.rows, none.next), (Vec::new(), None));
    // A page that ends with the last device says so.
    let last = store.page(DeviceQuery { after: Some(id(194)), ..DeviceQuery::first(5) }).await.unwrap();
    assert_eq!((last.rows.len(), last.next), (5, None));
}

pub(super) async fn search_finds_texts_and_knows_no_wildcards<S: Store>(store: &Arc<S>) {
    let device = |text: &str, product: &str, lot: &str, n| {
        Change::InsertDevice(NewDevice {
            device: name(text),
            idevid: idevid(n),
            product: product.to_owned(),
            lot: lot.to_owned(),
            ..new_device(n)
        })
    };
    let changes = vec![
        device("boiler_7", "Boiler 50%", "2026-A", 1),
        device("boilerX7", "boiler", "2026-B", 2),
        device("pump-1", "Pump", "2025-A", 3),
        device("pump-2", "<script>", "", 4),
    ];
    store.apply(Transaction::new(changes)).await.unwrap();
    let pumped = DeviceRecord { device: name("pump-1"), idevid: idevid(3), ..active(3) };
    store.apply(Transaction::new(vec![put(pumped, 1)])).await.unwrap();
    let find = async |search: &str, standing| {
        let query = DeviceQuery { search: Some(search.to_owned()), standing, ..DeviceQuery::first(10) };
        let rows = store.page(query).await.unwrap().rows;
        rows.iter().map(|device: &Device| device.id().to_string()).collect::<Vec<_>>().join(" ")
    };
    for (search, found) in [
        ("", "boilerX7 boiler_7 pump-1 pump-2"),
        ("ump", "pump-1 pump-2"),
        ("BOILER", "boilerX7 boiler_7"),
        ("boiler_", "boiler_7"),
        ("boiler 50%", "boiler_7"),
        ("%", ""),
        ("2026", "boilerX7 boiler_7"),
        ("-A", ""),
        ("<script>", "pump-2"),
        ("' OR 1=1 --", ""),
        ("\\", ""),
        ("ä\0", ""),
    ] {
        assert_eq!(find(search, None).await, found, "{search:?}");
    }
    assert_eq!(find("pump", Some(Standing::Active)).await, "pump-1");
    assert_eq!(find("pump", Some(Standing::Retired)).await, "");
    let expected = DeviceQuery { standing: Some(Standing::Expected), ..DeviceQuery::first(2) };
    let page = store.page(expected.clone()).await.unwrap();
    assert_eq!(page.next, Some(name("boiler_7")));
    let page = store.page(DeviceQuery { after: page.next, ..expected }).await.unwrap();
    assert_eq!((page.rows.len(), page.next), (1, None));
}

pub(super) async fn counts_and_expiry_follow_the_records<S: Store>(store: &Arc<S>) {
    assert_eq!(store.counts().await.unwrap().total(), 0);
    insert(&**store, 0..20).await;
    let standings = [Standing::Active, Standing::Rotating, Standing::Suspended, Standing::Revoked, Standing::Retired];
    for n in 0..15 {
        let standing = standings[n as usize % standings.len()];
        store.apply(Transaction::new(vec![put(DeviceRecord { standing, ..active(n) }, 1)])).await.unwrap();
    }
    let counts = store.counts().await.unwrap();
    assert_eq!(counts.of(Standing::Expected), 5);
    assert!(standings.iter().all(|standing| counts.of(*standing) == 3), "{counts:?}");
    assert_eq!((counts.of(Standing::Enrolling), counts.total()), (0, 20));
    // Certificate n expires n seconds after NOW; 3, 4, 8, 9, 13 and 14 are of revoked and retired devices.
    let edges = [NOW.plus_secs(1), NOW.plus_secs(6), NOW.plus_secs(12)];
    assert_eq!(store.expiry_histogram(&edges).await.unwrap(), [1, 3, 4, 1]);
    assert_eq!(store.expiry_histogram(&[]).await.unwrap(), [9]);
}
