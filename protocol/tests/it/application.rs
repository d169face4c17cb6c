//! Reports and commands: golden bytes, and what is refused.

use muster_protocol::Code;
use muster_protocol::limits::{
    ANSWER_BYTES_MAX, ARGUMENT_BYTES_MAX, COMMAND_NAME_BYTES_MAX, RESULT_BYTES_MAX, TELEMETRY_BYTES_MAX,
};
use muster_protocol::message::application::{Answer, Command, Outcome, Telemetry};
use muster_protocol::message::encode;

use super::vectors;

const VECTORS: &str = include_str!("../vectors/application.hex");

const TELEMETRY: Telemetry =
    Telemetry { uptime_secs: 86_400, load_percent: 7, memory_used_bytes: 30_000, memory_total_bytes: 65_536 };
const COMMAND: Command<'_> = Command { number: 300, name: "blink", argument: b"three times" };
const ANSWERS: [(&str, Answer<'_>); 3] = [
    ("answer-done", Answer { number: 300, outcome: Outcome::Done(b"ok") }),
    ("answer-failed", Answer { number: 301, outcome: Outcome::Failed(b"no lamp") }),
    ("answer-unknown", Answer { number: 302, outcome: Outcome::Unknown }),
];

#[test]
fn they_have_their_golden_bytes() {
    vectors::hold(VECTORS, "telemetry", &encode(&TELEMETRY).unwrap());
    assert_eq!(Telemetry::decode(&vectors::bytes(VECTORS, "telemetry")), Ok(TELEMETRY));
    vectors::hold(VECTORS, "command", &encode(&COMMAND).unwrap());
    assert_eq!(Command::decode(&vectors::bytes(VECTORS, "command")), Ok(COMMAND));
    for (name, answer) in ANSWERS {
        vectors::hold(VECTORS, name, &encode(&answer).unwrap());
        assert_eq!(Answer::decode(&vectors::bytes(VECTORS, name)), Ok(answer), "{name}");
    }
}

#[test]
fn what_is_cut_lengthened_or_of_another_version_is_refused() {
    let telemetry = encode(&TELEMETRY).unwrap();
    let command = encode(&COMMAND).unwrap();
    let answer = encode(&ANSWERS[0].1).unwrap();
    for end in 0..command.len() {
        assert_eq!(Command::decode(&command[..end]), Err(Code::MessageMalformed), "cut at {end}");
    }
    for end in 0..answer.len() {
        assert_eq!(Answer::decode(&answer[..end]), Err(Code::MessageMalformed), "cut at {end}");
    }
    for end in 0..telemetry.len() {
        assert_eq!(Telemetry::decode(&telemetry[..end]), Err(Code::MessageMalformed), "cut at {end}");
    }
    for bytes in [&telemetry, &command, &answer] {
        let longer = [bytes, &[0][..]].concat();
        let mut other = bytes.to_vec();
        other[0] = 2;
        for (bytes, code) in [(longer, Code::MessageMalformed), (other, Code::MessageVersion)] {
            assert_eq!(Telemetry::decode(&bytes).err(), Some(code));
            assert_eq!(Command::decode(&bytes).err(), Some(code));
            assert_eq!(Answer::decode(&bytes).err(), Some(code));
        }
    }
    let no_text = [1, 0, 1, 0xff, 0];
    assert_eq!(Command::decode(&no_text), Err(Code::MessageMalformed));
}

#[test]
fn every_part_has_its_bound() {
    let name = "n".repeat(COMMAND_NAME_BYTES_MAX + 1);
    let bytes = [0; ARGUMENT_BYTES_MAX + 1];
    let decoded = |name: usize, argument: usize| {
        let command = Command { number: u32::MAX, name: &"n".repeat(name), argument: &bytes[..argument] };
        Command::decode(&encode(&command).unwrap()).err()
    };
    assert_eq!(decoded(COMMAND_NAME_BYTES_MAX, ARGUMENT_BYTES_MAX), None);
    assert_eq!(decoded(name.len(), 0), Some(Code::MessageOversized));
    assert_eq!(decoded(1, bytes.len()), Some(Code::MessageOversized));
    assert_eq!(decoded(0, 0), Some(Code::MessageMalformed), "a command has a name");
    for outcome in [Outcome::Done, Outcome::Failed] {
        let answer = |length: usize| encode(&Answer { number: u32::MAX, outcome: outcome(&bytes[..length]) }).unwrap();
        let longest = answer(RESULT_BYTES_MAX);
        assert!(longest.len() == ANSWER_BYTES_MAX && Answer::decode(&longest).is_ok());
        assert_eq!(Answer::decode(&answer(RESULT_BYTES_MAX + 1)).err(), Some(Code::MessageOversized));
    }
    let most = Telemetry {
        uptime_secs: u64::MAX,
        load_percent: u8::MAX,
        memory_used_bytes: u64::MAX,
        memory_total_bytes: u64::MAX,
    };
    assert_eq!(encode(&most).unwrap().len(), TELEMETRY_BYTES_MAX);
}
