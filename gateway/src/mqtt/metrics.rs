//! Counters of the MQTT side: plain atomics, read by whoever exports them.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// Everything that is counted. All start at zero; those in the present tense are gauges.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        impl Metrics {
            /// Name, help text and value of each, in a fixed order.
            #[must_use]
            pub fn read(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name.value()),)+]
            }
        }
    };
}

/// One number.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Counts several.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Takes one back, for gauges.
    pub fn take_back(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// Connections that are being served.
    connections_open;
    /// Sessions that are registered.
    sessions_open;
    /// Sessions that were registered.
    sessions_started;
    /// Connections that ended before a session, by a refusal.
    connects_refused;
    /// Connections that sent no CONNECT in time.
    connects_timed_out;
    /// Messages that clients published and the gateway took.
    messages_received;
    /// Messages that were sent to clients.
    messages_sent;
    /// Control messages that were handed to the gateway.
    control_received;
    /// Control messages that the gateway sent.
    control_sent;
    /// QoS 0 messages that were dropped because the subscriber's queue was full.
    dropped_queue_full;
    /// Messages that were dropped because they expired in a queue.
    dropped_expired;
    /// Messages that were dropped because the subscriber takes no packet of that size.
    dropped_too_large;
    /// Publishes that wait for room in a subscriber's queue.
    publishes_waiting;
    /// Appends to the bus that were repeated.
    appends_repeated;
    /// Publishes, subscriptions and wills that were refused for lack of rights.
    denied;
    /// Sessions that were ended because the client broke the protocol.
    protocol_errors;
    /// Sessions that were ended by silence.
    keep_alive_timeouts;
    /// Sessions that were ended because the client did not read or did not acknowledge.
    slow_clients;
    /// Sessions that another connection of the same client took over.
    taken_over;
    /// Sessions that the gateway cut.
    cut;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_count_and_read_in_a_fixed_order() {
        let metrics = Metrics::default();
        metrics.messages_sent.add(3);
        metrics.connections_open.count();
        metrics.connections_open.take_back();
        let read = metrics.read();
        assert_eq!(read.first(), Some(&("connections_open", "Connections that are being served.", 0)));
        assert!(read.iter().any(|(name, _, value)| *name == "messages_sent" && *value == 3));
    }
}
