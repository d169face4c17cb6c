//! Which Wi-Fi network, and staying in it.
//!
//! The record is a sector of its own, the partition `wifi`: text of two lines, the network's name and its password, written
//! by whoever flashes the board. So it is in no image, no repository and no argument list, and every board may have another.

use core::future::pending;

use embassy_time::{Duration, Timer};
use esp_radio::wifi::sta::StationConfig;
use esp_radio::wifi::{AuthenticationMethodConfig, Config, WifiController};
use esp_storage::FlashStorage;

/// A network and how to get in.
pub(crate) struct Access(Config);

impl Access {
    /// The record; `None` when there is none that makes sense.
    pub(crate) fn read(flash: &mut FlashStorage<'static>) -> Option<Self> {
        let mut record = [0; RECORD_BYTES];
        flash.read(RECORD, &mut record).ok()?;
        let access = Self::parse(&record);
        record.fill(0);
        access
    }

    /// `NAME\nPASSWORD\n`, then erased flash or zeroes. WPA2 is the least: a network without a password is none.
    fn parse(record: &[u8]) -> Option<Self> {
        let end = record.iter().position(|byte| matches!(byte, 0x00 | 0xff)).unwrap_or(record.len());
        let text = core::str::from_utf8(record.get(..end)?).ok()?;
        let mut lines = text.lines();
        let (name, password) = (lines.next()?, lines.next()?);
        if name.is_empty() || password.len() < PASSWORD_BYTES_MIN {
            return None;
        }
        let password = AuthenticationMethodConfig::Wpa2Personal(password.try_into().ok()?);
        let station = StationConfig::default().with_ssid(name.try_into().ok()?).with_authentication(password);
        Some(Self(Config::Station(station)))
    }
}

/// Joins the network, and again whenever it is lost. Without one it keeps the radio, which the random generator needs.
#[embassy_executor::task]
pub(crate) async fn join(mut radio: WifiController<'static>, access: Option<Access>) {
    let Some(access) = access else { return pending().await };
    loop {
        if radio.set_config(&access.0).is_ok() && radio.connect_async().await.is_ok() {
            let _ = radio.wait_for_disconnect_async().await;
        }
        Timer::after(PAUSE).await;
    }
}

const PAUSE: Duration = Duration::from_secs(5);
/// The partition `wifi`. As in `partitions.csv`.
const RECORD: u32 = 0x3F_8000;
/// A name of 32 bytes, a password of 64, two ends of lines.
const RECORD_BYTES: usize = 100;
/// WPA2 has no shorter one.
const PASSWORD_BYTES_MIN: usize = 8;
