//! The newest trust bundle from the open address: `GET https://HOST:PORT/.well-known/muster/bundle`.
//!
//! The content is signed by the fleet root and checked by the core, so nothing of TLS is trusted here: this is for a
//! device whose trust is out of date. One request, `Connection: close`; the answer is read in `http`.

use core::pin::pin;

use embassy_time::{Duration, Instant, with_deadline};
use embedded_io_async::Write;
use muster_protocol::limits::GATEWAYS_MAX;
use rand_core::CryptoRngCore;

use super::http::read_answer;
use super::trust::Target;
use super::{App, Running, Vault};
use crate::apart::apart;
use crate::fmt::{DIGITS_MAX, decimal};
use crate::platform::{Clock, Network};
use crate::tls::Line;
use crate::{mqtt, tls};

impl<V, R, C, A> Running<'_, V, R, C, A>
where
    V: Vault,
    R: CryptoRngCore,
    C: Clock,
    A: App,
{
    /// The bundle of the first gateway that has one; it lies in MQTT's receive buffer.
    pub(super) async fn fetch<'s>(
        &mut self,
        network: &mut impl Network,
        mqtt: &'s mut mqtt::Memory,
        tls: &mut tls::Buffers,
    ) -> Option<&'s [u8]> {
        let patience = Duration::from_millis(self.options.settings.answer_millis_max);
        let mut length = None;
        for index in 0..GATEWAYS_MAX {
            let (scratch, head) = mqtt.scratch();
            let (host, port, count) = {
                let target = pin!(self.target(index, scratch));
                match apart(target).await {
                    Some(Target { host, https_port, count, .. }) => (host, https_port, count),
                    None => break,
                }
            };
            let deadline = Instant::now() + patience / count.max(1) as u32;
            let answer = self.fetch_from(network, tls, &host, port, deadline, head, scratch);
            length = with_deadline(deadline, pin!(answer)).await.ok().flatten();
            if length.is_some() {
                break;
            }
        }
        mqtt.scratch().0.get(..length?)
    }

    #[allow(clippy::too_many_arguments)]
    async fn fetch_from(
        &mut self,
        network: &mut impl Network,
        tls: &mut tls::Buffers,
        host: &str,
        port: u16,
        deadline: Instant,
        head: &mut [u8],
        body: &mut [u8],
    ) -> Option<usize> {
        let socket = network.connect(host, port).await.ok()?;
        let mut line = None;
        let line = Line::start(&mut line, socket, tls);
        let mut stream = apart(pin!(line.open_unjudged(host, self.rng, deadline))).await.ok()?;
        ask(&mut stream, host, port).await.ok()?;
        read_answer(&mut stream, head, body).await
    }
}

async fn ask<S: Write>(stream: &mut S, host: &str, port: u16) -> Result<(), S::Error> {
    let mut digits = [0; DIGITS_MAX];
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    for part in [
        "GET /.well-known/muster/bundle HTTP/1.1\r\nHost: ",
        open,
        host,
        close,
        ":",
        decimal(u64::from(port), &mut digits),
        "\r\nConnection: close\r\n\r\n",
    ] {
        stream.write_all(part.as_bytes()).await?;
    }
    stream.flush().await
}
