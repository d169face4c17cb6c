//! What your board has to have, each as a type that there is no value of: it shows what is asked for, and cannot pretend to
//! be it. Replace one after the other by your HAL's; most HALs' types are what is asked for already.

use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embedded_io_async::{ErrorType as LineErrorType, Read, Write};
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use muster_agent_nostd::entropy::{Source, SourceFailed};

/// Step 3: the flash, read and programmed at once, without waiting for anything but itself. A torn word may read as anything
/// and must not be an error; on chips with error correction that takes some care ([`nucleo-h563zi`'s](../../nucleo-h563zi)).
pub(crate) enum TodoFlash {}

impl TodoFlash {
    /// None yet.
    pub(crate) fn start() -> Option<Self> {
        None
    }
}

impl ErrorType for TodoFlash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for TodoFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, _at: u32, _bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        match *self {}
    }

    fn capacity(&self) -> usize {
        match *self {}
    }
}

impl NorFlash for TodoFlash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn write(&mut self, _at: u32, _bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        match *self {}
    }

    fn erase(&mut self, _from: u32, _to: u32) -> Result<(), NorFlashErrorKind> {
        match *self {}
    }
}

/// Step 4: the chip's noise source, with its own tests on. Its bytes are tested and conditioned behind this.
pub(crate) enum TodoNoise {}

impl TodoNoise {
    /// None yet.
    pub(crate) fn start() -> Option<Self> {
        None
    }
}

impl Source for TodoNoise {
    fn fill(&mut self, _bytes: &mut [u8]) -> Result<(), SourceFailed> {
        match *self {}
    }
}

/// Step 4: the serial line to the factory. Reading must be safe to cancel, and interrupts or DMA have to keep what comes
/// while nobody reads: a buffered driver.
pub(crate) enum TodoLine {}

impl TodoLine {
    /// None yet.
    pub(crate) fn start() -> Option<Self> {
        None
    }
}

impl LineErrorType for TodoLine {
    type Error = core::convert::Infallible;
}

impl Read for TodoLine {
    async fn read(&mut self, _bytes: &mut [u8]) -> Result<usize, Self::Error> {
        match *self {}
    }
}

impl Write for TodoLine {
    async fn write(&mut self, _bytes: &[u8]) -> Result<usize, Self::Error> {
        match *self {}
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        match *self {}
    }
}

/// Step 5: a driver for embassy-net: Ethernet, Wi-Fi, or packets of IP from a modem.
pub(crate) enum TodoNetwork {}

impl TodoNetwork {
    /// None yet.
    pub(crate) fn start(_address: [u8; 6]) -> Option<Self> {
        None
    }
}

impl Driver for TodoNetwork {
    type RxToken<'a> = TodoToken;
    type TxToken<'a> = TodoToken;

    fn receive(&mut self, _context: &mut Context<'_>) -> Option<(TodoToken, TodoToken)> {
        match *self {}
    }

    fn transmit(&mut self, _context: &mut Context<'_>) -> Option<TodoToken> {
        match *self {}
    }

    fn link_state(&mut self, _context: &mut Context<'_>) -> LinkState {
        match *self {}
    }

    fn capabilities(&self) -> Capabilities {
        match *self {}
    }

    fn hardware_address(&self) -> HardwareAddress {
        match *self {}
    }
}

/// A packet of the driver's.
pub(crate) enum TodoToken {}

impl RxToken for TodoToken {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _take: F) -> R {
        match self {}
    }
}

impl TxToken for TodoToken {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _length: usize, _give: F) -> R {
        match self {}
    }
}
