//! Whether an ELF file is a program that needs no other file. Just as much of the format is read.

use anyhow::{Context, Result, bail};

/// Program headers, from the ELF specification: the path of a dynamic linker, and the dynamic
/// section, which a static program that can lie anywhere in memory has as well.
const PT_INTERP: u32 = 3;
const PT_DYNAMIC: u32 = 2;
/// Entries of the dynamic section: its end, and the name of a library.
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;

/// An error unless this is a 64-bit little-endian ELF file with neither an interpreter nor needed
/// libraries.
pub fn require_static(file: &[u8]) -> Result<()> {
    if file.get(..6) != Some(b"\x7fELF\x02\x01") {
        bail!("it is no 64-bit little-endian ELF file");
    }
    let table = number(file, 32, 8)?;
    let size = number(file, 54, 2)?;
    let count = number(file, 56, 2)?;
    for index in 0..count {
        let header = index
            .checked_mul(size)
            .and_then(|offset| offset.checked_add(table))
            .context("the program headers are out of bounds")?;
        if offset(header, size)? > file.len() as u64 {
            bail!("the file ends within a program header");
        }
        match u32::try_from(number(file, header, 4)?)? {
            PT_INTERP => bail!("it asks for an interpreter"),
            PT_DYNAMIC => {
                let begin = number(file, offset(header, 8)?, 8)?;
                let length = number(file, offset(header, 32)?, 8)?;
                require_no_libraries(file, begin, length)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn require_no_libraries(file: &[u8], begin: u64, length: u64) -> Result<()> {
    for entry in 0..length / 16 {
        match number(file, offset(begin, entry * 16)?, 8)? {
            DT_NULL => break,
            DT_NEEDED => bail!("it asks for a shared library"),
            _ => {}
        }
    }
    Ok(())
}

fn offset(base: u64, more: u64) -> Result<u64> {
    base.checked_add(more).context("an offset is out of bounds")
}

/// A little-endian number of `length` bytes.
fn number(file: &[u8], at: u64, length: usize) -> Result<u64> {
    let begin = usize::try_from(at)?;
    let end = begin.checked_add(length).context("an offset is out of bounds")?;
    let bytes = file.get(begin..end).context("the file ends too early")?;
    Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with program headers of these types; a dynamic one has these entries.
    fn elf(types: &[u32], dynamic: &[u64]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01".to_vec();
        file.resize(64, 0);
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(types.len()).unwrap();
        let data = 64 + 56 * types.len();
        for kind in types {
            let mut header = [0; 56];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            header[8..16].copy_from_slice(&(data as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(dynamic.len() as u64 * 16).to_le_bytes());
            file.extend(header);
        }
        for tag in dynamic {
            file.extend(tag.to_le_bytes());
            file.extend([0; 8]);
        }
        file
    }

    #[test]
    fn a_static_program_may_have_a_dynamic_section() {
        require_static(&elf(&[1], &[])).unwrap();
        require_static(&elf(&[1, PT_DYNAMIC], &[12, 13, DT_NULL])).unwrap();
        require_static(&elf(&[PT_DYNAMIC], &[12, DT_NULL, DT_NEEDED])).unwrap();
    }

    #[test]
    fn an_interpreter_or_a_library_is_refused() {
        let error = require_static(&elf(&[1, PT_INTERP], &[])).unwrap_err();
        assert!(error.to_string().contains("interpreter"), "{error}");
        let error = require_static(&elf(&[PT_DYNAMIC], &[12, DT_NEEDED, DT_NULL])).unwrap_err();
        assert!(error.to_string().contains("library"), "{error}");
    }

    #[test]
    fn what_is_cut_short_or_no_elf_is_refused() {
        require_static(b"#!/bin/sh\n").unwrap_err();
        require_static(&elf(&[1], &[])[..70]).unwrap_err();
        require_static(&[]).unwrap_err();
        let mut file = elf(&[1], &[]);
        file[32..40].fill(0xff);
        require_static(&file).unwrap_err();
    }

    #[test]
    fn the_program_that_runs_this_test_is_dynamic() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        if cfg!(target_env = "gnu") {
            require_static(&program).unwrap_err();
        }
    }
}
