//! What is sent to a live client: messages within its receive maximum and packet size, and its PUBACKs (sections 3.3.4, 4.9).

use std::sync::Arc;
use std::time::Instant;

use super::super::codec::publish_len;
use super::super::packet::{Message, Outbound, PacketId, QoS};
use super::{Dropped, Output, Session};

impl Session<'_> {
    pub(super) fn deliver(&mut self, now: Instant, message: Arc<Message>, qos: QoS) {
        if !self.can_send() {
            return;
        }
        let left = message.expires_at.map(|until| until.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return self.outputs.push_back(Output::Dropped(Dropped::Expired));
        }
        if publish_len(self.version, &message) > self.packet_bytes_max as usize {
            return self.outputs.push_back(Output::Dropped(Dropped::TooLarge));
        }
        let packet_id = (qos >= QoS::AtLeastOnce).then(|| self.next_packet_id());
        if let Some(packet_id) = packet_id {
            self.unacknowledged.push_back(packet_id);
        }
        // What is left is less than what was given as u32, rounded up.
        let expiry_secs = left.map(|left| u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX));
        self.send(Outbound::Publish { message, packet_id, expiry_secs });
    }

    /// Acknowledgements of what was never sent are ignored, like a second one.
    pub(super) fn acknowledged(&mut self, packet_id: PacketId) {
        if let Some(place) = self.unacknowledged.iter().position(|sent| *sent == packet_id) {
            self.unacknowledged.remove(place);
            self.backlog_since = None;
        }
    }

    pub(super) fn backlog(&mut self, now: Instant) {
        if self.is_live() && !self.can_send() {
            self.backlog_since.get_or_insert(now);
        }
    }

    fn next_packet_id(&mut self) -> PacketId {
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            // It ends: fewer ids are in use than `send_maximum`, itself less than 65,535 only by the caller's `can_send`.
            if let Some(packet_id) = PacketId::new(self.last_packet_id)
                && !self.unacknowledged.contains(&packet_id)
            {
                return packet_id;
            }
        }
    }
}
