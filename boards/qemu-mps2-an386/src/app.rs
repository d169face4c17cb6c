//! This board's own program: it says on the host's console what the agent tells, and measures the agent on the way.

use embassy_time::Instant;
use muster_agent_nostd::agent::{App, Reply};
use muster_agent_nostd::fmt::Told;
use muster_agent_nostd::telemetry::Vitals;

use crate::console::{self, Line};
use crate::{executor, stack};

/// What is measured between two things that the agent tells.
#[derive(Default)]
pub(crate) struct Program {
    dialled_at: u32,
    reached_at: u32,
}

fn say_instructions(what: &[u8], from: u32, to: u32) {
    console::say_number(what, to.wrapping_sub(from).wrapping_mul(INSTRUCTIONS_PER_TICK));
}

impl App for Program {
    fn told(&mut self, told: Told) {
        let now = executor::busy_ticks();
        console::say_number(b"measured.uptime_millis", Instant::now().as_millis() as u32);
        let mut line = Line::new();
        told.write(&mut |piece| line.push(piece.as_bytes()));
        line.end();
        match told {
            Told::Dialling(_) => self.dialled_at = executor::busy_ticks(),
            Told::Reached(_) => self.reached_at = executor::busy_ticks(),
            Told::Secured(_) => say_instructions(b"measured.handshake_instructions", self.reached_at, now),
            Told::Opened(_) => {
                say_instructions(b"measured.connect_instructions", self.dialled_at, now);
                console::say_number(b"measured.stack_bytes", stack::used_bytes());
            }
            _ => {}
        }
    }

    fn command(&mut self, name: &str, argument: &[u8], result: &mut [u8]) -> Reply {
        console::say(&[b"command", name.as_bytes(), argument]);
        // An echo: what a test can wait for at the other end.
        let length = argument.len().min(result.len());
        result[..length].copy_from_slice(&argument[..length]);
        match name {
            "echo" => Reply::Done(length),
            "fail" => Reply::Failed(length),
            _ => Reply::Unknown,
        }
    }

    fn vitals(&mut self) -> Vitals {
        console::say_number(b"measured.stack_bytes", stack::used_bytes());
        let turn = executor::longest_turn_ticks().wrapping_mul(INSTRUCTIONS_PER_TICK);
        console::say_number(b"measured.turn_instructions", turn);
        let busy = u64::from(executor::busy_ticks()) / TICKS_PER_MICRO;
        let load = busy * 100 / Instant::now().as_micros().max(1);
        Vitals {
            load_percent: load.min(100) as u8,
            memory_used_bytes: stack::statics_bytes() + stack::used_bytes(),
            memory_total_bytes: RAM_BYTES,
        }
    }
}

/// Under `-icount shift=0` an instruction takes a nanosecond, and a tick 40.
const INSTRUCTIONS_PER_TICK: u32 = 40;
const TICKS_PER_MICRO: u64 = 25;
/// As in `memory.x`.
const RAM_BYTES: u32 = 96 * 1024;
