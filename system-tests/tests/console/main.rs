//! The console in a real browser: headless Chromium with an operator's certificate, on a live world.
//!
//! What is clicked and looked at stands in the `.mjs` files beside this one, one per test; what happens in the world
//! meanwhile (agents, restarts, messages of a hostile device) they ask of this side, one JSON line each.
//! `MUSTER_SCREENSHOTS=DIR` makes them write the pictures of docs/operator.md there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod driver;

use driver::drive;
use muster_system_tests::live::{Options, World};

fn world(devices: u32) -> World {
    let gateway_settings = vec![("keep_bytes_max", "65536".to_owned())];
    let world = World::new(Options { devices, gateway_settings, ..Options::default() }).unwrap();
    let (out, password) = (world.text("operators"), world.text("password"));
    for (name, role) in [("vera", "viewer"), ("otto", "operator")] {
        world.gateway(&["operator", "issue", name, "--role", role, "--out", &out]).unwrap();
    }
    let issue = ["operator", "issue", "anna", "--role", "admin", "--out", &out, "--pkcs12-password-file", &password];
    world.gateway(&issue).unwrap();
    world
}

#[test]
fn pages_are_found_read_and_reached_by_everybody() {
    drive(world(60), "pages.mjs");
}

#[test]
fn acts_are_asked_confirmed_and_done() {
    drive(world(4), "acts.mjs");
}

#[test]
fn pages_follow_the_fleet_without_being_loaded_again() {
    drive(world(3), "follow.mjs");
}

#[test]
fn hostile_text_is_text_and_strangers_are_turned_away() {
    drive(world(2), "hostile.mjs");
}
