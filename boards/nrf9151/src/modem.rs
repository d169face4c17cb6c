//! The LTE modem: a processor of its own behind shared memory. It carries IP packets; TCP and TLS are ours.

use core::mem::MaybeUninit;
use core::net::IpAddr;

use embassy_net::{ConfigV4, Ipv4Cidr, Stack, StaticConfigV4};
use embassy_net_nrf91::context::{self, AuthProt, Config, Status};
use embassy_net_nrf91::{Control, NetDriver, Runner, State};
use embassy_nrf::interrupt;
use embassy_time::Timer;
use static_cell::StaticCell;

/// Starts the modem's processor.
pub(crate) async fn start() -> (NetDriver<'static>, Control<'static>, Runner<'static>) {
    static STATE: StaticCell<State> = StaticCell::new();
    // SAFETY: `memory.x` keeps this memory for the modem, nothing else of ours is there, and it is taken once: the cell
    // above gives itself once.
    let shared =
        unsafe { core::slice::from_raw_parts_mut((&raw mut _ipc_start).cast::<MaybeUninit<u8>>(), SHARED_BYTES) };
    embassy_net_nrf91::new(STATE.init(State::new()), shared).await
}

/// Moves packets.
#[embassy_executor::task]
pub(crate) async fn run(runner: Runner<'static>) -> ! {
    runner.run().await
}

/// Attaches to the network, again and again, and hands its address to the stack.
#[embassy_executor::task]
pub(crate) async fn attach(control: Control<'static>, stack: Stack<'static>) {
    let context = context::Control::new(control, CONTEXT).await;
    let config = Config { apn: APN.as_bytes(), auth_prot: AuthProt::None, auth: None, pin: None };
    loop {
        if context.configure(&config).await.is_ok() {
            // Comes back when the modem says something that cannot be read.
            let _ = context.run(|status| apply(status, stack)).await;
        }
        stack.set_config_v4(ConfigV4::None);
        Timer::after_secs(30).await;
    }
}

fn apply(status: &Status, stack: Stack<'static>) {
    let Some(IpAddr::V4(address)) = status.ip else { return stack.set_config_v4(ConfigV4::None) };
    let gateway = match status.gateway {
        Some(IpAddr::V4(gateway)) => Some(gateway),
        _ => None,
    };
    let servers = status.dns.iter().filter_map(|server| match server {
        IpAddr::V4(server) => Some(*server),
        IpAddr::V6(_) => None,
    });
    stack.set_config_v4(ConfigV4::Static(StaticConfigV4 {
        address: Ipv4Cidr::new(address, 32),
        gateway,
        dns_servers: servers.take(DNS_SERVERS_MAX).collect(),
    }));
}

#[interrupt]
fn IPC() {
    embassy_net_nrf91::on_ipc_irq();
}

unsafe extern "C" {
    static mut _ipc_start: u8;
}

/// The network's access point, at build time: `MUSTER_APN=… cargo xtask firmware build --board nrf9151`. Empty is the one
/// that the SIM card's network chooses. No secret.
const APN: &str = match option_env!("MUSTER_APN") {
    Some(apn) => apn,
    None => "",
};
const CONTEXT: u8 = 0;
const DNS_SERVERS_MAX: usize = 2;
/// As in `memory.x`.
const SHARED_BYTES: usize = 64 * 1024;
