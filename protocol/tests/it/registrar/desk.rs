//! A registrar at its desk: a row, certificates that were issued, and what each input made of them.

use std::collections::BTreeMap;

use muster_protocol::message::{self, Down, Hello, Up};
use muster_protocol::pki::{
    ClientAnchors, CsrDraft, ECDSA_P256_SHA256, Serial, TrustAnchor, VerifiedClient, verify_client,
};
use muster_protocol::registrar::{
    Act, CertificateStatus, Context, DeviceRecord, Event, Input, KeyUse, Output, Reason, Registrar, Standing,
};
use muster_protocol::topic::Channel;
use muster_protocol::{Code, DeviceId, UnixTime};

use crate::pki::maker::{Ca, Key, NOW, Recipe, World, device, fleet};

/// Something that came out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    Admit,
    Refuse(Code),
    Stored(Event),
    /// A control message to the asking session, by its name.
    Welcome(Option<u32>),
    Confirmed(Serial),
    Refused(Code),
    Retired,
    Certificate(Serial),
    Bundle,
    Rotate(u32),
    Cut(Code),
    Event(Event),
    Done(Result<(), Code>),
}

pub(crate) struct Desk {
    pub(crate) row: DeviceRecord,
    pub(crate) withdrawn: BTreeMap<Serial, Option<Reason>>,
    pub(crate) certificates: BTreeMap<Serial, Vec<u8>>,
    pub(crate) keys: Vec<muster_protocol::pki::KeyFingerprint>,
    pub(crate) store_fails: bool,
    pub(crate) issuer_fails: bool,
    pub(crate) now: UnixTime,
    pub(crate) idevid: VerifiedClient,
    pub(crate) world: World,
    serials: u8,
}

pub(crate) const DEVICE: &str = "urn:muster:acme:dev-1";

impl Desk {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let key = Key::new(0x31);
        let idevid = client(&world, &Recipe::leaf(DEVICE).signed_by(&key, &world.factory), NOW);
        Self {
            row: DeviceRecord::expected(DeviceId::new("dev-1").unwrap(), key.public().fingerprint()),
            withdrawn: BTreeMap::new(),
            certificates: BTreeMap::new(),
            keys: Vec::new(),
            store_fails: false,
            issuer_fails: false,
            now: NOW,
            idevid,
            world,
            serials: 0,
        }
    }

    /// Enrolled, confirmed and settled; gives the evidence of its certificate.
    pub(crate) fn active() -> (Self, VerifiedClient) {
        let mut desk = Self::new();
        desk.arrives(&desk.idevid.clone());
        let client = desk.rotated(&desk.idevid.clone(), 0x41);
        desk.settles(&client);
        assert_eq!(desk.row.standing, Standing::Active);
        (desk, client)
    }

    /// Lets `by` ask for a certificate for a key and confirm it; gives the evidence of the new one.
    pub(crate) fn rotated(&mut self, by: &VerifiedClient, key: u8) -> VerifiedClient {
        let candidate = self.issued(by, key);
        let confirmed = self.says(&candidate, &Up::Confirm { serial: candidate.serial().clone() });
        assert!(confirmed.contains(&Seen::Confirmed(candidate.serial().clone())), "{confirmed:?}");
        candidate
    }

    /// Lets `by` ask for a certificate for a key; gives the evidence of it.
    pub(crate) fn issued(&mut self, by: &VerifiedClient, key: u8) -> VerifiedClient {
        let seen = self.asks(by, &Key::new(key));
        let Some(Seen::Certificate(serial)) = seen.last() else { panic!("no certificate: {seen:?}") };
        client(&self.world, &self.certificates[serial], self.now)
    }

    /// The device says that it has stored the certificate of this session.
    pub(crate) fn settles(&mut self, client: &VerifiedClient) -> Vec<Seen> {
        self.hello(client, Some(client.serial()), None)
    }

    pub(crate) fn hello(
        &mut self,
        client: &VerifiedClient,
        active: Option<&Serial>,
        candidate: Option<&Serial>,
    ) -> Vec<Seen> {
        let (active, candidate) = (active.cloned(), candidate.cloned());
        self.says(client, &Up::Hello(Hello { active, candidate, bundle: 1, agent: "test".try_into().unwrap() }))
    }

    pub(crate) fn asks(&mut self, client: &VerifiedClient, key: &Key) -> Vec<Seen> {
        let draft = CsrDraft::new(&device(), &key.public());
        let signature = key.sign_bytes(draft.to_be_signed());
        self.says(client, &Up::Request { csr: &draft.finish(&signature) })
    }

    pub(crate) fn says(&mut self, client: &VerifiedClient, message: &Up<'_>) -> Vec<Seen> {
        let ldevid = client.role() == muster_protocol::pki::Role::Ldevid;
        let channel = if ldevid { Channel::Control } else { Channel::Enrol };
        self.hears(client, channel, &message::encode(message).unwrap())
    }

    pub(crate) fn hears(&mut self, client: &VerifiedClient, channel: Channel, bytes: &[u8]) -> Vec<Seen> {
        self.run(Input::Message { client, channel, bytes })
    }

    pub(crate) fn arrives(&mut self, client: &VerifiedClient) -> Vec<Seen> {
        let status = match self.withdrawn.get(client.serial()) {
            None => CertificateStatus::Unknown,
            Some(None) => CertificateStatus::Good,
            Some(Some(reason)) => CertificateStatus::Withdrawn(*reason),
        };
        self.run(Input::Arrived { client, status })
    }

    pub(crate) fn operates(&mut self, act: Act) -> Vec<Seen> {
        self.run(Input::Operator(act))
    }

    /// Boots a registrar from the row, gives it one input, does what it wants done.
    pub(crate) fn run(&mut self, input: Input<'_>) -> Vec<Seen> {
        let context = Context { fleet: fleet(), bundle: 2 };
        let mut registrar = Registrar::boot(self.row.clone(), context).unwrap();
        registrar.handle_input(self.now, input);
        let mut seen = Vec::new();
        loop {
            let Some(output) = registrar.poll_output() else { return seen };
            let answer = match output {
                Output::LookUpKey(key) => {
                    Some(Input::KeyUse(if self.keys.contains(&key) { KeyUse::Spent } else { KeyUse::Fresh }))
                }
                Output::Issue(_) if self.issuer_fails => Some(Input::IssueFailed),
                Output::Issue(key) => {
                    let certificate = self.issue(*key);
                    registrar.handle_input(self.now, Input::Issued(&certificate));
                    None
                }
                Output::Persist(_) if self.store_fails => Some(Input::PersistFailed),
                Output::Persist(change) => {
                    seen.push(Seen::Stored(change.event.clone()));
                    self.row = change.record.clone();
                    if let Some(issued) = change.issued {
                        self.keys.push(issued.key);
                        self.withdrawn.insert(issued.serial.clone(), None);
                        self.certificates.insert(issued.serial, issued.der.to_vec());
                    }
                    for (serial, reason) in change.withdrawn {
                        let before = self.withdrawn.insert(serial.clone(), Some(*reason));
                        assert_eq!(before, Some(None), "{serial} is withdrawn twice or was never issued");
                    }
                    assert!(registrar.poll_output().is_none(), "something came out before it was stored");
                    Some(Input::Persisted)
                }
                Output::Admit => note(&mut seen, Seen::Admit),
                Output::Refuse(code) => note(&mut seen, Seen::Refuse(code)),
                Output::Send(bytes) => {
                    let said = match message::decode_down(bytes).unwrap() {
                        Down::Welcome(welcome) => Seen::Welcome(welcome.order),
                        Down::Confirmed { serial } => Seen::Confirmed(serial),
                        Down::Refused(refused) => Seen::Refused(refused.code),
                        Down::Retired => Seen::Retired,
                        other => panic!("{other:?}"),
                    };
                    note(&mut seen, said)
                }
                Output::SendCertificate(serial) => {
                    assert!(self.certificates.contains_key(&serial), "it is sent before it is stored");
                    note(&mut seen, Seen::Certificate(serial))
                }
                Output::SendBundle => note(&mut seen, Seen::Bundle),
                Output::Notify(bytes) => {
                    let Down::Rotate { order } = message::decode_down(bytes).unwrap() else { panic!("{bytes:?}") };
                    note(&mut seen, Seen::Rotate(order))
                }
                Output::Cut(code) => note(&mut seen, Seen::Cut(code)),
                Output::Event(event) => note(&mut seen, Seen::Event(event)),
                Output::Done(result) => note(&mut seen, Seen::Done(result)),
            };
            if let Some(answer) = answer {
                registrar.handle_input(self.now, answer);
            }
        }
    }

    fn issue(&mut self, key: muster_protocol::pki::PublicKey) -> Vec<u8> {
        self.serials += 1;
        let from = self.now.0 - 300;
        let recipe = Recipe::client(DEVICE).serial(&[self.serials; 16]).valid(from, from + 7 * 86_400);
        recipe.signed_by(&Subject(key.as_sec1().to_vec()), &self.world.device_ca)
    }
}

fn note(seen: &mut Vec<Seen>, what: Seen) -> Option<Input<'static>> {
    seen.push(what);
    None
}

/// Evidence of a client whose chain is good.
pub(crate) fn client(world: &World, certificate: &[u8], now: UnixTime) -> VerifiedClient {
    let anchor = |ca: &Ca| TrustAnchor::from_der(&ca.der.clone().leak()[..]).unwrap();
    let (factory, device_ca) = ([anchor(&world.factory)], [anchor(&world.device_ca)]);
    let anchors = ClientAnchors { factory: &factory, device: &device_ca, operator: &[] };
    verify_client(&[certificate], &anchors, &fleet(), now, &[ECDSA_P256_SHA256]).unwrap()
}

struct Subject(Vec<u8>);

impl rcgen::PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
