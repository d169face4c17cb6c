//! The SMSC LAN9118 Ethernet controller (data sheet revision 1.5), driven by its interrupt: frames through its FIFOs,
//! one at a time each way.

use core::task::Context;

use embassy_net::driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;

use crate::registers::Registers;
use crate::vectors::{self, Line};

/// The controller and a buffer for a frame each way.
pub(crate) struct Lan9118 {
    address: [u8; 6],
    received: Frame<{ FRAME_LEN / 4 }>,
    sent: Frame<{ SENT_LEN / 4 }>,
}

impl Lan9118 {
    /// Buffers, for a static.
    pub(crate) const fn new() -> Self {
        Self { address: [0; 6], received: Frame::new(), sent: Frame::new() }
    }

    /// Starts the controller under this hardware address.
    pub(crate) fn start(&mut self, address: [u8; 6]) {
        self.address = address;
        // Push-pull and active high, before any other register: as it comes out of reset, the first write to another one
        // raises the line for ever.
        CONTROLLER.write(IRQ_CFG, IRQ_ENABLE | IRQ_ACTIVE_HIGH | IRQ_PUSH_PULL);
        CONTROLLER.write(INT_EN, 0);
        CONTROLLER.write(INT_STS, u32::MAX);
        CONTROLLER.write(HW_CFG, TX_FIFO_5K | STORE_AND_FORWARD);
        let [a, b, c, d, e, f] = address;
        write_mac(MAC_ADDRL, u32::from_le_bytes([a, b, c, d]));
        write_mac(MAC_ADDRH, u32::from_le_bytes([e, f, 0, 0]));
        write_mac(MAC_CR, MAC_TRANSMIT | MAC_RECEIVE);
        CONTROLLER.write(TX_CFG, TX_ON);
        CONTROLLER.write(FIFO_INT, TX_LEVEL);
        CONTROLLER.write(INT_EN, RX_STATUS_LEVEL);
        vectors::enable(Line::Ethernet);
    }

    /// Takes the next good frame out of the controller.
    fn take(&mut self) -> bool {
        while CONTROLLER.read(RX_FIFO_INF) >> 16 & 0xff != 0 {
            let status = CONTROLLER.read(RX_STATUS);
            let length = (status >> 16 & 0x3fff) as usize;
            let words = length.div_ceil(4);
            let good = status & RX_ERROR == 0 && (CHECKSUM_LEN..=FRAME_LEN).contains(&length);
            for at in 0..words {
                let word = CONTROLLER.read(RX_DATA);
                if let Some(place) = self.received.words.get_mut(at) {
                    *place = word;
                }
            }
            if good {
                self.received.length = length - CHECKSUM_LEN;
                return true;
            }
        }
        // Emptied: from here on the next frame interrupts again.
        CONTROLLER.write(INT_STS, RX_STATUS_LEVEL);
        CONTROLLER.write(INT_EN, RX_STATUS_LEVEL);
        false
    }
}

impl Driver for Lan9118 {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(Received<'_>, Transmit<'_>)> {
        WAKER.register(context.waker());
        if !self.take() {
            return None;
        }
        Some((Received(&mut self.received), Transmit(&mut self.sent)))
    }

    fn transmit(&mut self, context: &mut Context<'_>) -> Option<Transmit<'_>> {
        // The FIFO holds several frames and the emulated wire takes each at once, so room needs no interrupt of its own.
        WAKER.register(context.waker());
        if CONTROLLER.read(TX_FIFO_INF) & 0xffff < (SENT_LEN + 16) as u32 {
            context.waker().wake_by_ref();
            return None;
        }
        while CONTROLLER.read(TX_FIFO_INF) >> 16 & 0xff != 0 {
            CONTROLLER.read(TX_STATUS);
        }
        Some(Transmit(&mut self.sent))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = SENT_LEN - 2;
        capabilities.max_burst_size = Some(1);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}

/// A frame that has come in.
pub(crate) struct Received<'a>(&'a mut Frame<{ FRAME_LEN / 4 }>);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, read: F) -> R {
        let length = self.0.length;
        read(self.0.bytes(length))
    }
}

/// Room for a frame that goes out.
pub(crate) struct Transmit<'a>(&'a mut Frame<{ SENT_LEN / 4 }>);

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let result = fill(self.0.bytes(length));
        let length = length.min(SENT_LEN) as u32;
        CONTROLLER.write(TX_DATA, FIRST_SEGMENT | LAST_SEGMENT | length);
        CONTROLLER.write(TX_DATA, length);
        for word in &self.0.words[..length.div_ceil(4) as usize] {
            CONTROLLER.write(TX_DATA, *word);
        }
        result
    }
}

/// A frame, held in words as the FIFOs take them.
struct Frame<const WORDS: usize> {
    words: [u32; WORDS],
    length: usize,
}

impl<const WORDS: usize> Frame<WORDS> {
    const fn new() -> Self {
        Self { words: [0; WORDS], length: 0 }
    }

    fn bytes(&mut self, length: usize) -> &mut [u8] {
        let length = length.min(4 * WORDS);
        // SAFETY: words have no padding and any byte is a valid part of one; the length is inside the array.
        unsafe { core::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), length) }
    }
}

#[unsafe(no_mangle)]
extern "C" fn ETHERNET() {
    // The line stays up until the FIFO is empty: masked here, and let through again when it is.
    CONTROLLER.write(INT_EN, 0);
    WAKER.wake();
}

/// Writes a register of the MAC, which lies behind two of the controller's.
fn write_mac(register: u32, value: u32) {
    while CONTROLLER.read(MAC_CSR_CMD) & MAC_BUSY != 0 {}
    CONTROLLER.write(MAC_CSR_DATA, value);
    CONTROLLER.write(MAC_CSR_CMD, MAC_BUSY | register);
}

static WAKER: AtomicWaker = AtomicWaker::new();

/// An Ethernet frame of 1500 bytes with header and checksum, rounded up to words. Not less: QEMU's user network sends
/// segments of its own size, whatever size was asked for.
const FRAME_LEN: usize = 1520;
/// The longest frame that is sent: a header and a packet of 576 bytes, which every host takes (RFC 791, section 3.1),
/// rounded up to words. TCP cuts what is longer; nothing else is.
const SENT_LEN: usize = 592;
const CHECKSUM_LEN: usize = 4;

const CONTROLLER: Registers = Registers::at(0x4020_0000);
const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const TX_STATUS: usize = 0x48;
const IRQ_CFG: usize = 0x54;
const INT_STS: usize = 0x58;
const INT_EN: usize = 0x5C;
const FIFO_INT: usize = 0x68;
const TX_CFG: usize = 0x70;
const HW_CFG: usize = 0x74;
const RX_FIFO_INF: usize = 0x7C;
const TX_FIFO_INF: usize = 0x80;
const MAC_CSR_CMD: usize = 0xA4;
const MAC_CSR_DATA: usize = 0xA8;

const IRQ_ENABLE: u32 = 1 << 8;
const IRQ_ACTIVE_HIGH: u32 = 1 << 4;
const IRQ_PUSH_PULL: u32 = 1 << 0;
const RX_STATUS_LEVEL: u32 = 1 << 3;
const TX_FIFO_5K: u32 = 5 << 16;
const STORE_AND_FORWARD: u32 = 1 << 20;
const TX_LEVEL: u32 = 0x4800_0000;
const TX_ON: u32 = 1 << 1;
const RX_ERROR: u32 = 1 << 15;
const FIRST_SEGMENT: u32 = 1 << 13;
const LAST_SEGMENT: u32 = 1 << 12;
const MAC_BUSY: u32 = 1 << 31;
const MAC_CR: u32 = 1;
const MAC_ADDRH: u32 = 2;
const MAC_ADDRL: u32 = 3;
const MAC_TRANSMIT: u32 = 1 << 3;
const MAC_RECEIVE: u32 = 1 << 2;
