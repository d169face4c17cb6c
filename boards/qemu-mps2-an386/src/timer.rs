//! Time by the two CMSDK APB timers at 25 MHz (Arm DDI 0479, section 4.4): TIMER0 runs free and is the clock, TIMER1 is
//! the alarm. The driver of `embassy-time`.

use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

use crate::registers::Registers;
use crate::vectors::{self, Line};

/// Starts the clock.
pub(crate) fn start() {
    CLOCK.write(RELOAD, u32::MAX);
    CLOCK.write(CONTROL, ENABLE | INTERRUPT);
    vectors::enable(Line::Timer0);
    vectors::enable(Line::Timer1);
}

/// The clock's lower 32 bits, in ticks of 40 ns; it counts up and wraps.
pub(crate) fn ticks() -> u32 {
    u32::MAX - CLOCK.read(VALUE)
}

struct Timers {
    /// How often the clock has wrapped.
    wraps: AtomicU32,
    queue: Mutex<RefCell<Queue>>,
}

impl Driver for Timers {
    fn now(&self) -> u64 {
        let ticks = critical_section::with(|_| {
            let wraps = self.wraps.load(Ordering::Relaxed);
            let low = ticks();
            // A wrap whose interrupt has not been served yet: the second look is certainly behind it.
            let (wraps, low) =
                if CLOCK.read(INTERRUPT_STATUS) == 0 { (wraps, low) } else { (wraps.wrapping_add(1), ticks()) };
            u64::from(wraps) << 32 | u64::from(low)
        });
        ticks / TICKS_PER_MICRO
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            let mut queue = self.queue.borrow_ref_mut(section);
            if queue.schedule_wake(at, waker) {
                drop(queue);
                self.set_alarm(section);
            }
        });
    }
}

impl Timers {
    /// Wakes what is due and sets the alarm for what comes next.
    fn set_alarm(&self, section: CriticalSection<'_>) {
        let mut queue = self.queue.borrow_ref_mut(section);
        let mut next = queue.next_expiration(self.now());
        loop {
            ALARM.write(CONTROL, 0);
            if next == u64::MAX {
                return;
            }
            let now = self.now();
            if next > now {
                // What is farther away than the alarm reaches gets one on the way.
                let ticks = (next - now).saturating_mul(TICKS_PER_MICRO).min(u64::from(u32::MAX / 2)) as u32;
                ALARM.write(RELOAD, ticks);
                ALARM.write(CONTROL, ENABLE | INTERRUPT);
                return;
            }
            next = queue.next_expiration(now);
        }
    }
}

embassy_time_driver::time_driver_impl!(static TIMERS: Timers = Timers {
    wraps: AtomicU32::new(0),
    queue: Mutex::new(RefCell::new(Queue::new())),
});

#[unsafe(no_mangle)]
extern "C" fn TIMER0() {
    CLOCK.write(INTERRUPT_STATUS, 1);
    TIMERS.wraps.fetch_add(1, Ordering::Relaxed);
}

#[unsafe(no_mangle)]
extern "C" fn TIMER1() {
    ALARM.write(CONTROL, 0);
    ALARM.write(INTERRUPT_STATUS, 1);
    critical_section::with(|section| TIMERS.set_alarm(section));
}

/// The timers run at 25 MHz, `embassy-time` at 1 MHz.
const TICKS_PER_MICRO: u64 = 25;

const CLOCK: Registers = Registers::at(0x4000_0000);
const ALARM: Registers = Registers::at(0x4000_1000);
const CONTROL: usize = 0x0;
const VALUE: usize = 0x4;
const RELOAD: usize = 0x8;
const INTERRUPT_STATUS: usize = 0xC;
const ENABLE: u32 = 1 << 0;
const INTERRUPT: u32 = 1 << 3;
