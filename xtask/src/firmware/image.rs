//! A firmware image as the linker left it: how much flash and RAM it takes, and which functions are in it. Reads ELF of
//! 32 bits, least significant byte first (System V ABI, chapters 4 and 5), as all our targets make it.

use std::ops::Range;

use anyhow::{Context as _, Result, bail};

/// What is in an image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    /// Bytes that are stored: code, constants, and the first values of statics.
    pub(crate) flash_bytes: u64,
    /// Bytes of RAM that are taken: statics, and code that runs from RAM.
    pub(crate) ram_bytes: u64,
    /// Names of functions and statics, as the linker knows them.
    pub(crate) symbols: Vec<String>,
}

impl Image {
    /// Reads an ELF file. Beside what can be written, code and constants that lie in `ram` count as RAM; what is only kept free
    /// there for the stack does not.
    pub(crate) fn read(elf: &[u8], ram: &Range<u64>) -> Result<Image> {
        if elf.get(..6) != Some(b"\x7fELF\x01\x01") {
            bail!("no ELF of 32 bits, least significant byte first");
        }
        let elf = Elf(elf);
        let (table, size, count) = (elf.word(0x20)?, elf.half(0x2E)?, elf.half(0x30)?);
        let sections = (0..count).map(|index| Section::read(&elf, table + index * size));
        let sections: Vec<Section> = sections.collect::<Result<_>>()?;
        let mut image = Image::default();
        for section in sections.iter().filter(|section| section.flags & ALLOCATED != 0) {
            let bytes = u64::try_from(section.size)?;
            if section.kind != NO_BITS {
                image.flash_bytes += bytes;
            }
            let is_loaded_to_ram = section.kind != NO_BITS && ram.contains(&u64::try_from(section.address)?);
            if section.flags & WRITABLE != 0 || is_loaded_to_ram {
                image.ram_bytes += bytes;
            }
        }
        for section in sections.iter().filter(|section| section.kind == SYMBOLS) {
            let names = sections.get(section.link).context("a symbol table without names")?;
            for at in (section.offset..section.offset + section.size).step_by(SYMBOL_LEN) {
                // Functions and objects; the rest are marks of the linker.
                if matches!(elf.byte(at + 12)? & 0xf, 1 | 2) {
                    image.symbols.push(elf.text(names.offset + elf.word(at)?)?);
                }
            }
        }
        Ok(image)
    }

    /// The names that belong to an allocator.
    pub(crate) fn allocator(&self) -> Vec<&str> {
        self.containing(&["__rust_alloc", "__rg_alloc", "__rdl_alloc", "__rust_realloc", "5alloc5alloc", "_malloc_r"])
    }

    /// The names that belong to the formatting of text. A type's own `Debug` is none of them: some traits want one, and
    /// it is small as long as nothing calls into the formatter.
    pub(crate) fn formatting(&self) -> Vec<&str> {
        self.containing(&["4core3fmt", "5alloc3fmt"])
    }

    /// The only way into `mul288x288` of p256-cm4 0.4.0, where a load-multiple of one register is UNPREDICTABLE
    /// (docs/decisions/0004-curve-assembly.md). Both its `sign` and its `verify` take it.
    pub(crate) fn faulty(&self) -> Vec<&str> {
        self.containing(&["P256_mul_mod_n"])
    }

    fn containing(&self, parts: &[&str]) -> Vec<&str> {
        let found = self.symbols.iter().filter(|name| parts.iter().any(|part| name.contains(part)));
        found.map(String::as_str).collect()
    }
}

struct Elf<'a>(&'a [u8]);

impl Elf<'_> {
    fn byte(&self, at: usize) -> Result<u8> {
        self.0.get(at).copied().context("the file ends early")
    }

    fn half(&self, at: usize) -> Result<usize> {
        Ok(usize::from(self.byte(at)?) | usize::from(self.byte(at + 1)?) << 8)
    }

    fn word(&self, at: usize) -> Result<usize> {
        Ok(self.half(at)? | self.half(at + 2)? << 16)
    }

    fn text(&self, at: usize) -> Result<String> {
        let rest = self.0.get(at..).context("the file ends early")?;
        let bytes = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

struct Section {
    kind: usize,
    flags: usize,
    address: usize,
    offset: usize,
    size: usize,
    link: usize,
}

impl Section {
    fn read(elf: &Elf<'_>, at: usize) -> Result<Section> {
        let word = |index: usize| elf.word(at + 4 * index);
        let (kind, flags, address) = (word(1)?, word(2)?, word(3)?);
        Ok(Section { kind, flags, address, offset: word(4)?, size: word(5)?, link: word(6)? })
    }
}

const SYMBOLS: usize = 2;
const NO_BITS: usize = 8;
const WRITABLE: usize = 1;
const ALLOCATED: usize = 2;
const SYMBOL_LEN: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// An ELF with code, statics, and one function with this name.
    fn elf(name: &str) -> Vec<u8> {
        let names = [b"\0", name.as_bytes(), b"\0"].concat();
        let mut symbol = [0; SYMBOL_LEN];
        (symbol[0], symbol[12]) = (1, 0x12);
        let mut file = vec![0; 0x34];
        file[..6].copy_from_slice(b"\x7fELF\x01\x01");
        let put = |file: &mut Vec<u8>, at: usize, value: usize| {
            file[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap().to_le_bytes());
        };
        let symbols_at = file.len();
        file.extend(symbol);
        let names_at = file.len();
        file.extend(&names);
        let table = file.len();
        put(&mut file, 0x20, table);
        (file[0x2E], file[0x30]) = (40, 5);
        let sections = [
            (1, ALLOCATED, 0, 1000, 0),
            (1, ALLOCATED | WRITABLE, 0, 16, 0),
            (NO_BITS, ALLOCATED | WRITABLE, 0, 200, 0),
            (SYMBOLS, 0, symbols_at, SYMBOL_LEN, 4),
            (3, 0, names_at, names.len(), 0),
        ];
        for (index, (kind, flags, offset, size, link)) in sections.into_iter().enumerate() {
            let at = file.len();
            file.resize(at + 40, 0);
            // Section n at address 1000 n.
            for (field, value) in [(1, kind), (2, flags), (3, 1000 * index), (4, offset), (5, size), (6, link)] {
                put(&mut file, at + 4 * field, value);
            }
        }
        file
    }

    #[test]
    fn counts_flash_and_ram_and_knows_what_must_not_be_there() {
        let image = Image::read(&elf("agent_main"), &(0..0)).unwrap();
        assert_eq!((image.flash_bytes, image.ram_bytes), (1016, 216));
        assert_eq!(image.symbols, ["agent_main"]);
        assert!(image.allocator().is_empty() && image.formatting().is_empty());
        // The code too, when it lies in RAM.
        assert_eq!(Image::read(&elf("agent_main"), &(0..1)).unwrap().ram_bytes, 1216);
        let formatting = Image::read(&elf("_ZN4core3fmt9Formatter3pad17hE"), &(0..0)).unwrap();
        assert_eq!(formatting.formatting().len(), 1);
        let allocating = Image::read(&elf("__rust_alloc"), &(0..0)).unwrap();
        assert_eq!(allocating.allocator().len(), 1);
        assert!(image.faulty().is_empty());
        assert_eq!(Image::read(&elf("P256_mul_mod_n"), &(0..0)).unwrap().faulty(), ["P256_mul_mod_n"]);
    }

    #[test]
    fn refuses_what_is_no_image() {
        assert!(Image::read(b"", &(0..0)).is_err());
        assert!(Image::read(b"\x7fELF\x02\x01", &(0..0)).is_err());
        let whole = elf("x");
        // The last section header ends in fields that nobody reads.
        assert!((6..whole.len() - 12).all(|length| Image::read(&whole[..length], &(0..0)).is_err()));
    }
}
