//! `init`: sets a gateway's directory up.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use muster_protocol::{FleetId, UnixTime};
use muster_terminal::{Failure, OrFail as _, Output, PasswordFile, time};
use serde_json::json;

use crate::directory::Authority;
use crate::init::{Plan, init};

/// Sets up a gateway: CAs, fleet keys, first trust bundle, database, settings
#[derive(Args, Clone, Debug)]
pub(super) struct Init {
    /// The directory to set up; made if it is not there, and nothing in it is overwritten
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// DNS name or IP address under which devices reach the gateway; may be given up to four times
    #[arg(long = "name", value_name = "HOST", required = true)]
    names: Vec<String>,
    /// Name of the fleet; it stands in every identity and cannot be changed later
    #[arg(long, value_name = "ID", default_value = "muster", value_parser = fleet)]
    fleet: FleetId,
    /// Port under which devices reach MQTT
    #[arg(long, value_name = "PORT", default_value_t = 8883, value_parser = clap::value_parser!(u16).range(1..))]
    mqtt_port: u16,
    /// Port under which devices and operators reach HTTPS
    #[arg(long, value_name = "PORT", default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..))]
    https_port: u16,
    #[command(flatten)]
    password: PasswordFile,
}

impl Init {
    pub(super) fn act(self, output: &Output) -> Result<(), Failure> {
        let password = self.password.new_password(output, "the fleet keys")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let plan = Plan {
            directory: self.dir,
            fleet: self.fleet,
            names: self.names,
            mqtt_port: self.mqtt_port,
            https_port: self.https_port,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .or_fail("runtime.failed", "cannot start")?;
        let report = runtime.block_on(init(&plan, &password, UnixTime(now)))?;
        let directory = &report.directory;
        let shown = directory.root().display();
        let record = json!({
            "directory": directory.root(),
            "fleet": report.fleet,
            "fleet_root": report.pins.root,
            "fleet_backup": report.pins.backup,
            "fleet_file": directory.fleet(),
            "device_ca": directory.ca_certificate(Authority::Device),
            "gateway_ca": directory.ca_certificate(Authority::Gateway),
            "operator_ca": directory.ca_certificate(Authority::Operator),
            "offline": directory.offline(),
            "server_not_after": time::rfc3339(report.server_not_after.0),
        });
        output.record(record, || format!("fleet {} is set up in {shown}", report.fleet))?;
        output.note(format_args!(
            "\nTake {} away now: with these two keys and their password, everything else can be replaced,\n\
             and nobody else should have them. Copy them to two places, then delete them here.\n\n\
             Next:\n  muster-gateway factory-ca add FILE --dir {shown}\n  muster-gateway run --dir {shown}\n\
             The factory needs {} for its devices.",
            directory.offline().display(),
            directory.fleet().display(),
        ));
        Ok(())
    }
}

fn fleet(text: &str) -> Result<FleetId, String> {
    FleetId::new(text).map_err(|error| error.to_string())
}
