//! A board to copy: what Muster's firmware agent wants of one, put together. Compiled in every test run, so that it fits the
//! agent as it is; it runs nowhere. `docs/porting.md` says what to fill in, in which order.
#![no_std]
#![no_main]

mod parts;
mod reset;

use embassy_executor::Spawner;
use embassy_net::{DhcpConfig, Runner, Stack, StackResources};
use muster_agent_nostd::agent::{Memory, Options};
use muster_agent_nostd::device::{Parts, about, hardware_address};
use muster_agent_nostd::entropy::Conditioned;
use muster_agent_nostd::net::StackNetwork;
use muster_agent_nostd::partition::{Barrier, Partition};
use muster_agent_nostd::platform::NoClock;
use rand_core::RngCore as _;
use static_cell::{ConstStaticCell, StaticCell};

use crate::parts::{TodoFlash, TodoLine, TodoNetwork, TodoNoise};
use crate::reset::SystemReset;

/// The word that the agent's records are made of: what your flash programs at once, or a multiple of it.
type Storage = Partition<TodoFlash, 4>;
type Random = Conditioned<TodoNoise, SystemReset>;
type Device = Parts<Storage, &'static Barrier, TodoLine, Random, NoClock, (), SystemReset>;

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    static RESOURCES: StaticCell<StackResources<3>> = StaticCell::new();
    // Until each part is written there is no device.
    let Some((driver, mut device)) = parts() else { reset::now() };
    let config = embassy_net::Config::dhcpv4(DhcpConfig::default());
    let (stack, runner) =
        embassy_net::new(driver, config, RESOURCES.init(StackResources::new()), device.rng.next_u64());
    // Each task is spawned once, so there is room for it.
    if let (Ok(network), Ok(device)) = (network(runner), life(stack, device)) {
        spawner.spawn(network);
        spawner.spawn(device);
    }
    // Step 5: a watchdog, fed here for ever.
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, TodoNetwork>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
async fn life(stack: Stack<'static>, device: Device) -> ! {
    static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
    static RECEIVE: ConstStaticCell<[u8; 4096]> = ConstStaticCell::new([0; 4096]);
    static SEND: ConstStaticCell<[u8; 2048]> = ConstStaticCell::new([0; 2048]);
    device.run(StackNetwork::new(stack, RECEIVE.take(), SEND.take()), MEMORY.take()).await
}

/// In a frame of its own: the executor's stays on the stack for ever.
#[inline(never)]
fn parts() -> Option<(TodoNetwork, Device)> {
    static BARRIER: Barrier = Barrier::new();
    // Step 2: start your HAL here.
    let (flash, noise, line) = (TodoFlash::start()?, TodoNoise::start()?, TodoLine::start()?);
    let driver = TodoNetwork::start(hardware_address(b"the chip's own number"))?;
    let device = Parts {
        flash: Storage::new(flash, PARTITION, &BARRIER),
        partition: 0,
        // Step 4: what your chip can lock in hardware, and the barrier before it.
        lock: &BARRIER,
        line,
        rng: Random::start(noise, SystemReset),
        clock: NoClock,
        app: (),
        reset: SystemReset,
        about: about(PRODUCT, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        options: Options::new(),
    };
    Some((driver, device))
}

/// What this firmware is for. The factory's station refuses a board of another product.
const PRODUCT: &str = "lamp";
/// As in `memory.x`.
const PARTITION: u32 = 0xF_9000;
