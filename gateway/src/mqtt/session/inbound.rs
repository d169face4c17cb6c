//! What a live client sends: PUBLISH, SUBSCRIBE, UNSUBSCRIBE (sections 3.3, 3.8, 3.10).
//!
//! A publisher always learns that its message was not taken. MQTT 5 says it in the PUBACK; where there is no PUBACK, or in
//! 3.1.1, which has no word for it, the connection ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_protocol::Code;

use super::super::packet::{Message, Outbound, PacketId, Publish, QoS, Reason, Subscribe, SubscribeOptions, Version};
use super::super::topic::{TopicFilter, TopicName};
use super::{Denied, End, Output, Phase, PublishError, Refusal, Session, Taker, Waiting};

impl Session<'_> {
    pub(super) fn publish(&mut self, now: Instant, publish: Publish) {
        if publish.qos == QoS::ExactlyOnce {
            return self.not_offered_here(Reason::QoSNotSupported);
        }
        if publish.retain {
            return self.not_offered_here(Reason::RetainNotSupported);
        }
        let unacknowledged = self.waiting.iter().filter(|waiting| waiting.packet_id.is_some()).count();
        if self.version == Version::V5
            && publish.packet_id.is_some()
            && unacknowledged >= usize::from(self.limits.receive_maximum)
        {
            return self.broken(Reason::ReceiveMaximumExceeded, "more messages than the receive maximum");
        }
        let Some(topic) = self.topic_of(publish.topic, publish.alias.map(u16::from)) else {
            return self.broken(Reason::TopicAliasInvalid, "a topic alias that stands for nothing");
        };
        let to = self.taker(&topic);
        let expires_at = publish.expiry_secs.map(|secs| now + Duration::from_secs(secs.into()));
        let message =
            Message { topic, payload: publish.payload, qos: publish.qos, properties: publish.properties, expires_at };
        self.waiting_bytes += message.payload.len();
        self.waiting.push_back(Waiting { message: Arc::new(message), packet_id: publish.packet_id, to });
        if self.waiting.len() == 1 {
            self.take_next();
        }
    }

    /// The router's answer for the front message.
    pub(super) fn routed(&mut self, now: Instant, answer: Result<usize, PublishError>) {
        let Some(done) = self.taken(Taker::Router) else { return };
        match answer {
            Ok(0) if self.version == Version::V5 => self.acknowledge(&done, Reason::NoMatchingSubscribers, None),
            Ok(_) => self.acknowledge(&done, Reason::Success, None),
            Err(PublishError::Fenced) => return self.taken_over(),
            Err(PublishError::Full) if self.version == Version::V5 || done.packet_id.is_none() => {
                self.acknowledge(&done, Reason::QuotaExceeded, self.text(Code::Unavailable));
            }
            Err(PublishError::Full | PublishError::Unavailable) => {
                self.goodbye(Reason::ServerBusy, Some(Code::Unavailable.name()));
                return self.close(End::Unavailable);
            }
        }
        self.go_on(now);
    }

    /// The gatekeeper's answer for the front message.
    pub(super) fn controlled(&mut self, now: Instant, answer: Result<(), Refusal>) {
        let Some(done) = self.taken(Taker::Gatekeeper) else { return };
        match answer {
            Ok(()) => self.acknowledge(&done, Reason::Success, None),
            Err(Refusal { code }) if self.version == Version::V5 || done.packet_id.is_none() => {
                self.acknowledge(&done, Reason::ImplementationSpecific, self.text(code));
            }
            Err(Refusal { code }) => return self.close(End::Cut(code)),
        }
        self.go_on(now);
    }

    pub(super) fn subscribe(&mut self, subscribe: Subscribe) {
        if subscribe.has_identifier {
            return self.not_offered_here(Reason::SubscriptionIdentifiersNotSupported);
        }
        let reasons =
            subscribe.filters.into_iter().map(|(filter, options)| self.subscribe_one(filter, options)).collect();
        self.send(Outbound::SubAck { packet_id: subscribe.packet_id, reasons });
    }

    pub(super) fn unsubscribe(&mut self, packet_id: PacketId, filters: &[TopicFilter]) {
        let reasons = filters.iter().map(|filter| {
            let Some(place) = self.filters.iter().position(|known| known == filter) else {
                return Reason::NoSubscriptionExisted;
            };
            self.outputs.push_back(Output::Unsubscribe(self.filters.swap_remove(place)));
            Reason::Success
        });
        let reasons = reasons.collect();
        self.send(Outbound::UnsubAck { packet_id, reasons });
    }

    fn subscribe_one(&mut self, filter: TopicFilter, options: SubscribeOptions) -> Reason {
        if filter.is_shared() {
            return Reason::SharedSubscriptionsNotSupported;
        }
        if !self.rights.may_subscribe(&filter) {
            self.outputs.push_back(Output::Denied(Denied::Subscribe, filter.to_string()));
            return Reason::NotAuthorized;
        }
        if !self.filters.contains(&filter) {
            if self.filters.len() >= self.limits.subscriptions_max {
                return Reason::QuotaExceeded;
            }
            self.filters.push(filter.clone());
        }
        let qos = options.qos.min(QoS::AtLeastOnce);
        self.outputs.push_back(Output::Subscribe(filter, SubscribeOptions { qos, ..options }));
        if qos == QoS::AtLeastOnce { Reason::GrantedQoS1 } else { Reason::Success }
    }

    /// Sections 3.3.2.3.4: an alias is set by a topic with it and used by an empty topic.
    fn topic_of(&mut self, topic: Option<TopicName>, alias: Option<u16>) -> Option<TopicName> {
        let Some(alias) = alias else { return topic };
        if alias > self.limits.topic_alias_maximum {
            return None;
        }
        let place = usize::from(alias - 1);
        let Some(topic) = topic else { return self.aliases.get(place).cloned().flatten() };
        if self.aliases.len() <= place {
            self.aliases.resize(place + 1, None);
        }
        self.aliases[place] = Some(topic.clone());
        Some(topic)
    }

    fn taker(&self, topic: &TopicName) -> Taker {
        if !self.rights.may_publish(topic) {
            return Taker::Nobody;
        }
        match &self.control_prefix {
            Some(prefix) if topic.is_at_or_below(prefix) => Taker::Gatekeeper,
            _ if topic.as_str().starts_with('$') => Taker::Nobody,
            _ => Taker::Router,
        }
    }

    /// Hands on the front message; those that nobody takes are answered in their turn.
    fn take_next(&mut self) {
        while let Some(front) = self.waiting.front() {
            let message = Arc::clone(&front.message);
            match front.to {
                Taker::Router => return self.outputs.push_back(Output::Route(message)),
                Taker::Gatekeeper => return self.outputs.push_back(Output::Control(message)),
                Taker::Nobody => {}
            }
            let Some(denied) = self.taken(Taker::Nobody) else { return };
            self.outputs.push_back(Output::Denied(Denied::Publish, denied.message.topic.to_string()));
            if self.version == Version::V311 || denied.packet_id.is_none() {
                self.goodbye(Reason::NotAuthorized, Some(Code::SessionTopicDenied.name()));
                return self.close(End::Denied);
            }
            self.acknowledge(&denied, Reason::NotAuthorized, self.text(Code::SessionTopicDenied));
        }
    }

    fn taken(&mut self, by: Taker) -> Option<Waiting> {
        if self.waiting.front().is_none_or(|front| front.to != by) {
            return None;
        }
        let done = self.waiting.pop_front()?;
        self.waiting_bytes -= done.message.payload.len();
        if self.waiting.is_empty() {
            // An idle session keeps no list.
            self.waiting = std::collections::VecDeque::new();
        }
        Some(done)
    }

    fn acknowledge(&mut self, done: &Waiting, reason: Reason, text: Option<&'static str>) {
        if let Some(packet_id) = done.packet_id {
            self.send(Outbound::PubAck { packet_id, reason, text });
        }
    }

    fn go_on(&mut self, now: Instant) {
        // Time during which the gateway did not read does not count as silence.
        self.heard_at = self.heard_at.max(now);
        self.take_next();
        if let Phase::Draining { end, .. } = self.phase
            && self.waiting.is_empty()
        {
            self.close(end);
        }
    }

    fn not_offered_here(&mut self, reason: Reason) {
        self.goodbye(reason, Some(Code::SessionUnsupported.name()));
        self.close(End::Unsupported);
    }
}
