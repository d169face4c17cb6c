//! A device's registers: 32 bits each, read and written whole. The only place of this board that makes addresses.

/// The registers of one device.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    base: usize,
}

impl Registers {
    /// The device at this address, of the machine's memory map (Arm DAI 0386, table 3-3).
    pub(crate) const fn at(base: usize) -> Self {
        Self { base }
    }

    /// Reads the register at this offset.
    pub(crate) fn read(self, offset: usize) -> u32 {
        // SAFETY: every `Registers` of this board is a device of the memory map, and offsets are those of its registers.
        unsafe { ((self.base + offset) as *const u32).read_volatile() }
    }

    /// Writes the register at this offset.
    pub(crate) fn write(self, offset: usize, value: u32) {
        // SAFETY: as for `read`; no register of these devices makes the processor's memory change.
        unsafe { ((self.base + offset) as *mut u32).write_volatile(value) }
    }
}
