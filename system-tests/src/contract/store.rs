//! The contract of the gateway's `Store`: all or nothing, once and only once, in the order of the commits.
//!
//! `run` takes a function that makes an empty store; every check gets one of its own. What only one implementation can
//! show (a killed process, a damaged file) is tested beside that implementation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use muster_gateway::store::Store;

pub mod fixture;

mod audit;
mod order;
mod page;
mod rows;
mod rules;
mod transaction;

/// Runs every check, each on a store from `make`.
///
/// # Panics
/// When the store breaks its contract.
pub async fn run<S: Store>(make: impl AsyncFn() -> S) {
    let fresh = async || Arc::new(make().await);
    transaction::a_transaction_is_applied_whole_or_not_at_all(&fresh().await).await;
    transaction::one_that_fails_does_not_fail_its_neighbours(&fresh().await).await;
    transaction::the_same_id_again_gives_the_first_answer(&fresh().await).await;
    transaction::a_refused_transaction_is_not_remembered(&fresh().await).await;
    transaction::a_manifest_comes_in_whole_or_not_at_all(&fresh().await).await;
    transaction::a_decision_on_an_old_row_is_a_conflict(&fresh().await).await;
    transaction::no_increment_is_lost_between_writers(&fresh().await).await;
    rules::serials_and_keys_are_used_once(&fresh().await).await;
    rules::a_device_keeps_its_key_and_a_key_its_device(&fresh().await).await;
    rules::what_is_imported_twice_is_there_once(&fresh().await).await;
    rules::what_is_pointed_at_must_be_there(&fresh().await).await;
    rules::bounds_are_kept(&fresh().await).await;
    order::changes_have_no_gaps_and_follow_the_commits(&fresh().await).await;
    order::sessions_hear_of_what_concerns_them_and_of_nothing_else(&fresh().await).await;
    order::a_commit_wakes_whoever_waits(&fresh().await).await;
    page::pages_are_stable_while_devices_come_in(&fresh().await).await;
    page::search_finds_texts_and_knows_no_wildcards(&fresh().await).await;
    page::counts_and_expiry_follow_the_records(&fresh().await).await;
    rows::every_row_reads_back_as_it_was_written(&fresh().await).await;
    rows::a_withdrawal_is_final(&fresh().await).await;
    audit::the_audit_is_a_chain_under_concurrent_writers(&fresh().await).await;
    audit::the_audit_pages_both_ways_and_by_device(&fresh().await).await;
    audit::the_audit_pages_by_kind(&fresh().await).await;
}
