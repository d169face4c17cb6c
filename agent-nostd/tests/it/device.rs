//! A board's whole `main`, as long as it is no device: it waits for the factory, from whatever step it stands at.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::pending;
use std::rc::Rc;

use embassy_futures::block_on;
use embassy_futures::select::select;
use embedded_io_async::{ErrorType, Read, Write};
use muster_agent_nostd::agent::{Memory, Options};
use muster_agent_nostd::device::{Parts, about};
use muster_agent_nostd::factory::{FactoryStore as _, FlashStore};
use muster_agent_nostd::partition::{Barrier, Partition};
use muster_agent_nostd::platform::{IdentityLock as _, Network, NetworkError, NoClock, Reset};
use muster_agent_nostd::slots::Slots;
use muster_protocol::message::factory::frame::{FrameReader, frame};
use muster_protocol::message::factory::{Answer, Hello, Request, Standing, decode_answer, encode};

use crate::nor::Nor;
use crate::power_cut::Sequence;

type Flash = Nor<4, 1, 4096>;

/// A serial line: what the station says, and what the board answered.
#[derive(Clone, Default)]
struct Line {
    to_board: Rc<RefCell<Vec<u8>>>,
    from_board: Rc<RefCell<Vec<u8>>>,
}

impl ErrorType for Line {
    type Error = Infallible;
}

impl Read for Line {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        let waiting = self.to_board.borrow().len();
        if waiting == 0 {
            return pending().await;
        }
        let length = waiting.min(bytes.len());
        bytes[..length].copy_from_slice(&self.to_board.borrow_mut().drain(..length).collect::<Vec<_>>());
        Ok(length)
    }
}

impl Write for Line {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.from_board.borrow_mut().extend(bytes);
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Nobody answers, ever.
struct Nowhere;

impl Network for Nowhere {
    type Socket<'a> = Line;

    async fn connect(&mut self, _host: &str, _port: u16) -> Result<Line, NetworkError> {
        Err(NetworkError::Down)
    }
}

struct NoReset;

impl Reset for NoReset {
    fn reset(&mut self) -> ! {
        std::panic::resume_unwind(Box::new("reset"))
    }
}

/// What the board says by itself and in answer to one question, and whether its first unit is locked then.
fn told(flash: &Flash) -> (Vec<Hello>, bool) {
    let barrier: &'static Barrier = Box::leak(Box::default());
    let line = Line::default();
    line.to_board.borrow_mut().extend_from_slice(&frame(&encode(7, &Request::Hello).unwrap()));
    let parts = Parts {
        flash: Partition::<_, 16>::new(flash.clone(), 8192, barrier),
        partition: 0,
        lock: barrier,
        line: line.clone(),
        rng: Sequence(1),
        clock: NoClock,
        app: (),
        reset: NoReset,
        about: about("lamp", "a board", "0.1.0"),
        options: Options::new(),
    };
    let hellos = || {
        let mut reader = FrameReader::new();
        let bytes = line.from_board.borrow().clone();
        let messages = bytes.into_iter().filter_map(|byte| Some(reader.push(byte)?.to_vec())).collect::<Vec<_>>();
        let hellos = messages.iter().filter_map(|message| match decode_answer(message) {
            Ok(Answer::Hello(hello)) => Some(hello),
            _ => None,
        });
        hellos.collect::<Vec<_>>()
    };
    let heard = std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        if hellos().len() == 2 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    block_on(async {
        let mut memory = Box::new(Memory::new());
        select(parts.run(Nowhere, &mut memory), heard).await;
    });
    let mut lock = barrier;
    (hellos(), lock.is_locked())
}

#[test]
fn a_blank_board_waits_for_the_factory() {
    let (hellos, is_locked) = told(&Flash::new(20 * 4096));
    assert!(hellos.iter().all(|hello| matches!(hello.standing, Standing::Empty)) && hellos.len() == 2);
    assert_eq!((hellos[0].product.as_str(), hellos[0].board.as_str()), ("lamp", "a board"));
    assert!(!is_locked);
}

#[test]
fn a_board_with_a_key_waits_on_and_keeps_the_key() {
    let flash = Flash::new(20 * 4096);
    let barrier: &'static Barrier = Box::leak(Box::default());
    let mut slots = Slots::open(Partition::<_, 16>::new(flash.clone(), 8192, barrier), 0).unwrap();
    let mut lock = barrier;
    let mut store = FlashStore::new(&mut slots, &mut lock);
    let key = store.make_key(&mut Sequence(1)).unwrap();
    let (hellos, is_locked) = told(&flash);
    assert!(!is_locked && hellos.len() == 2);
    for hello in hellos {
        assert!(matches!(hello.standing, Standing::Keyed { public_key } if public_key == key));
    }
}
