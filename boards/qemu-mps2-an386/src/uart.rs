//! CMSDK APB UART 0 (Arm DDI 0479, section 4.3), driven by its interrupts: the board's serial line, on which the factory
//! speaks to it.

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;

use critical_section::Mutex;
use embassy_sync::waitqueue::AtomicWaker;
use embedded_io_async::{ErrorType, Read, Write};

use crate::registers::Registers;
use crate::vectors::{self, Line};

/// The serial line. There is one.
pub(crate) struct Uart(());

impl Uart {
    /// Starts it.
    pub(crate) fn start() -> Self {
        UART.write(BAUD_DIVISOR, 217);
        UART.write(CONTROL, TX_ENABLE | RX_ENABLE | TX_INTERRUPT | RX_INTERRUPT);
        vectors::enable(Line::Uart0Rx);
        vectors::enable(Line::Uart0Tx);
        Self(())
    }
}

impl ErrorType for Uart {
    type Error = core::convert::Infallible;
}

impl Read for Uart {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Self::Error> {
        if bytes.is_empty() {
            return Ok(0);
        }
        poll_fn(|context| {
            RECEIVED_WAKER.register(context.waker());
            let taken = critical_section::with(|section| {
                let mut received = RECEIVED.borrow_ref_mut(section);
                let taken = received.take(bytes);
                // There is room again for the byte that waits in the device.
                if taken > 0 {
                    pull(&mut received);
                }
                taken
            });
            if taken == 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) }
        })
        .await
    }
}

impl Write for Uart {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let Some(byte) = bytes.first() else { return Ok(0) };
        poll_fn(|context| {
            SENT_WAKER.register(context.waker());
            if UART.read(STATE) & TX_FULL != 0 {
                return Poll::Pending;
            }
            UART.write(DATA, u32::from(*byte));
            Poll::Ready(Ok(1))
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Bytes that came in and were not read yet.
struct Ring {
    bytes: [u8; RING_LEN],
    start: usize,
    length: usize,
}

impl Ring {
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        let taken = self.length.min(bytes.len());
        for place in &mut bytes[..taken] {
            *place = self.bytes[self.start];
            self.start = (self.start + 1) % RING_LEN;
        }
        self.length -= taken;
        taken
    }
}

/// Takes what the device holds while there is room; what waits there holds the sender back.
fn pull(ring: &mut Ring) {
    while ring.length < RING_LEN && UART.read(STATE) & RX_FULL != 0 {
        ring.bytes[(ring.start + ring.length) % RING_LEN] = UART.read(DATA) as u8;
        ring.length += 1;
    }
}

#[unsafe(no_mangle)]
extern "C" fn UART0_RX() {
    UART.write(INTERRUPT_STATUS, RX_INTERRUPT_STATUS);
    critical_section::with(|section| pull(&mut RECEIVED.borrow_ref_mut(section)));
    RECEIVED_WAKER.wake();
}

#[unsafe(no_mangle)]
extern "C" fn UART0_TX() {
    UART.write(INTERRUPT_STATUS, TX_INTERRUPT_STATUS);
    SENT_WAKER.wake();
}

static RECEIVED: Mutex<RefCell<Ring>> = Mutex::new(RefCell::new(Ring { bytes: [0; RING_LEN], start: 0, length: 0 }));
static RECEIVED_WAKER: AtomicWaker = AtomicWaker::new();
static SENT_WAKER: AtomicWaker = AtomicWaker::new();

const RING_LEN: usize = 64;
const UART: Registers = Registers::at(0x4000_4000);
const DATA: usize = 0x00;
const STATE: usize = 0x04;
const CONTROL: usize = 0x08;
const INTERRUPT_STATUS: usize = 0x0C;
const BAUD_DIVISOR: usize = 0x10;
const TX_FULL: u32 = 1 << 0;
const RX_FULL: u32 = 1 << 1;
const TX_ENABLE: u32 = 1 << 0;
const RX_ENABLE: u32 = 1 << 1;
const TX_INTERRUPT: u32 = 1 << 2;
const RX_INTERRUPT: u32 = 1 << 3;
const TX_INTERRUPT_STATUS: u32 = 1 << 0;
const RX_INTERRUPT_STATUS: u32 = 1 << 1;
