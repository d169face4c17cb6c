//! Muster's firmware agent on the emulated `mps2-an386`: what this machine has, put together for the agent.
#![no_std]
#![no_main]

mod console;
mod executor;
mod host;
mod lan9118;
mod nor;
mod registers;
mod semihosting;
mod stack;
mod timer;
mod uart;
mod vectors;

use embassy_executor::Spawner;
use embassy_net::tcp::TcpSocket;
use embassy_net::{Ipv4Address, Runner, Stack, StackResources};
use embassy_time::Instant;
use embedded_io_async::Write as _;
use embedded_storage::nor_flash::{NorFlash as _, ReadNorFlash as _};
use rand_core::RngCore as _;
use static_cell::{ConstStaticCell, StaticCell};

use crate::host::{Arguments, HostEntropy};
use crate::lan9118::Lan9118;
use crate::nor::{FileFlash, UNIT, WORD};
use crate::uart::Uart;
use crate::vectors::STATUS_FAULT;

#[cortex_m_rt::entry]
fn main() -> ! {
    timer::start();
    executor::run(start)
}

fn start(spawner: Spawner) {
    static DRIVER: ConstStaticCell<Lan9118> = ConstStaticCell::new(Lan9118::new());
    static RESOURCES: StaticCell<StackResources<3>> = StaticCell::new();
    let mut entropy = HostEntropy::open();
    let driver = DRIVER.take();
    driver.start(HARDWARE_ADDRESS);
    let config = embassy_net::Config::dhcpv4(embassy_net::DhcpConfig::default());
    let (stack, runner) = embassy_net::new(driver, config, RESOURCES.init(StackResources::new()), entropy.next_u64());
    let (Ok(network), Ok(trial)) = (network(runner), trial(stack)) else { semihosting::exit(STATUS_FAULT) };
    spawner.spawn(network);
    spawner.spawn(trial);
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, &'static mut Lan9118>) -> ! {
    runner.run().await
}

/// Shows each part of the board once.
#[embassy_executor::task]
async fn trial(stack: Stack<'static>) {
    let arguments = Arguments::read();
    let mut flash = match arguments.value(b"flash").map(|name| FileFlash::open(name, UNITS)) {
        Some(Ok(flash)) => flash,
        _ => semihosting::exit(STATUS_FAULT),
    };
    if let Some(steps) = arguments.number(b"cut") {
        flash.cut_after(steps as u32, steps as u32);
    }
    // Ones that earlier boots turned to zeroes, a word for each.
    let mut word = [0; WORD];
    let boots = (0..UNIT).step_by(WORD).find(|at| flash.read(*at as u32, &mut word).is_ok() && word[0] == 0xff);
    let boots = boots.unwrap_or(0);
    let stored = flash.write(boots as u32, &[0; WORD]).is_ok();
    console::say_number(b"flash.boots", (boots / WORD) as u32);
    console::say_number(b"flash.stored", u32::from(stored));
    stack.wait_config_up().await;
    console::say_number(b"dhcp.millis", Instant::now().as_millis() as u32);
    let (mut receive, mut transmit) = ([0; 512], [0; 512]);
    let mut socket = TcpSocket::new(stack, &mut receive, &mut transmit);
    let port = arguments.number(b"port").unwrap_or(0) as u16;
    let before = executor::busy_ticks();
    if socket.connect((Ipv4Address::new(10, 0, 2, 2), port)).await.is_ok() {
        let mut answer = [0; 32];
        let sent = socket.write_all(b"hello\n").await.is_ok();
        let length = if sent { socket.read(&mut answer).await.unwrap_or(0) } else { 0 };
        console::say(&[b"tcp.answer", &answer[..length]]);
    }
    console::say_number(b"tcp.instructions", executor::busy_ticks().wrapping_sub(before).wrapping_mul(40));
    let mut uart = Uart::start();
    let Ok(()) = uart.write_all(b"uart\n").await;
    console::say_number(b"stack.bytes", stack::used_bytes());
    console::say_number(b"time.unix_secs", semihosting::time_unix_secs());
    semihosting::exit(0)
}

const HARDWARE_ADDRESS: [u8; 6] = [0x02, 0x4d, 0x53, 0x54, 0x52, 0x01];
const UNITS: usize = 7;
