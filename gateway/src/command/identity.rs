//! A key made here for a service or an operator: it goes into a file of its owner and nowhere else; the gateway sees the
//! certification request.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use muster_issuing::{KeyPair, file};
use muster_protocol::pki::csr::CsrDraft;
use muster_protocol::{FleetId, Identity};
use muster_terminal::{Failure, OrFail as _, Password};

use crate::admin::client::Client;
use crate::admin::pem;
use crate::admin::request::Request;
use crate::admin::view::{IssuedView, StatusView};

/// A key pair on its way into files.
pub(super) struct Draft {
    folder: PathBuf,
    name: String,
    key: KeyPair,
    /// Certification request, PEM.
    pub(super) request: String,
}

/// The files that were written.
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) gateway_ca: PathBuf,
    pub(super) pkcs12: Option<PathBuf>,
}

/// The fleet of a gateway.
pub(super) fn fleet(client: &mut Client) -> Result<FleetId, Failure> {
    client.ask::<StatusView>(Request::Status).map(|status| status.fleet)
}

impl Draft {
    /// Makes a key and its request. Nothing is written yet, and nothing that is there will be overwritten.
    pub(super) fn make(folder: &Path, identity: &Identity) -> Result<Self, Failure> {
        let name = identity.name().to_string();
        for ending in ["key", "crt", "p12"] {
            let path = folder.join(format!("{name}.{ending}"));
            if path.exists() {
                return Err(Failure::refused("file.exists", format!("{} is there already", path.display()))
                    .hint("choose another --out, or move the old files away"));
            }
        }
        let key = KeyPair::generate().or_fail("key.failed", "cannot make a key")?;
        let draft = CsrDraft::new(identity, &key.public_key());
        let signature = key.sign(draft.to_be_signed());
        let request = pem::write_request(&draft.finish(&signature));
        Ok(Self { folder: folder.to_owned(), name, key, request })
    }

    /// Writes the key, before the gateway is asked: a certificate without its key is of no use.
    pub(super) fn write_key(&self) -> Result<(), Failure> {
        fs::create_dir_all(&self.folder).or_fail("file.failed", &format!("cannot make {}", self.folder.display()))?;
        let pem = self.key.to_pem().or_fail("key.failed", "cannot write the key")?;
        write(&self.path("key"), |path| file::create_secret(path, pem.as_bytes()))
    }

    /// Takes the key away again: the gateway refused.
    pub(super) fn discard(&self) {
        let _ = fs::remove_file(self.path("key"));
    }

    /// Writes what the gateway issued.
    pub(super) fn finish(self, issued: &IssuedView, pkcs12_password: Option<&Password>) -> Result<Files, Failure> {
        let certificate = self.path("crt");
        write(&certificate, |path| file::create_public(path, issued.certificate.as_bytes()))?;
        let gateway_ca = self.folder.join("gateway-ca.crt");
        write(&gateway_ca, |path| file::replace_public(path, issued.gateway_ca.as_bytes()))?;
        let pkcs12 = pkcs12_password.map(|password| self.pkcs12(issued, password)).transpose()?;
        Ok(Files { certificate, key: self.path("key"), gateway_ca, pkcs12 })
    }

    fn pkcs12(&self, issued: &IssuedView, password: &Password) -> Result<PathBuf, Failure> {
        let path = self.path("p12");
        let password = std::str::from_utf8(password.as_bytes())
            .map_err(|_| Failure::refused("password.text", "the password of a PKCS#12 file has to be UTF-8"))?;
        let failed = || Failure::failed("pkcs12.failed", "cannot make the PKCS#12 file");
        let read = |pem: &str| muster_issuing::pem::read_certificates(pem).map_err(|_| failed());
        let chain = [read(&issued.certificate)?, read(&issued.issuer)?].concat();
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let bytes = muster_issuing::pkcs12::pkcs12(&self.name, &chain, &self.key, password).map_err(|_| failed())?;
        write(&path, |path| file::create_secret(path, &bytes))?;
        Ok(path)
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.name))
    }
}

fn write(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), Failure> {
    write(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::refused("file.exists", format!("{} is there already", path.display())),
        _ => Failure::from_error("file.failed", &format!("cannot write {}", path.display()), &error),
    })
}
