//! The MQTT client against a gateway that is played: what is said word for word, and what each answer comes to.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::rc::Rc;
use std::task::Poll;

use embassy_futures::block_on;
use embassy_time::{Duration, Instant};
use embedded_io_async::{ErrorType, Read, Write};
use muster_agent_nostd::mqtt::{Concern, End, Memory, Next, Session};
use muster_protocol::{Code, DeviceId};

/// Plays the gateway: `answer` is asked for every packet that was sent. A read hands out one byte, and waits when there is
/// none, unless the gateway has hung up.
struct Played<F> {
    answer: F,
    written: Vec<u8>,
    sent: Vec<Vec<u8>>,
    coming: Rc<RefCell<VecDeque<u8>>>,
    has_hung_up: bool,
}

impl<F: FnMut(&[u8]) -> Vec<u8>> Played<F> {
    fn new(answer: F) -> Self {
        Self { answer, written: Vec::new(), sent: Vec::new(), coming: Rc::default(), has_hung_up: false }
    }
}

impl<F> ErrorType for Played<F> {
    type Error = Infallible;
}

impl<F> Read for Played<F> {
    async fn read(&mut self, target: &mut [u8]) -> Result<usize, Infallible> {
        std::future::poll_fn(|_| match self.coming.borrow_mut().pop_front() {
            Some(byte) => {
                target[0] = byte;
                Poll::Ready(Ok(1))
            }
            None if self.has_hung_up => Poll::Ready(Ok(0)),
            None => Poll::Pending,
        })
        .await
    }
}

impl<F: FnMut(&[u8]) -> Vec<u8>> Write for Played<F> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.written.extend(bytes);
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        let packet = std::mem::take(&mut self.written);
        self.coming.borrow_mut().extend((self.answer)(&packet));
        self.sent.push(packet);
        Ok(())
    }
}

/// Agrees to everything.
fn agree(packet: &[u8]) -> Vec<u8> {
    match packet[0] {
        0x10 => vec![0x20, 3, 0, 0, 0],
        0x82 => vec![0x90, 4, packet[2], packet[3], 0, 1],
        0x32 => {
            let topic_bytes = usize::from(packet[3]);
            vec![0x40, 2, packet[4 + topic_bytes], packet[5 + topic_bytes]]
        }
        0xc0 => vec![0xd0, 0],
        _ => Vec::new(),
    }
}

async fn open<'s, F: FnMut(&[u8]) -> Vec<u8>>(
    memory: &'s mut Memory,
    gateway: &'s mut Played<F>,
) -> Result<Session<'s, Played<F>>, End<Infallible>> {
    let device = DeviceId::new("dev-1").unwrap();
    let deadline = Instant::now() + Duration::from_secs(3600);
    Session::open(memory, gateway, &device, 60, "f", deadline).await
}

/// What becomes of a session that is opened, and of the next thing in it.
fn outcome(answer: impl FnMut(&[u8]) -> Vec<u8>) -> Result<&'static str, End<Infallible>> {
    let (mut memory, mut gateway) = (Box::new(Memory::new()), Played::new(answer));
    gateway.has_hung_up = true;
    block_on(async {
        let mut session = open(&mut memory, &mut gateway).await?;
        session.next(pending()).await.map(|next| match next {
            Next::Publication { .. } => "publication",
            Next::Refused(_) => "refused",
            Next::Progress => "progress",
            Next::Alarm => "alarm",
        })
    })
}

/// A packet of `kind` with `head`, and the name of a refusal among its properties.
fn named(kind: u8, head: &[u8], name: &str, tail: &[u8]) -> Vec<u8> {
    let text = [&[0x1f, 0, name.len() as u8][..], name.as_bytes()].concat();
    let body = [head, &[text.len() as u8], &text, tail].concat();
    [&[kind, body.len() as u8][..], &body].concat()
}

#[test]
fn a_session_is_opened_used_and_closed_word_for_word() {
    let (mut memory, mut gateway) = (Box::new(Memory::new()), Played::new(agree));
    block_on(async {
        let mut session = open(&mut memory, &mut gateway).await.unwrap();
        session.publish("up", b"hello", Concern::Session).await.unwrap();
        assert_eq!(session.next(pending()).await, Ok(Next::Progress));
        session.subscribe("more").await.unwrap();
        assert_eq!(session.next(pending()).await, Ok(Next::Progress));
        session.close().await;
    });
    let packet_bytes_max = (muster_protocol::limits::MESSAGE_BYTES_MAX as u32 + 101).to_be_bytes();
    let connect = [b"\x10\x17\x00\x04MQTT\x05\x02\x00\x3c\x05\x27", &packet_bytes_max[..], b"\x00\x05dev-1"].concat();
    assert_eq!(
        gateway.sent,
        [
            &connect[..],
            b"\x82\x07\x00\x01\x00\x00\x01f\x01",
            b"\x32\x0c\x00\x02up\x00\x02\x00hello",
            b"\x82\x0a\x00\x03\x00\x00\x04more\x01",
            b"\xe0\x00",
        ]
    );
}

#[test]
fn a_publication_is_acknowledged_and_one_before_its_time_is_dropped() {
    let (mut memory, mut gateway) = (
        Box::new(Memory::new()),
        Played::new(|packet: &[u8]| match packet[0] {
            0x82 => {
                [b"\x32\x08\x00\x01f\x00\x07\x00no", &agree(packet)[..], b"\x32\x09\x00\x01f\x00\x08\x00yes"].concat()
            }
            _ => agree(packet),
        }),
    );
    block_on(async {
        let mut session = open(&mut memory, &mut gateway).await.unwrap();
        assert_eq!(session.next(pending()).await, Ok(Next::Publication { topic: "f", payload: b"yes" }));
    });
    assert_eq!(gateway.sent[2..], [b"\x40\x02\x00\x07", b"\x40\x02\x00\x08"]);
}

#[test]
fn the_alarm_interrupts_a_packet_and_loses_none_of_it() {
    let (mut memory, mut gateway) = (Box::new(Memory::new()), Played::new(agree));
    let coming = Rc::clone(&gateway.coming);
    block_on(async {
        let packet = b"\x30\x06\x00\x01f\x00ab";
        for cut in 0..packet.len() {
            let mut session = open(&mut memory, &mut gateway).await.unwrap();
            coming.borrow_mut().extend(&packet[..cut]);
            assert_eq!(session.next(async {}).await, Ok(Next::Alarm), "{cut}");
            coming.borrow_mut().extend(&packet[cut..]);
            assert_eq!(session.next(async {}).await, Ok(Next::Publication { topic: "f", payload: b"ab" }), "{cut}");
        }
    });
}

#[test]
fn a_refusal_ends_what_needs_the_thing_refused_and_nothing_else() {
    let refuse = |packet: &[u8]| match packet[0] {
        0x32 => named(0x40, &[packet[6], packet[7], 0x87], "session.topic_denied", &[]),
        _ => agree(packet),
    };
    for (concern, refused) in [
        (Concern::Session, Err(End::Refused(Code::SessionTopicDenied))),
        (Concern::Nobody, Ok(Next::Refused(Code::SessionTopicDenied))),
    ] {
        let (mut memory, mut gateway) = (Box::new(Memory::new()), Played::new(refuse));
        block_on(async {
            let mut session = open(&mut memory, &mut gateway).await.unwrap();
            session.publish("up", b"", concern).await.unwrap();
            assert_eq!(session.next(pending()).await, refused);
        });
    }
}

#[test]
fn no_more_is_published_than_the_gateway_takes() {
    let (mut memory, mut gateway) = (
        Box::new(Memory::new()),
        Played::new(|packet: &[u8]| match packet[0] {
            // Receive Maximum 1, Maximum Packet Size 100.
            0x10 => b"\x20\x0b\x00\x00\x08\x21\x00\x01\x27\x00\x00\x00\x64".to_vec(),
            0x32 => Vec::new(),
            _ => agree(packet),
        }),
    );
    block_on(async {
        let mut session = open(&mut memory, &mut gateway).await.unwrap();
        assert_eq!(session.publish("up", &[7; 100], Concern::Session).await, Err(End::Protocol));
        session.publish("up", &[7; 100], Concern::Nobody).await.unwrap();
        session.publish("up", b"1", Concern::Nobody).await.unwrap();
        session.publish("up", b"2", Concern::Nobody).await.unwrap();
        assert_eq!(session.publish("up", b"3", Concern::Session).await, Err(End::Protocol));
    });
    assert_eq!(gateway.sent.len(), 3, "CONNECT, SUBSCRIBE and one PUBLISH");
}

#[test]
fn silence_is_broken_by_a_ping() {
    // Server Keep Alive of one second.
    let (mut memory, mut gateway) = (
        Box::new(Memory::new()),
        Played::new(|packet: &[u8]| match packet[0] {
            0x10 => b"\x20\x06\x00\x00\x03\x13\x00\x01".to_vec(),
            _ => agree(packet),
        }),
    );
    block_on(async {
        let mut session = open(&mut memory, &mut gateway).await.unwrap();
        assert_eq!(session.next(pending()).await, Ok(Next::Progress), "the PINGREQ");
        assert_eq!(session.next(pending()).await, Ok(Next::Progress), "the PINGRESP");
    });
    assert_eq!(gateway.sent[2], [0xc0, 0]);
}

#[test]
fn every_no_of_the_gateways_is_heard() {
    let connack =
        |answer: Vec<u8>| outcome(move |packet| if packet[0] == 0x10 { answer.clone() } else { agree(packet) });
    for (answer, end) in [
        (named(0x20, &[0, 0x87], "device.suspended", &[]), End::Refused(Code::DeviceSuspended)),
        (vec![0x20, 3, 0, 0x87, 0], End::Refused(Code::DeviceUnknown)),
        (named(0xe0, &[0x89], "session.busy", &[]), End::Refused(Code::SessionBusy)),
        (vec![0xe0, 0], End::Closed),
        (vec![], End::Closed),
        (vec![0x20, 3, 1, 0, 0], End::Protocol),
        (vec![0x20, 3, 0, 1, 0], End::Protocol),
        (vec![0xd0, 0], End::Protocol),
        (vec![0x30, 0xff, 0xff, 0x7f], End::Protocol),
    ] {
        assert_eq!(connack(answer.clone()), Err(end), "{answer:02x?}");
    }
    let suback = |answer: Vec<u8>| {
        outcome(move |packet| match packet[0] {
            0x82 => [agree(packet), answer.clone()].concat(),
            _ => agree(packet),
        })
    };
    for (answer, said) in [
        (named(0xe0, &[0x98], "device.revoked", &[]), Err(End::Refused(Code::DeviceRevoked))),
        (vec![0xe0, 1, 0x8e], Err(End::Refused(Code::SessionTakenOver))),
        (vec![0x20, 3, 0, 0, 0], Err(End::Protocol)),
        (vec![0x34, 6, 0, 1, b'f', 0, 1, 0], Err(End::Protocol)),
        (vec![0x50, 2, 0, 1], Err(End::Protocol)),
        (vec![0x40, 2, 0, 99], Ok("progress")),
        (vec![0x40, 3, 0, 99, 0x87], Ok("refused")),
        (vec![0x30, 4, 0, 1, b'f', 0], Ok("publication")),
        (vec![], Err(End::Closed)),
    ] {
        assert_eq!(suback(answer.clone()), said, "{answer:02x?}");
    }
    let refused = outcome(|packet| match packet[0] {
        0x82 => named(0x90, &[packet[2], packet[3]], "session.topic_denied", &[0x87]),
        _ => agree(packet),
    });
    assert_eq!(refused, Err(End::Refused(Code::SessionTopicDenied)));
}
