//! Calls to the host through the debugger's breakpoint (Arm semihosting specification, 32-bit): how an emulated board
//! gets what silicon would have. Emulation only; nothing here exists on a real board.

use core::arch::asm;

/// SYS_OPEN modes, as `fopen` has them.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// `rb`
    Read = 1,
    /// `r+b`
    ReadWrite = 3,
    /// `w+b`: made anew, empty.
    Create = 7,
}

/// A file of the host.
pub(crate) struct File {
    handle: usize,
}

/// The host would not do it.
#[derive(Clone, Copy)]
pub(crate) struct HostFailed;

impl File {
    /// Opens the file with this name, which ends in a zero byte.
    pub(crate) fn open(name: &[u8], mode: Mode) -> Result<Self, HostFailed> {
        debug_assert!(name.last() == Some(&0));
        let block = [name.as_ptr() as usize, mode as usize, name.len().saturating_sub(1)];
        // SAFETY: the name outlives the call and its length does not count the final zero.
        let handle = unsafe { call(Operation::Open, block.as_ptr()) };
        if handle as isize == -1 { Err(HostFailed) } else { Ok(Self { handle }) }
    }

    /// Fills the buffer from the file's position on.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> Result<(), HostFailed> {
        let block = [self.handle, bytes.as_mut_ptr() as usize, bytes.len()];
        // SAFETY: the host writes at most the buffer's length into the buffer.
        let left = unsafe { call(Operation::Read, block.as_ptr()) };
        if left == 0 { Ok(()) } else { Err(HostFailed) }
    }

    /// Writes at the file's position; with the host's system call done, no kill of the emulator undoes it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), HostFailed> {
        let block = [self.handle, bytes.as_ptr() as usize, bytes.len()];
        // SAFETY: the host only reads the buffer.
        let left = unsafe { call(Operation::Write, block.as_ptr()) };
        if left == 0 { Ok(()) } else { Err(HostFailed) }
    }

    /// Moves the position, counted from the beginning.
    pub(crate) fn seek(&mut self, at: usize) -> Result<(), HostFailed> {
        let block = [self.handle, at];
        // SAFETY: nothing but numbers is passed.
        if unsafe { call(Operation::Seek, block.as_ptr()) } == 0 { Ok(()) } else { Err(HostFailed) }
    }

    /// The file's length in bytes.
    pub(crate) fn len(&mut self) -> usize {
        let block = [self.handle];
        // SAFETY: nothing but numbers is passed.
        unsafe { call(Operation::Length, block.as_ptr()) }
    }
}

/// Writes text to the host's console; it must end in a zero byte.
pub(crate) fn write_console(text: &[u8]) {
    debug_assert!(text.last() == Some(&0));
    // SAFETY: the text ends in a zero byte, where the host stops reading.
    unsafe { call(Operation::WriteConsole, text.as_ptr().cast()) };
}

/// Seconds since 1970 as the host's clock has them.
pub(crate) fn time_unix_secs() -> u32 {
    // SAFETY: this operation takes nothing.
    unsafe { call(Operation::Time, core::ptr::null()) as u32 }
}

/// The command line that the emulator was given for the firmware.
pub(crate) fn command_line(buffer: &mut [u8]) -> &[u8] {
    let mut block = [buffer.as_mut_ptr() as usize, buffer.len()];
    // SAFETY: the host writes at most the buffer's length into the buffer, and the length it used into the block.
    let failed = unsafe { call(Operation::CommandLine, block.as_mut_ptr()) } != 0;
    let length = if failed { 0 } else { block[1].min(buffer.len()) };
    let text = &buffer[..length];
    text.strip_suffix(&[0]).unwrap_or(text)
}

/// Ends the emulation with this exit status.
pub(crate) fn exit(status: u8) -> ! {
    let block = [APPLICATION_EXIT, usize::from(status)];
    loop {
        // SAFETY: nothing but numbers is passed; the emulator ends here.
        unsafe { call(Operation::ExitExtended, block.as_ptr()) };
    }
}

#[derive(Clone, Copy)]
enum Operation {
    Open = 0x01,
    WriteConsole = 0x04,
    Write = 0x05,
    Read = 0x06,
    Seek = 0x0A,
    Length = 0x0C,
    Time = 0x11,
    CommandLine = 0x15,
    ExitExtended = 0x20,
}

/// # Safety
///
/// The block must be what the operation expects, and what it points to must be valid for as long as the call lasts.
unsafe fn call(operation: Operation, block: *const usize) -> usize {
    let mut result = operation as usize;
    // SAFETY: the breakpoint with this number hands control to the host and comes back with r0 set; the caller vouches
    // for what the block points to.
    unsafe { asm!("bkpt 0xAB", inout("r0") result, in("r1") block, options(nostack)) };
    result
}

/// ADP_Stopped_ApplicationExit.
const APPLICATION_EXIT: usize = 0x2_0026;
