//! Muster's firmware agent on ST's NUCLEO-H563ZI: what this board has, put together for the agent.
#![no_std]
#![no_main]

mod flash;
mod lock;
mod reset;

use embassy_executor::Spawner;
use embassy_net::{DhcpConfig, Runner, Stack, StackResources};
use embassy_stm32::eth::{self, Ethernet, GenericPhy, PacketQueue, Sma};
use embassy_stm32::peripherals::{ETH, ETH_SMA, RNG, USART3};
use embassy_stm32::rcc::{Pll, PllDiv, PllMul, PllPreDiv, PllSource, Sysclk, VoltageScale};
use embassy_stm32::rng::{self, Rng};
use embassy_stm32::usart::{self, BufferedUart};
use embassy_stm32::{Config, Peripherals, bind_interrupts, uid};
use muster_agent_nostd::agent::{Memory, Options};
use muster_agent_nostd::device::{Parts, about, hardware_address};
use muster_agent_nostd::entropy::{Conditioned, Source, SourceFailed};
use muster_agent_nostd::net::StackNetwork;
use muster_agent_nostd::platform::NoClock;
use rand_core::RngCore as _;
use static_cell::{ConstStaticCell, StaticCell};

use crate::flash::IdentityFlash;
use crate::lock::WriteProtection;
use crate::reset::{SystemReset, Watch};

bind_interrupts!(struct Interrupts {
    ETH => eth::InterruptHandler;
    RNG => rng::InterruptHandler<RNG>;
    USART3 => usart::BufferedInterruptHandler<USART3>;
});

type Driver = Ethernet<'static, ETH, GenericPhy<Sma<'static, ETH_SMA>>>;
type Random = Conditioned<Noise, SystemReset>;
type Device = Parts<IdentityFlash, WriteProtection, BufferedUart<'static>, Random, NoClock, (), SystemReset>;

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let (watch, stack, runner, device) = parts(embassy_stm32::init(clocks()));
    // Each task is spawned once, so there is room for it.
    if let (Ok(network), Ok(device)) = (network(runner), life(stack, device)) {
        spawner.spawn(network);
        spawner.spawn(device);
    }
    watch.feed_for_ever().await;
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Driver>) -> ! {
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
fn parts(board: Peripherals) -> (Watch, Stack<'static>, Runner<'static, Driver>, Device) {
    static PACKETS: StaticCell<PacketQueue<4, 4>> = StaticCell::new();
    static RESOURCES: StaticCell<StackResources<3>> = StaticCell::new();
    static LINE_OUT: ConstStaticCell<[u8; 256]> = ConstStaticCell::new([0; 256]);
    static LINE_IN: ConstStaticCell<[u8; 1024]> = ConstStaticCell::new([0; 1024]);
    let watch = Watch::start(board.IWDG);
    let mut rng = Random::start(Noise(Rng::new(board.RNG, Interrupts)), SystemReset);
    let driver = Ethernet::new(
        PACKETS.init_with(PacketQueue::new),
        board.ETH,
        Interrupts,
        board.PA1,
        board.PA7,
        board.PC4,
        board.PC5,
        board.PG13,
        board.PB15,
        board.PG11,
        hardware_address(&uid::uid()),
        board.ETH_SMA,
        board.PA2,
        board.PC1,
    );
    let config = embassy_net::Config::dhcpv4(DhcpConfig::default());
    let (stack, runner) = embassy_net::new(driver, config, RESOURCES.init(StackResources::new()), rng.next_u64());
    // 115200 baud, 8N1; the ST-LINK shows it as a serial port of the host.
    let line = BufferedUart::new(
        board.USART3,
        board.PD9,
        board.PD8,
        LINE_OUT.take(),
        LINE_IN.take(),
        Interrupts,
        usart::Config::default(),
    );
    // Refuses only what cannot be divided from the clocks, which are constants.
    let Ok(line) = line else { reset::now() };
    let device = Parts {
        flash: IdentityFlash::new(board.FLASH),
        partition: 0,
        lock: WriteProtection,
        line,
        rng,
        clock: NoClock,
        app: (),
        reset: SystemReset,
        about: about(PRODUCT, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        options: Options::new(),
    };
    (watch, stack, runner, device)
}

/// The chip's random source, with its own tests on (the HAL sets them as RM0481, section 29.3, has them). The HAL starts it
/// anew until it passes them; one that never does ends by the watchdog.
struct Noise(Rng<'static, RNG>);

impl Source for Noise {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SourceFailed> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

/// 248 MHz from the internal oscillator: the board's 8 MHz come from the ST-LINK, and are not there without it. Not 250,
/// since the oscillator may be one percent fast. The random source has its own 48 MHz, and Ethernet its own from the PHY.
fn clocks() -> Config {
    let mut config = Config::default();
    config.rcc.pll1 = Some(Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV16,
        mul: PllMul::MUL124,
        divp: Some(PllDiv::DIV2),
        divq: None,
        divr: None,
    });
    config.rcc.sys = Sysclk::PLL1_P;
    config.rcc.voltage_scale = VoltageScale::Scale0;
    config
}

/// What this firmware is for. The factory's station refuses a board of another product.
const PRODUCT: &str = "lamp";
