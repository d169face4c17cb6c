//! `kill -9` of agents and gateway at any point of enrolment and rotation: afterwards every device is operational.

use std::time::Duration;

use muster_system_tests::live::{Device, Options, Process, World, until};

const DEVICES: u32 = 4;
const KILLS: u32 = 100;

/// Marsaglia's xorshift: the same kills in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn a_hundred_kills_strand_nobody() {
    let mut world = World::new(Options { devices: DEVICES, ..Options::default() }).unwrap();
    let devices: Vec<Device> = (0..DEVICES).map(|index| world.device(index).unwrap()).collect();
    let mut agents: Vec<Process> = devices.iter().map(|device| world.start_agent(device).unwrap()).collect();
    let mut random = Random(0x6d75_7374_6572);
    for kill in 0..KILLS {
        let victim = usize::try_from(random.below(u64::from(DEVICES))).unwrap();
        // An order that cannot be given now (the device is still enrolling) is one more point to be killed at.
        let _ = world.gateway_says(&["device", "rotate", &devices[victim].id]);
        // The moment of the kill is the test's input, not a wait for anything.
        std::thread::sleep(Duration::from_micros(random.below(150_000)));
        if random.below(3) == 0 {
            world.kill_gateway().unwrap();
            world.start_gateway().unwrap_or_else(|error| panic!("kill {kill}: {error:#}"));
        } else {
            agents.remove(victim).kill().unwrap();
            agents.insert(victim, world.start_agent(&devices[victim]).unwrap());
        }
    }
    for device in &devices {
        until(&format!("{} operational", device.id), || {
            let shown = world.show(device)?;
            let settled =
                shown["standing"] == "active" && shown["online"] == true && shown["ordered_rotation"].is_null();
            Ok(settled.then_some(()))
        })
        .unwrap_or_else(|error| {
            panic!("{error:#}\n{}\n{}", world.show(device).unwrap(), world.log_tail(&format!("{}.log", device.id)))
        });
    }
    world.gateway(&["audit", "verify"]).unwrap();
}
