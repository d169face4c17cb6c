//! Muster's firmware agent on Nordic's nRF9151 DK: what this board has, put together for the agent.
#![no_std]
#![no_main]

mod lock;
mod modem;
mod reset;

use embassy_executor::Spawner;
use embassy_net::{Stack, StackResources};
use embassy_net_nrf91::NetDriver as Driver;
use embassy_nrf::buffered_uarte::{self, BufferedUarte};
use embassy_nrf::config::{Config, Debug, HfclkSource, LfclkSource};
use embassy_nrf::cryptocell_rng::CcRng;
use embassy_nrf::mode::Blocking;
use embassy_nrf::nvmc::Nvmc;
use embassy_nrf::peripherals::SERIAL0;
use embassy_nrf::{Peripherals, bind_interrupts, uarte};
use muster_agent_nostd::agent::{Memory, Options};
use muster_agent_nostd::device::{Parts, about};
use muster_agent_nostd::entropy::{Conditioned, Source, SourceFailed};
use muster_agent_nostd::net::StackNetwork;
use muster_agent_nostd::partition::{Barrier, Partition};
use muster_agent_nostd::platform::NoClock;
use rand_core::RngCore as _;
use static_cell::{ConstStaticCell, StaticCell};

use crate::lock::RegionLock;
use crate::reset::{SystemReset, Watch};

bind_interrupts!(struct Interrupts {
    SERIAL0 => buffered_uarte::InterruptHandler<SERIAL0>;
});

type Storage = Partition<Nvmc<'static>, 4>;
type Random = Conditioned<Cryptocell, SystemReset>;
type Device = Parts<Storage, RegionLock, BufferedUarte<'static>, Random, NoClock, (), SystemReset>;

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    static RESOURCES: StaticCell<StackResources<2>> = StaticCell::new();
    let mut config = Config::default();
    config.hfclk_source = HfclkSource::ExternalXtal;
    config.lfclk_source = LfclkSource::ExternalXtal;
    // The debug port stays as the chip has it: closed from the first reset after an erase of everything. See README.
    config.debug = Debug::NotConfigured;
    let (mut watch, mut device) = parts(embassy_nrf::init(config));
    watch.feed();
    let (driver, control, modem) = modem::start().await;
    // The modem gives the address; there is no DHCP on LTE.
    let config = embassy_net::Config::default();
    let (stack, runner) =
        embassy_net::new(driver, config, RESOURCES.init(StackResources::new()), device.rng.next_u64());
    // Each task is spawned once, so there is room for it.
    let network = (modem::run(modem), modem::attach(control, stack), network(runner));
    if let ((Ok(modem), Ok(attach), Ok(network)), Ok(device)) = (network, life(stack, device)) {
        spawner.spawn(modem);
        spawner.spawn(attach);
        spawner.spawn(network);
        spawner.spawn(device);
    }
    watch.feed_for_ever().await;
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
fn parts(board: Peripherals) -> (Watch, Device) {
    static LINE_IN: ConstStaticCell<[u8; 1024]> = ConstStaticCell::new([0; 1024]);
    static LINE_OUT: ConstStaticCell<[u8; 256]> = ConstStaticCell::new([0; 256]);
    static BARRIER: Barrier = Barrier::new();
    let Some(watch) = Watch::start(board.WDT) else { reset::now() };
    // 115200 baud, 8N1; the DK's interface chip shows it as the first serial port of the host.
    let line = BufferedUarte::new(
        board.SERIAL0,
        board.TIMER0,
        board.PPI_CH0,
        board.PPI_CH1,
        board.PPI_GROUP0,
        board.P0_26,
        board.P0_27,
        Interrupts,
        uarte::Config::default(),
        LINE_IN.take(),
        LINE_OUT.take(),
    );
    let device = Parts {
        flash: Storage::new(Nvmc::new(board.NVMC), PARTITION, &BARRIER),
        partition: 0,
        lock: RegionLock::new(&BARRIER),
        line,
        rng: Random::start(Cryptocell(CcRng::new_blocking(board.CC_RNG)), SystemReset),
        clock: NoClock,
        app: (),
        reset: SystemReset,
        about: about(PRODUCT, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        options: Options::new(),
    };
    (watch, device)
}

/// CryptoCell's random source. It gives no block that failed its own tests; one that never passes them ends by the watchdog.
struct Cryptocell(CcRng<'static, Blocking>);

impl Source for Cryptocell {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SourceFailed> {
        self.0.blocking_fill_bytes(bytes);
        Ok(())
    }
}

/// What this firmware is for. The factory's station refuses a board of another product.
const PRODUCT: &str = "lamp";
/// The last page of flash region 30. As in `memory.x`.
const PARTITION: u32 = 0xF_7000;
