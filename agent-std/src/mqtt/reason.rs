//! MQTT reasons to refusal codes. The gateway writes the code's name into the reason string; where somebody else
//! answers, or the string is missing, the reason code has to do.

use muster_protocol::Code;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, Disconnect, DisconnectReasonCode, PubAck, PubAckReason, SubAck, SubscribeReasonCode,
};

use super::MqttError;

pub(super) fn of_connack(connack: &ConnAck) -> Code {
    let told = connack.properties.as_ref().and_then(|properties| properties.reason_string.as_deref());
    named(told).unwrap_or(match connack.code {
        ConnectReturnCode::ServerBusy | ConnectReturnCode::ConnectionRateExceeded => Code::SessionBusy,
        ConnectReturnCode::QuotaExceeded => Code::SessionBusy,
        ConnectReturnCode::ServerUnavailable
        | ConnectReturnCode::UseAnotherServer
        | ConnectReturnCode::ServerMoved
        | ConnectReturnCode::UnspecifiedError
        | ConnectReturnCode::ImplementationSpecificError => Code::Unavailable,
        ConnectReturnCode::ClientIdentifierNotValid => Code::SessionClientId,
        ConnectReturnCode::Banned => Code::DeviceSuspended,
        // Somebody who knows us says no and not why: only a person finds out.
        ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadUserNamePassword => Code::DeviceUnknown,
        ConnectReturnCode::PacketTooLarge => Code::MessageOversized,
        ConnectReturnCode::MalformedPacket | ConnectReturnCode::ProtocolError => Code::SessionProtocol,
        _ => Code::SessionUnsupported,
    })
}

/// `None` for an end that blames nobody.
pub(super) fn of_disconnect(disconnect: &Disconnect) -> Option<Code> {
    let told = disconnect.properties.as_ref().and_then(|properties| properties.reason_string.as_deref());
    named(told).or(match disconnect.reason_code {
        DisconnectReasonCode::NormalDisconnection => None,
        DisconnectReasonCode::SessionTakenOver => Some(Code::SessionTakenOver),
        DisconnectReasonCode::ServerShuttingDown => Some(Code::SessionDraining),
        DisconnectReasonCode::KeepAliveTimeout | DisconnectReasonCode::MaximumConnectTime => Some(Code::SessionTimeout),
        DisconnectReasonCode::ServerBusy
        | DisconnectReasonCode::ConnectionRateExceeded
        | DisconnectReasonCode::MessageRateTooHigh
        | DisconnectReasonCode::QuotaExceeded => Some(Code::SessionBusy),
        DisconnectReasonCode::NotAuthorized => Some(Code::SessionTopicDenied),
        DisconnectReasonCode::PacketTooLarge => Some(Code::MessageOversized),
        DisconnectReasonCode::MalformedPacket | DisconnectReasonCode::ProtocolError => Some(Code::SessionProtocol),
        // An operator's act without a word on which: the next CONNECT is answered with the reason.
        _ => Some(Code::Unavailable),
    })
}

pub(super) fn of_puback(puback: &PubAck) -> Result<(), Code> {
    if matches!(puback.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) {
        return Ok(());
    }
    let told = puback.properties.as_ref().and_then(|properties| properties.reason_string.as_deref());
    Err(named(told).unwrap_or(match puback.reason {
        PubAckReason::NotAuthorized | PubAckReason::TopicNameInvalid => Code::SessionTopicDenied,
        PubAckReason::QuotaExceeded => Code::SessionBusy,
        _ => Code::Unavailable,
    }))
}

pub(super) fn of_suback(suback: &SubAck) -> Result<(), Code> {
    if suback.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))) {
        return Ok(());
    }
    let told = suback.properties.as_ref().and_then(|properties| properties.reason_string.as_deref());
    Err(named(told).unwrap_or(Code::SessionTopicDenied))
}

impl From<Option<Code>> for MqttError {
    /// What a DISCONNECT says: a refusal, or nothing but the end.
    fn from(code: Option<Code>) -> Self {
        code.map_or_else(|| Self::Io(std::io::ErrorKind::ConnectionAborted.into()), Self::Refused)
    }
}

fn named(told: Option<&str>) -> Option<Code> {
    told.and_then(|name| Code::from_name(name.trim()))
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::v5::DisconnectProperties;

    use super::*;

    #[test]
    fn the_reason_string_wins_and_an_unknown_one_does_not() {
        for (told, code) in [
            (Some("device.suspended"), Some(Code::DeviceSuspended)),
            (Some("certificate.revoked"), Some(Code::CertificateRevoked)),
            (Some("<b>go away</b>"), Some(Code::Unavailable)),
            (None, Some(Code::Unavailable)),
        ] {
            let properties = DisconnectProperties {
                session_expiry_interval: None,
                reason_string: told.map(str::to_owned),
                user_properties: Vec::new(),
                server_reference: None,
            };
            let disconnect =
                Disconnect { reason_code: DisconnectReasonCode::AdministrativeAction, properties: Some(properties) };
            assert_eq!(of_disconnect(&disconnect), code, "{told:?}");
        }
    }
}
