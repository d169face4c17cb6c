//! Muster's firmware agent on the emulated `mps2-an386`: what this machine has, put together for the agent.
#![no_std]
#![no_main]

mod app;
mod console;
mod executor;
mod host;
mod lan9118;
mod nor;
mod registers;
mod semihosting;
mod stack;
mod system;
mod timer;
mod uart;
mod vectors;

use core::pin::pin;

use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_net::{Runner, Stack, StackResources};
use muster_agent_nostd::agent::{Agent, End, Memory};
use muster_agent_nostd::factory::{self, About, Factory, FlashStore};
use muster_agent_nostd::net::StackNetwork;
use muster_agent_nostd::platform::Reset as _;
use muster_agent_nostd::slots::Slots;
use muster_protocol::message::factory::Hello;
use rand_core::RngCore as _;
use static_cell::{ConstStaticCell, StaticCell};

use crate::app::Program;
use crate::executor::apart;
use crate::host::{Arguments, HostEntropy};
use crate::lan9118::Lan9118;
use crate::nor::{FileFlash, FileLock};
use crate::system::{HostClock, SystemReset};
use crate::uart::Uart;
use crate::vectors::STATUS_FAULT;

#[cortex_m_rt::entry]
fn main() -> ! {
    timer::start();
    executor::run(start)
}

/// In a frame of its own: the executor's stays on the stack for ever.
#[inline(never)]
fn start(spawner: Spawner) {
    static DRIVER: ConstStaticCell<Lan9118> = ConstStaticCell::new(Lan9118::new());
    static RESOURCES: StaticCell<StackResources<3>> = StaticCell::new();
    let mut entropy = HostEntropy::open();
    let driver = DRIVER.take();
    driver.start(HARDWARE_ADDRESS);
    let config = embassy_net::Config::dhcpv4(embassy_net::DhcpConfig::default());
    let (stack, runner) = embassy_net::new(driver, config, RESOURCES.init(StackResources::new()), entropy.next_u64());
    let (Ok(network), Ok(device)) = (network(runner), device(stack, entropy)) else { semihosting::exit(STATUS_FAULT) };
    spawner.spawn(network);
    spawner.spawn(device);
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, &'static mut Lan9118>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
async fn device(stack: Stack<'static>, mut entropy: HostEntropy) {
    static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
    static RECEIVE: ConstStaticCell<[u8; 1536]> = ConstStaticCell::new([0; 1536]);
    static SEND: ConstStaticCell<[u8; 1024]> = ConstStaticCell::new([0; 1024]);
    let arguments = Arguments::read();
    let (mut slots, mut lock) = storage(&arguments);
    let mut line = Uart::start();
    let hello = apart(pin!(become_device(&mut slots, &mut lock, &mut line, &mut entropy))).await;
    let mut network = StackNetwork::new(stack, RECEIVE.take(), SEND.take());
    let mut program = Program::default();
    let agent = Agent {
        vault: &mut slots,
        network: &mut network,
        rng: &mut entropy,
        clock: HostClock::start(&arguments),
        app: &mut program,
        options: arguments.options(),
    };
    let agent = pin!(agent.run(MEMORY.take()));
    let line = pin!(factory::serve_locked(&mut line, &hello));
    let ended = match select(apart(agent), apart(line)).await {
        Either::First(End::Retired | End::Stopped) => 0,
        _ => STATUS_BROKEN,
    };
    semihosting::exit(ended)
}

/// On a device says at once who it is. A blank board answers the factory on its serial line until it is a device.
async fn become_device(
    slots: &mut Slots<FileFlash>,
    lock: &mut FileLock,
    line: &mut Uart,
    entropy: &mut HostEntropy,
) -> Hello {
    let mut store = FlashStore::new(slots, lock);
    let mut factory = Factory::new(about());
    if let Ok(Some(hello)) = factory.begin(&mut store) {
        return hello;
    }
    console::say(&[b"factory.ready"]);
    let _ = apart(pin!(factory::serve(line, &mut factory, &mut store, entropy))).await;
    console::say_number(b"measured.stack_bytes", stack::used_bytes());
    SystemReset.reset()
}

/// The identity partition and its lock, in the file that the argument `flash` names.
#[inline(never)]
fn storage(arguments: &Arguments) -> (Slots<FileFlash>, FileLock) {
    let name = arguments.value(b"flash").unwrap_or_default();
    let (Ok(mut flash), Ok(lock)) = (FileFlash::open(name, UNITS), FileFlash::lock(name, UNITS)) else {
        semihosting::exit(STATUS_FAULT)
    };
    if let Some(steps) = arguments.number(b"cut") {
        flash.cut_after(steps as u32, arguments.number(b"seed").unwrap_or(1) as u32);
    }
    match Slots::open(flash, 0) {
        Ok(slots) => (slots, lock),
        Err(_) => semihosting::exit(STATUS_FAULT),
    }
}

fn about() -> About {
    About {
        product: heapless::String::try_from("lamp").unwrap_or_default(),
        board: heapless::String::try_from(env!("CARGO_PKG_NAME")).unwrap_or_default(),
        agent: heapless::String::try_from(env!("CARGO_PKG_VERSION")).unwrap_or_default(),
    }
}

const HARDWARE_ADDRESS: [u8; 6] = [0x02, 0x4d, 0x53, 0x54, 0x52, 0x01];
/// Erase units of the identity partition.
const UNITS: usize = 7;
/// Exit status of an agent that cannot start from what is stored.
const STATUS_BROKEN: u8 = 104;
