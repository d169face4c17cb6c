//! From CONNECT to a live session: what is not offered is refused first, then the gatekeeper is asked, then the will is
//! judged by the granted rights, and only then any other session is touched. Section 3.1 and 3.2.

use std::time::{Duration, Instant};

use muster_protocol::Code;

use super::super::packet::{ConnAck, Connect, Outbound, QoS, Reason, Version};
use super::{Admission, Denied, End, Output, Phase, Refusal, Registration, Session};

impl Session<'_> {
    pub(super) fn connect(&mut self, connect: Box<Connect>) {
        let Phase::Fresh { until } = self.phase else { return };
        self.version = connect.version;
        self.client_id = connect.client_id.clone();
        self.wants_texts = connect.wants_problem_information;
        self.packet_bytes_max = connect.packet_bytes_max;
        if let Some(reason) = self.not_offered(&connect) {
            return self.refuse(reason, Some(Code::SessionUnsupported), End::Unsupported);
        }
        self.ask(until, 1, connect);
    }

    pub(super) fn admitted(&mut self, answer: Result<Admission, Refusal>) {
        let Phase::Admitting { until, attempts, connect } = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return;
        };
        let admission = match answer {
            Ok(admission) => admission,
            Err(Refusal { code }) => return self.refuse(refusal_reason(code), Some(code), End::Refused(code)),
        };
        if let Some(will) = &connect.will
            && (will.topic.as_str().starts_with('$') || !admission.rights.may_publish(&will.topic))
        {
            self.outputs.push_back(Output::Denied(Denied::Will, will.topic.to_string()));
            let code = Code::SessionTopicDenied;
            return self.refuse(Reason::NotAuthorized, Some(code), End::Refused(code));
        }
        if *self.client_id != *admission.client_id {
            self.client_id = admission.client_id.as_str().into();
        }
        self.outputs.push_back(Output::Register { client_id: self.client_id.clone(), peer: admission.peer.clone() });
        self.phase = Phase::Registering { until, attempts, connect, admission: Box::new(admission) };
    }

    pub(super) fn registered(&mut self, now: Instant, answer: Registration) {
        let Phase::Registering { until, attempts, connect, admission } =
            std::mem::replace(&mut self.phase, Phase::Closed)
        else {
            return;
        };
        match answer {
            Registration::Done => self.accept(now, *connect, *admission),
            Registration::AskAgain if attempts < ATTEMPTS_MAX => self.ask(until, attempts + 1, connect),
            Registration::AskAgain => {
                self.refuse(Reason::ServerBusy, Some(Code::SessionBusy), End::Refused(Code::SessionBusy));
            }
            Registration::ShuttingDown => {
                self.refuse(Reason::ServerUnavailable, Some(Code::SessionDraining), End::ShuttingDown);
            }
        }
    }

    /// CONNACK that refuses, and the end.
    pub(super) fn refuse(&mut self, reason: Reason, code: Option<Code>, end: End) {
        let text = self.fitting(code.map(Code::name));
        self.send(Outbound::Refuse { reason, text });
        self.close(end);
    }

    fn ask(&mut self, until: Instant, attempts: u8, connect: Box<Connect>) {
        let client_id = connect.client_id.clone();
        self.outputs.push_back(Output::Admit { client_id, version: self.version });
        self.phase = Phase::Admitting { until, attempts, connect };
    }

    fn not_offered(&self, connect: &Connect) -> Option<Reason> {
        if connect.wants_authentication {
            return Some(Reason::BadAuthenticationMethod);
        }
        if connect.client_id.is_empty() && connect.version == Version::V311 && !connect.clean_start {
            return Some(Reason::ClientIdInvalid);
        }
        let will = connect.will.as_ref()?;
        if will.qos == QoS::ExactlyOnce {
            Some(Reason::QoSNotSupported)
        } else if will.retain {
            Some(Reason::RetainNotSupported)
        } else {
            None
        }
    }

    fn accept(&mut self, now: Instant, connect: Connect, admission: Admission) {
        let longest = self.limits.keep_alive_secs_max;
        let asked = connect.keep_alive_secs;
        let keep_alive_secs = match self.version {
            Version::V5 if asked == 0 || asked > longest => longest,
            _ => asked,
        };
        self.silence_max = (keep_alive_secs > 0).then(|| Duration::from_millis(1500 * u64::from(keep_alive_secs)));
        self.heard_at = now;
        self.deadline = admission.deadline;
        self.rights = admission.rights;
        self.control_prefix = admission.control_prefix.map(Into::into);
        self.send_maximum = connect.receive_maximum.min(self.limits.send_maximum);
        self.will = connect.will.map(Box::new);
        self.phase = Phase::Live;
        self.send(Outbound::Accept(Box::new(ConnAck {
            receive_maximum: self.limits.receive_maximum,
            packet_bytes_max: self.limits.packet_bytes_max,
            topic_alias_maximum: self.limits.topic_alias_maximum,
            keep_alive_secs: (keep_alive_secs != asked).then_some(keep_alive_secs),
            session_expiry_secs: (connect.session_expiry_secs != 0).then_some(0),
            assigned_client_id: connect.client_id.is_empty().then(|| self.client_id.clone()),
        })));
    }
}

/// Refusals of the registry are 0x87; only what is about the gateway itself says so.
const fn refusal_reason(code: Code) -> Reason {
    match code {
        Code::Unavailable | Code::SessionDraining => Reason::ServerUnavailable,
        Code::SessionBusy => Reason::ServerBusy,
        _ => Reason::NotAuthorized,
    }
}

/// How often the gatekeeper is asked when cuts keep coming in between.
const ATTEMPTS_MAX: u8 = 5;
