//! The factory line: PKI ceremony, device identities, shipment manifests.
