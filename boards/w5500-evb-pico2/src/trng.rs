//! The RP2350's random source (datasheet, section 12.12) with all three of its own tests on. A block that fails one is
//! thrown away, and the source is reset. The HAL's driver waits for ever after some of those failures, or panics.

use embassy_rp::Peri;
use embassy_rp::pac::TRNG;
use embassy_rp::peripherals;
use muster_agent_nostd::entropy::{Source, SourceFailed};

/// The source. There is one, and nobody else has it.
pub(crate) struct Trng(Peri<'static, peripherals::TRNG>);

impl Trng {
    /// Takes it.
    pub(crate) fn new(trng: Peri<'static, peripherals::TRNG>) -> Self {
        Self(trng)
    }
}

impl Source for Trng {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SourceFailed> {
        start();
        for piece in bytes.chunks_mut(BLOCK_BYTES) {
            let block = (0..ATTEMPTS).find_map(|_| block()).ok_or(SourceFailed)?;
            for (four, word) in piece.chunks_mut(4).zip(block) {
                four.copy_from_slice(&word.to_le_bytes()[..four.len()]);
            }
        }
        TRNG.rnd_source_enable().write(|enable| enable.set_rnd_src_en(false));
        Ok(())
    }
}

/// Resets the source and starts it.
fn start() {
    TRNG.trng_sw_reset().write(|reset| reset.set_trng_sw_reset(true));
    // The reset takes a moment; a read outlasts it.
    let _ = TRNG.trng_sw_reset().read();
    TRNG.trng_debug_control().write(|bypass| {
        bypass.set_auto_correlate_bypass(false);
        bypass.set_trng_crngt_bypass(false);
        bypass.set_vnc_bypass(false);
    });
    TRNG.trng_config().write(|config| config.set_rnd_src_sel(CHAIN));
    TRNG.sample_cnt1().write_value(SAMPLE_CYCLES);
    TRNG.rnd_source_enable().write(|enable| enable.set_rnd_src_en(true));
}

/// One block of 192 bits; `None` when a test failed or it took too long, and the source is started anew.
fn block() -> Option<[u32; BLOCK_BYTES / 4]> {
    for _ in 0..POLLS_MAX {
        let found = TRNG.rng_isr().read();
        if found.autocorr_err() || found.crngt_err() || found.vn_err() {
            break;
        }
        if found.ehr_valid() {
            let block = [
                TRNG.ehr_data0().read(),
                TRNG.ehr_data1().read(),
                TRNG.ehr_data2().read(),
                TRNG.ehr_data3().read(),
                TRNG.ehr_data4().read(),
                // The last read clears all of them, and the source goes on.
                TRNG.ehr_data5().read(),
            ];
            TRNG.rng_icr().write(|clear| clear.set_ehr_valid(true));
            return Some(block);
        }
    }
    start();
    None
}

const BLOCK_BYTES: usize = 24;
/// Cycles between two samples, four times what the datasheet names as enough: fewer failed tests, at 10 ms for a block.
const SAMPLE_CYCLES: u32 = 100;
/// The second shortest of four chains of inverters, as the datasheet advises.
const CHAIN: u8 = 1;
/// Failed blocks in a row.
const ATTEMPTS: u32 = 32;
/// Far longer than a block takes: some tenths of a second.
const POLLS_MAX: u32 = 2_000_000;
