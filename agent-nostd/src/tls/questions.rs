//! The signature checks of a chain, asked for one at a time.
//!
//! webpki checks signatures in the midst of its search for a path, which is deep on the stack, and one after the other.
//! Here every check that was not made yet is told to be bad, and the first of them is noted. It is made later, from a
//! shallow frame, and then the search starts anew with its answer known. Only a search in which nothing new was asked
//! counts: all of its answers are true.
//!
//! A check is known by where its key, message and signature lie in what is judged, which does not change meanwhile. One
//! that lies elsewhere is bad.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use muster_protocol::limits::GATEWAY_CAS_MAX;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

/// Where the parts of a check may lie: the chain, and the CAs that we know.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) chain: &'a [u8],
    pub(super) gateway_cas: &'a [&'a [u8]],
}

impl<'a> Sources<'a> {
    fn source(&self, index: u8) -> Option<&'a [u8]> {
        match index {
            0 => Some(self.chain),
            index => self.gateway_cas.get(usize::from(index) - 1).copied(),
        }
    }

    fn place(&self, bytes: &[u8]) -> Option<Place> {
        (0..=GATEWAY_CAS_MAX as u8).find_map(|index| {
            let source = self.source(index)?;
            let start = bytes.as_ptr().addr().checked_sub(source.as_ptr().addr())?;
            let is_inside = !bytes.is_empty() && start.checked_add(bytes.len())? <= source.len();
            let (start, length) = (u16::try_from(start).ok()?, u16::try_from(bytes.len()).ok()?);
            (is_inside && start <= START_MAX).then_some(Place { index, start, length })
        })
    }

    fn at(&self, place: Place) -> Option<&'a [u8]> {
        let Place { index, start, length } = place;
        self.source(index)?.get(usize::from(start)..)?.get(..usize::from(length))
    }
}

/// A piece of one of the sources.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Place {
    index: u8,
    start: u16,
    length: u16,
}

impl Place {
    /// As a word that is never 0, since no piece is empty.
    fn to_word(self) -> u32 {
        u32::from(self.length) << 16 | u32::from(self.index) << 14 | u32::from(self.start)
    }

    const fn from_word(word: u32) -> Self {
        Self { index: (word >> 14 & 3) as u8, start: word as u16 & START_MAX, length: (word >> 16) as u16 }
    }
}

/// One check: key, message, signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Question([Place; 3]);

impl Question {
    /// Makes the check.
    pub(super) fn answer(self, sources: &Sources<'_>, algorithm: &dyn SignatureVerificationAlgorithm) -> Answer {
        let [key, message, signature] = self.0.map(|place| sources.at(place));
        let is_good = match (key, message, signature) {
            (Some(key), Some(message), Some(signature)) => algorithm.verify_signature(key, message, signature).is_ok(),
            _ => false,
        };
        Answer { question: self, is_good }
    }
}

/// A check that was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    question: Question,
    is_good: bool,
}

/// The algorithm for one search.
pub(super) struct Questions<'a> {
    sources: Sources<'a>,
    algorithm: &'a dyn SignatureVerificationAlgorithm,
    answers: &'a [Answer],
    /// The first check without an answer; zeros while there is none.
    open: [AtomicU32; 3],
}

impl<'a> Questions<'a> {
    pub(super) const fn new(
        sources: Sources<'a>,
        algorithm: &'a dyn SignatureVerificationAlgorithm,
        answers: &'a [Answer],
    ) -> Self {
        Self { sources, algorithm, answers, open: [const { AtomicU32::new(0) }; 3] }
    }

    /// What has to be answered before a search can count.
    pub(super) fn open(&self) -> Option<Question> {
        let words = [0, 1, 2].map(|index: usize| self.open[index].load(Ordering::Relaxed));
        (words[0] != 0).then(|| Question(words.map(Place::from_word)))
    }
}

/// webpki wants it. A derived one would be all there is of text formatting in firmware.
impl fmt::Debug for Questions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Questions")
    }
}

impl SignatureVerificationAlgorithm for Questions<'_> {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let place = |bytes| self.sources.place(bytes).ok_or(InvalidSignature);
        let question = Question([place(public_key)?, place(message)?, place(signature)?]);
        match self.answers.iter().find(|answer| answer.question == question) {
            Some(answer) if answer.is_good => return Ok(()),
            Some(_) => {}
            None if self.open().is_none() => {
                for (word, place) in self.open.iter().zip(question.0) {
                    word.store(place.to_word(), Ordering::Relaxed);
                }
            }
            None => {}
        }
        Err(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

/// A place's start has 14 bits of its word, its source two.
const START_MAX: u16 = 0x3fff;
const _: () = assert!(GATEWAY_CAS_MAX <= 3);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use muster_protocol::pki::ECDSA_P256_SHA256;

    use super::*;

    #[derive(Debug)]
    struct SameBytes;

    /// Takes a signature that repeats key and message.
    impl SignatureVerificationAlgorithm for SameBytes {
        fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
            if signature.iter().eq(key.iter().chain(message)) { Ok(()) } else { Err(InvalidSignature) }
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            ECDSA_P256_SHA256.public_key_alg_id()
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            ECDSA_P256_SHA256.signature_alg_id()
        }
    }

    #[test]
    fn nothing_is_good_before_it_was_checked_and_only_the_first_is_asked() {
        let (chain, ca) = (*b"message key signature keymessage", *b"a CA's key");
        let cas = [&ca[..]];
        let sources = Sources { chain: &chain, gateway_cas: &cas };
        let (message, key, good) = (&chain[..7], &chain[8..11], &chain[22..]);
        let bad = &chain[12..21];
        let mut answers = heapless::Vec::<Answer, 2>::new();

        let first = Questions::new(sources, &SameBytes, &answers);
        assert!(first.open().is_none());
        assert!(first.verify_signature(key, message, good).is_err());
        assert!(first.verify_signature(&ca[7..], message, bad).is_err());
        let asked = first.open().unwrap();
        let answer = asked.answer(&sources, &SameBytes);
        assert!(answer.is_good);
        answers.push(answer).unwrap();

        let second = Questions::new(sources, &SameBytes, &answers);
        assert!(second.verify_signature(key, message, good).is_ok());
        assert!(second.open().is_none());
        assert!(second.verify_signature(&ca[7..], message, bad).is_err());
        let answer = second.open().unwrap().answer(&sources, &SameBytes);
        assert!(!answer.is_good);
        answers.push(answer).unwrap();

        let third = Questions::new(sources, &SameBytes, &answers);
        assert!(third.verify_signature(key, message, good).is_ok());
        assert!(third.verify_signature(&ca[7..], message, bad).is_err());
        assert!(third.open().is_none());
    }

    #[test]
    fn what_lies_elsewhere_is_bad_and_never_asked() {
        let chain = *b"message key signature keymessage";
        let copy = chain;
        let sources = Sources { chain: &chain, gateway_cas: &[] };
        let questions = Questions::new(sources, &SameBytes, &[]);
        for (key, message, signature) in [
            (&copy[8..11], &chain[..7], &chain[22..]),
            (&chain[8..11], &copy[..7], &chain[22..]),
            (&chain[8..11], &chain[..7], &copy[22..]),
            (&chain[..0], &chain[..7], &chain[22..]),
            (&chain[8..11], &chain[..0], &chain[22..]),
        ] {
            assert!(questions.verify_signature(key, message, signature).is_err());
            assert!(questions.open().is_none());
        }
    }

    #[test]
    fn places_come_back_from_their_words() {
        for place in [
            Place { index: 0, start: 0, length: 1 },
            Place { index: 3, start: START_MAX, length: u16::MAX },
            Place { index: 1, start: 0x1234, length: 71 },
        ] {
            assert_ne!(place.to_word(), 0);
            assert_eq!(Place::from_word(place.to_word()), place);
        }
    }
}
