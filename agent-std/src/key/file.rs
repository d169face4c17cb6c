//! Keys in files: `keys/{a,b}.key` below the state folder, PKCS#8 PEM (RFC 5958, RFC 7468), mode 0600.
//!
//! Mode and owner are checked at every use. A key is in memory only while it signs, and what held it is zeroized.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use muster_protocol::device::Credential;
use muster_protocol::pki::{PublicKey, Signature};
use muster_protocol::slot::SlotId;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use rand_core::OsRng;
use zeroize::Zeroizing;

use super::{KeyError, KeyStore};
use crate::durable::{self, Disk, FileSystem as _};

/// The key files of one device.
#[derive(Debug)]
pub struct FileKeyStore {
    disk: Disk,
    folder: PathBuf,
    idevid_path: PathBuf,
    idevid: PublicKey,
}

impl FileKeyStore {
    /// Opens the folder, creating it if need be; `idevid` is the factory's key file, which is only ever read.
    pub fn open(disk: Disk, folder: &Path, idevid: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: folder.to_owned(), source };
        disk.create_folder(folder).map_err(failed)?;
        durable::clean(&disk, folder).map_err(failed)?;
        Self::beside(disk, folder, idevid)
    }

    /// The same beside whoever uses the folder: for looking only.
    pub fn beside(disk: Disk, folder: &Path, idevid: &Path) -> Result<Self, KeyError> {
        let key = read(idevid)?.ok_or_else(|| KeyError::Missing { path: idevid.to_owned() })?;
        let public = public_half(&key, idevid)?;
        Ok(Self { disk, folder: folder.to_owned(), idevid_path: idevid.to_owned(), idevid: public })
    }

    /// The file of a slot's key.
    #[must_use]
    pub fn path(&self, slot: SlotId) -> PathBuf {
        self.folder.join(format!("{}.key", slot.name()))
    }

    fn path_of(&self, key: Credential) -> PathBuf {
        match key {
            Credential::Idevid => self.idevid_path.clone(),
            Credential::Slot(slot) => self.path(slot),
        }
    }
}

impl KeyStore for FileKeyStore {
    fn idevid(&self) -> &PublicKey {
        &self.idevid
    }

    fn public_key(&self, slot: SlotId) -> Result<Option<PublicKey>, KeyError> {
        let path = self.path(slot);
        match read(&path) {
            Ok(key) => key.map(|key| public_half(&key, &path)).transpose(),
            // What is no key cannot be used: as good as none, and the next key of this slot replaces it.
            Err(KeyError::Malformed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn generate(&self, slot: SlotId) -> Result<PublicKey, KeyError> {
        let path = self.path(slot);
        let key = SigningKey::random(&mut OsRng);
        let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Malformed { path: path.clone() })?;
        durable::replace(&self.disk, &path, pem.as_bytes(), 0o600)
            .map_err(|source| KeyError::Io { path: path.clone(), source })?;
        public_half(&key, &path)
    }

    fn sign(&self, key: Credential, message: &[u8]) -> Result<Signature, KeyError> {
        let path = self.path_of(key);
        let key = read(&path)?.ok_or(KeyError::Missing { path })?;
        let signature: p256::ecdsa::Signature = key.sign(message);
        Ok(Signature::new(signature.to_bytes().into()))
    }

    fn wipe(&self, slot: SlotId) -> Result<(), KeyError> {
        let path = self.path(slot);
        match overwrite_and_remove(&path).and_then(|()| self.disk.sync_folder(&self.folder)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(KeyError::Io { path, source }),
            _ => Ok(()),
        }
    }
}

/// Reads a key file; `None` when there is none.
fn read(path: &Path) -> Result<Option<SigningKey>, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Of the open file, so that it cannot be exchanged between the check and the reading.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Mode { path: path.to_owned(), mode });
    }
    let runner = rustix::process::geteuid().as_raw();
    if metadata.uid() != runner {
        return Err(KeyError::Owner { path: path.to_owned(), owner: metadata.uid(), runner });
    }
    // Of the final size at once: a Vec that grows leaves copies behind.
    let mut pem = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX));
    file.take(KEY_FILE_BYTES_MAX as u64).read_to_end(&mut pem).map_err(failed)?;
    let malformed = || KeyError::Malformed { path: path.to_owned() };
    let text = std::str::from_utf8(&pem).map_err(|_| malformed())?;
    SigningKey::from_pkcs8_pem(text).map(Some).map_err(|_| malformed())
}

fn public_half(key: &SigningKey, path: &Path) -> Result<PublicKey, KeyError> {
    PublicKey::from_sec1(key.verifying_key().to_encoded_point(false).as_bytes())
        .map_err(|_| KeyError::Malformed { path: path.to_owned() })
}

fn overwrite_and_remove(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).custom_flags(NO_FOLLOW).open(path)?;
    let length = file.seek(io::SeekFrom::End(0))?;
    file.rewind()?;
    // A courtesy: what a flash translation layer or a journal keeps is out of reach.
    io::copy(&mut io::repeat(0).take(length), &mut file)?;
    file.flush()?;
    file.sync_data()?;
    fs::remove_file(path)
}

const KEY_FILE_BYTES_MAX: usize = 4096;
/// O_NOFOLLOW.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::durable::Durability;

    fn store(folder: &Path) -> FileKeyStore {
        let idevid = folder.join("idevid.key");
        let pem = SigningKey::random(&mut OsRng).to_pkcs8_pem(LineEnding::LF).unwrap();
        fs::write(&idevid, pem.as_bytes()).unwrap();
        fs::set_permissions(&idevid, fs::Permissions::from_mode(0o600)).unwrap();
        FileKeyStore::open(Disk::new(Durability::PowerCut), &folder.join("keys"), &idevid).unwrap()
    }

    #[test]
    fn a_key_signs_until_it_is_wiped() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        assert_eq!(store.public_key(SlotId::A).unwrap(), None);
        let public = store.generate(SlotId::A).unwrap();
        assert_eq!(store.public_key(SlotId::A).unwrap(), Some(public));
        let signature = store.sign(Credential::Slot(SlotId::A), b"message").unwrap();
        public.verify(b"message", &signature).unwrap();
        assert!(public.verify(b"massage", &signature).is_err());
        let signature = store.sign(Credential::Idevid, b"message").unwrap();
        store.idevid().verify(b"message", &signature).unwrap();

        store.wipe(SlotId::A).unwrap();
        store.wipe(SlotId::A).unwrap();
        assert_eq!(store.public_key(SlotId::A).unwrap(), None);
        assert!(matches!(store.sign(Credential::Slot(SlotId::A), b""), Err(KeyError::Missing { .. })));
    }

    #[test]
    fn a_new_key_replaces_the_old_one_with_mode_600() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let first = store.generate(SlotId::B).unwrap();
        let second = store.generate(SlotId::B).unwrap();
        assert_ne!(first, second);
        assert_eq!(store.public_key(SlotId::B).unwrap(), Some(second));
        assert_eq!(fs::metadata(store.path(SlotId::B)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_may_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.generate(SlotId::A).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(store.path(SlotId::A), fs::Permissions::from_mode(mode)).unwrap();
            let error = store.sign(Credential::Slot(SlotId::A), b"").unwrap_err();
            assert!(matches!(error, KeyError::Mode { .. }) && error.hint().starts_with("chmod 600"), "{error}");
            assert!(store.public_key(SlotId::A).is_err(), "an unusable key is not the same as none");
        }
    }

    #[test]
    fn a_file_that_is_no_key_counts_as_none_and_its_text_is_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.generate(SlotId::A).unwrap();
        fs::write(store.path(SlotId::A), "-----BEGIN PRIVATE KEY-----\nsecret").unwrap();
        assert_eq!(store.public_key(SlotId::A).unwrap(), None);
        let error = store.sign(Credential::Slot(SlotId::A), b"").unwrap_err();
        assert!(!format!("{error} {error:?} {store:?}").contains("secret"));
    }
}
