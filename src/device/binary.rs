//! Shared libraries by their files' names and heads.

use super::board::{elf_machine, machine_name};

/// How a system has its shared libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `libx.so.1.2`: Linux.
    Elf,
    /// `libx.1.2.dylib`: macOS.
    MachO,
}

/// Processors that a Mach-O file for several is looked through for.
const MAX_SLICES: usize = 8;

impl Format {
    /// What every name holds.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Elf => ".so",
            Self::MachO => ".dylib",
        }
    }

    /// What the name of a file of the library `name` says of its version: `.1.20.0`, nothing, or `None` for the
    /// file of another library.
    pub fn version<'a>(self, file: &'a str, name: &str) -> Option<&'a str> {
        let rest = file.strip_prefix(name)?;
        let version = match self {
            Self::Elf => rest.strip_prefix(".so"),
            Self::MachO => rest.strip_suffix(".dylib"),
        };
        version.filter(|version| version.is_empty() || is_version(version))
    }

    /// Processors that a library is for, by the first bytes of its file; none if it is no such library.
    pub fn made_for(self, head: &[u8]) -> Vec<&'static str> {
        match self {
            Self::Elf => {
                let machine = elf_machine(head);
                machine
                    .map(|machine| machine_name(machine).unwrap_or("another processor"))
                    .into_iter()
                    .collect()
            }
            Self::MachO => mach_o(head),
        }
    }
}

/// Processors of a Mach-O file: of one, or of a "universal" one with several (mach-o/loader.h, mach-o/fat.h).
fn mach_o(head: &[u8]) -> Vec<&'static str> {
    let name = |kind: [u8; 4]| match u32::from_be_bytes(kind) {
        0x0100_000c => "aarch64",
        0x0100_0007 => "x86_64",
        _ => "another processor",
    };
    match head {
        [0xcf, 0xfa, 0xed, 0xfe, a, b, c, d, ..] => vec![name([*d, *c, *b, *a])],
        [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, count, rest @ ..] => {
            // Of 20 bytes each, the processor first.
            let slices = rest.chunks(20).take(usize::from(*count).min(MAX_SLICES));
            slices.filter_map(|slice| slice.first_chunk::<4>()).map(|kind| name(*kind)).collect()
        }
        _ => vec![],
    }
}

/// What follows a library's name: `.1`, `.1.20.0`, `.2450`.
fn is_version(rest: &str) -> bool {
    rest.starts_with('.') && rest[1..].chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// The version in a library's file name, where it is more than the number of its interface.
pub(super) fn version_in(file_name: &str) -> Option<String> {
    let version = match file_name.strip_suffix(".dylib") {
        Some(name) => name.split_once('.')?.1,
        None => file_name.split_once(".so.")?.1,
    };
    let dots = version.matches('.').count();
    (is_version(&format!(".{version}")) && dots >= 1).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_libraries_do_not_fit() {
        let elf = |file| Format::Elf.version(file, "libx");
        assert_eq!((elf("libx.so"), elf("libx.so.12.3")), (Some(""), Some(".12.3")));
        assert_eq!((elf("libx.so.1-gdb.py"), elf("libxy.so"), elf("libx.so_old")), (None, None, None));
        let mac = |file| Format::MachO.version(file, "libx");
        assert_eq!((mac("libx.dylib"), mac("libx.1.2.dylib")), (Some(""), Some(".1.2")));
        assert_eq!((mac("libxy.dylib"), mac("libx.so")), (None, None));
    }

    #[test]
    fn versions_are_in_names() {
        assert_eq!(version_in("libedgetpu.so.1"), None);
        assert_eq!(version_in("libopenvino.so.2450"), None);
        assert_eq!(version_in("libnvinfer.so.8.2.1").as_deref(), Some("8.2.1"));
        assert_eq!(version_in("libonnxruntime.1.20.1.dylib").as_deref(), Some("1.20.1"));
        assert_eq!(version_in("libopenvino_c.2450.dylib"), None);
    }

    #[test]
    fn headers_tell_the_processor() {
        let one = [0xcf, 0xfa, 0xed, 0xfe, 12, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(Format::MachO.made_for(&one), ["aarch64"]);
        let mut both = vec![0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 2];
        for kind in [7, 12] {
            both.extend([1, 0, 0, kind]);
            both.extend([0; 16]);
        }
        assert_eq!(Format::MachO.made_for(&both), ["x86_64", "aarch64"]);
        both.truncate(30);
        assert_eq!(Format::MachO.made_for(&both), ["x86_64"], "cut off");
        assert!(Format::MachO.made_for(b"\x7fELF").is_empty() && Format::Elf.made_for(&one).is_empty());
    }
}
