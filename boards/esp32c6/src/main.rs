//! Muster's firmware agent on Espressif's ESP32-C6: what this board has, put together for the agent.
#![no_std]
#![no_main]

mod reset;
mod wifi;

use embassy_executor::Spawner;
use embassy_net::{DhcpConfig, Stack, StackResources};
use esp_hal::Async;
use esp_hal::peripherals::Peripherals;
use esp_hal::rng::{Trng, TrngSource};
use esp_hal::timer::timg::TimerGroup;
use esp_hal::uart::{self, Uart};
use esp_radio::wifi::{Interface, WifiController};
use esp_storage::FlashStorage;
use muster_agent_nostd::agent::{Memory, Options};
use muster_agent_nostd::device::{Parts, about};
use muster_agent_nostd::entropy::{Conditioned, Source, SourceFailed};
use muster_agent_nostd::net::StackNetwork;
use muster_agent_nostd::partition::{Barrier, Partition};
use muster_agent_nostd::platform::NoClock;
use rand_core::RngCore as _;
use static_cell::{ConstStaticCell, StaticCell};

use crate::reset::{SystemReset, Watch};
use crate::wifi::Access;

esp_bootloader_esp_idf::esp_app_desc!();

type Storage = Partition<FlashStorage<'static>, 4>;
type Random = Conditioned<Noise, SystemReset>;
type Device = Parts<Storage, &'static Barrier, Uart<'static, Async>, Random, NoClock, (), SystemReset>;

#[esp_rtos::main]
async fn main(spawner: Spawner) {
    static RESOURCES: StaticCell<StackResources<3>> = StaticCell::new();
    // For the Wi-Fi driver, which cannot do without. As in `board.toml`.
    esp_alloc::heap_allocator!(size: 96 * 1024);
    let (watch, radio, access, mut device) = parts(esp_hal::init(esp_hal::Config::default()));
    let config = embassy_net::Config::dhcpv4(DhcpConfig::default());
    let resources = RESOURCES.init(StackResources::new());
    let (stack, runner) = embassy_net::new(Interface::station(), config, resources, device.rng.next_u64());
    // Each task is spawned once, so there is room for it.
    if let (Ok(join), Ok(network), Ok(device)) = (wifi::join(radio, access), network(runner), life(stack, device)) {
        spawner.spawn(join);
        spawner.spawn(network);
        spawner.spawn(device);
    }
    watch.feed_for_ever().await;
}

#[embassy_executor::task]
async fn network(mut runner: embassy_net::Runner<'static, Interface>) -> ! {
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
fn parts(board: Peripherals) -> (Watch, WifiController<'static>, Option<Access>, Device) {
    static BARRIER: Barrier = Barrier::new();
    let timers = TimerGroup::new(board.TIMG0);
    let watch = Watch::start(timers.wdt);
    esp_rtos::start(timers.timer0, board.FROM_CPU_INTR0);
    let Ok(radio) = WifiController::new(board.WIFI, Default::default()) else { reset::now() };
    // The generator is a true one only while the radio mixes noise in: refused when it does not.
    let Ok(noise) = Trng::try_new() else { reset::now() };
    // 115200 baud, 8N1: GPIO16 sends, GPIO17 receives; the DevKitC's bridge shows it as a serial port of the host.
    let Ok(line) = Uart::new(board.UART0, uart::Config::default()) else { reset::now() };
    let mut flash = FlashStorage::new(board.FLASH);
    let access = Access::read(&mut flash);
    let device = Parts {
        flash: Storage::new(flash, PARTITION, &BARRIER),
        partition: 0,
        lock: &BARRIER,
        line: line.with_tx(board.GPIO16).with_rx(board.GPIO17).into_async(),
        rng: Random::start(Noise(noise), SystemReset),
        clock: NoClock,
        app: (),
        reset: SystemReset,
        about: about(PRODUCT, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        options: Options::new(),
    };
    (watch, radio, access, device)
}

/// The chip's generator, while the radio runs. It has no tests of its own.
struct Noise(Trng);

impl Source for Noise {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SourceFailed> {
        if !TrngSource::is_enabled() {
            return Err(SourceFailed);
        }
        self.0.read(bytes);
        Ok(())
    }
}

/// What this firmware is for. The factory's station refuses a board of another product.
const PRODUCT: &str = "lamp";
/// The partition `identity`. As in `partitions.csv`.
const PARTITION: u32 = 0x3F_9000;
