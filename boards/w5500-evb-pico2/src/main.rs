//! Muster's firmware agent on WIZnet's W5500-EVB-Pico2: what this board has, put together for the agent.
#![no_std]
#![no_main]

mod reset;
mod trng;

use embassy_executor::Spawner;
use embassy_net::{DhcpConfig, Stack, StackResources};
use embassy_net_wiznet::chip::W5500;
use embassy_net_wiznet::{Device as Driver, Runner as ChipRunner, State};
use embassy_rp::flash::{Blocking, Flash};
use embassy_rp::gpio::{Input, Level, Output, Pull};
use embassy_rp::peripherals::{DMA_CH0, DMA_CH1, FLASH, SPI0, UART0};
use embassy_rp::spi::{self, Async, Spi};
use embassy_rp::uart::{self, BufferedUart};
use embassy_rp::{Peripherals, bind_interrupts, dma, otp};
use embassy_time::{Delay, Timer};
use embedded_hal_bus::spi::ExclusiveDevice;
use muster_agent_nostd::agent::{Memory, Options};
use muster_agent_nostd::device::{Parts, about, hardware_address};
use muster_agent_nostd::entropy::Conditioned;
use muster_agent_nostd::net::StackNetwork;
use muster_agent_nostd::partition::{Barrier, Partition};
use muster_agent_nostd::platform::NoClock;
use rand_core::RngCore as _;
use static_cell::{ConstStaticCell, StaticCell};

use crate::reset::{SystemReset, Watch};
use crate::trng::Trng;

bind_interrupts!(struct Interrupts {
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>, dma::InterruptHandler<DMA_CH1>;
    UART0_IRQ => uart::BufferedInterruptHandler<UART0>;
});

type Bus = ExclusiveDevice<Spi<'static, SPI0, Async>, Output<'static>, Delay>;
type Chip = ChipRunner<'static, W5500, Bus, Input<'static>, Output<'static>>;
/// Words of 16 bytes, though the flash could take single ones: see README.
type Storage = Partition<Flash<'static, FLASH, Blocking, FLASH_BYTES>, 16>;
type Random = Conditioned<Trng, SystemReset>;
type Device = Parts<Storage, &'static Barrier, BufferedUart, Random, NoClock, (), SystemReset>;

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    static RESOURCES: StaticCell<StackResources<3>> = StaticCell::new();
    static STATE: ConstStaticCell<State<4, 4>> = ConstStaticCell::new(State::new());
    let board = embassy_rp::init(embassy_rp::config::Config::default());
    let (watch, bus, interrupt, chip_reset, mut device) = parts(board);
    let address = hardware_address(&otp::get_chipid().unwrap_or_default().to_le_bytes());
    let Ok((driver, chip)) = embassy_net_wiznet::new(address, STATE.take(), bus, interrupt, chip_reset).await else {
        // The chip does not answer. A new start is all there is to try.
        Timer::after_secs(1).await;
        reset::now()
    };
    let config = embassy_net::Config::dhcpv4(DhcpConfig::default());
    let (stack, runner) =
        embassy_net::new(driver, config, RESOURCES.init(StackResources::new()), device.rng.next_u64());
    // Each task is spawned once, so there is room for it.
    if let (Ok(ethernet), Ok(network), Ok(device)) = (ethernet(chip), network(runner), life(stack, device)) {
        spawner.spawn(ethernet);
        spawner.spawn(network);
        spawner.spawn(device);
    }
    watch.feed_for_ever().await;
}

#[embassy_executor::task]
async fn ethernet(chip: Chip) -> ! {
    chip.run().await
}

#[embassy_executor::task]
async fn network(mut runner: embassy_net::Runner<'static, Driver<'static>>) -> ! {
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
fn parts(board: Peripherals) -> (Watch, Bus, Input<'static>, Output<'static>, Device) {
    static LINE_OUT: ConstStaticCell<[u8; 256]> = ConstStaticCell::new([0; 256]);
    static LINE_IN: ConstStaticCell<[u8; 1024]> = ConstStaticCell::new([0; 1024]);
    static BARRIER: Barrier = Barrier::new();
    let watch = Watch::start(board.WATCHDOG);
    let mut config = spi::Config::default();
    config.frequency = 37_500_000;
    let spi = Spi::new(
        board.SPI0,
        board.PIN_18,
        board.PIN_19,
        board.PIN_16,
        board.DMA_CH0,
        board.DMA_CH1,
        Interrupts,
        config,
    );
    let Ok(bus) = ExclusiveDevice::new(spi, Output::new(board.PIN_17, Level::High), Delay);
    // 115200 baud, 8N1: GP0 sends, GP1 receives.
    let line = BufferedUart::new(
        board.UART0,
        board.PIN_0,
        board.PIN_1,
        Interrupts,
        LINE_OUT.take(),
        LINE_IN.take(),
        uart::Config::default(),
    );
    let device = Parts {
        flash: Storage::new(Flash::new_blocking(board.FLASH), PARTITION, &BARRIER),
        partition: 0,
        lock: &BARRIER,
        line,
        rng: Random::start(Trng::new(board.TRNG), SystemReset),
        clock: NoClock,
        app: (),
        reset: SystemReset,
        about: about(PRODUCT, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        options: Options::new(),
    };
    (watch, bus, Input::new(board.PIN_21, Pull::Up), Output::new(board.PIN_20, Level::High), device)
}

/// What this firmware is for. The factory's station refuses a board of another product.
const PRODUCT: &str = "lamp";
const FLASH_BYTES: usize = 2 * 1024 * 1024;
/// The last seven sectors. As in `memory.x`.
const PARTITION: u32 = FLASH_BYTES as u32 - Storage::BYTES;
