//! A root file system that is looked at from outside: the live machine's or a captured one.
//!
//! A captured tree is untrusted input. Symbolic links are followed inside it and never out of it, reads have a
//! length, listings have a number, and only ordinary files are opened: a named pipe would block for ever.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

/// Bytes of a small file that are read; `/proc/cpuinfo` of 512 processors has about 1 MiB.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Bytes of a database (packages, PCI names) that are looked through.
const MAX_DATABASE_BYTES: u64 = 64 << 20;
/// Bytes of one line of a database.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// Entries of a folder that are listed; a large `/usr/lib` has some thousands.
const MAX_ENTRIES: usize = 20_000;
/// Symbolic links on the way to a file, as Linux has it (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A root file system.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    path: PathBuf,
}

impl Root {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where `path`, absolute or relative to the root, really lies, with every link followed as if the root
    /// were `/`. `None` where nothing is there.
    pub fn resolve(&self, path: &str) -> Option<PathBuf> {
        self.walk(path, true)
    }

    fn walk(&self, path: &str, follow_last: bool) -> Option<PathBuf> {
        let mut todo: VecDeque<OsString> = parts(Path::new(path));
        let mut done: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                done.pop();
                continue;
            }
            let here = self.host(&done).join(&part);
            let kind = fs::symlink_metadata(&here).ok()?.file_type();
            if kind.is_symlink() && (follow_last || !todo.is_empty()) {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                let target = fs::read_link(&here).ok()?;
                if target.is_absolute() {
                    done.clear();
                }
                for part in parts(&target).into_iter().rev() {
                    todo.push_front(part);
                }
            } else {
                done.push(part);
            }
        }
        Some(self.host(&done))
    }

    fn host(&self, done: &[OsString]) -> PathBuf {
        let mut path = self.path.clone();
        path.extend(done);
        path
    }

    /// The path as the root's own programs would write it, links followed.
    pub fn inside(&self, path: &str) -> Option<String> {
        let host = self.resolve(path)?;
        let inner = host.strip_prefix(&self.path).ok()?;
        Some(format!("/{}", inner.to_string_lossy()))
    }

    pub fn metadata(&self, path: &str) -> Option<Metadata> {
        // What `resolve` gives is no link; one that appears meanwhile is not followed either.
        fs::symlink_metadata(self.resolve(path)?).ok()
    }

    pub fn exists(&self, path: &str) -> bool {
        self.resolve(path).is_some()
    }

    fn open(&self, path: &str) -> Option<File> {
        let host = self.resolve(path)?;
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC);
        }
        let file = options.open(host).ok()?;
        file.metadata().ok()?.is_file().then_some(file)
    }

    /// The first bytes of a file, as many as a small one can have; empty where it cannot be read.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        self.head(path, MAX_FILE_BYTES)
    }

    /// The first `limit` bytes of a file.
    pub fn head(&self, path: &str, limit: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(file) = self.open(path) {
            // What was read before an error is all there is.
            let _ = file.take(limit).read_to_end(&mut bytes);
        }
        bytes
    }

    /// Whether a large file holds these bytes.
    pub fn holds(&self, path: &str, wanted: &[u8]) -> bool {
        let Some(mut file) = self.open(path).map(|file| file.take(MAX_DATABASE_BYTES)) else { return false };
        let mut bytes = vec![];
        loop {
            // What was read before may hold the beginning.
            let kept = bytes.len().min(wanted.len());
            bytes.drain(..bytes.len() - kept);
            match file.by_ref().take(1 << 20).read_to_end(&mut bytes) {
                Ok(read) if read > 0 => {}
                _ => return false,
            }
            if bytes.windows(wanted.len().max(1)).any(|window| window == wanted) {
                return true;
            }
        }
    }

    /// A small file as text, without the line break, space or NUL at its end.
    pub fn text(&self, path: &str) -> String {
        let text = String::from_utf8_lossy(&self.bytes(path)).into_owned();
        text.trim_end_matches(['\0', '\n', '\r', ' ', '\t']).to_owned()
    }

    /// The same, for a name of one line: `None` where it is empty. Control characters, which could write to
    /// the terminal, are gone, and a name has an end.
    pub fn word(&self, path: &str) -> Option<String> {
        clean(&String::from_utf8_lossy(&self.head(path, 4096)))
    }

    /// A whole number in decimal.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.word(path)?.parse().ok()
    }

    /// A number in hexadecimal, with or without `0x`.
    pub fn hex(&self, path: &str) -> Option<u32> {
        let word = self.word(path)?;
        u32::from_str_radix(word.trim_start_matches("0x"), 16).ok()
    }

    /// A large text file, line by line, until `visit` gives false.
    pub fn lines(&self, path: &str, mut visit: impl FnMut(&str) -> bool) {
        let Some(file) = self.open(path) else { return };
        let mut reader = BufReader::new(file).take(MAX_DATABASE_BYTES);
        let mut line = Vec::new();
        loop {
            line.clear();
            match read_line(&mut reader, &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if !visit(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r'])) {
                return;
            }
        }
    }

    /// Names in a folder, sorted so that numbers count as numbers; empty where there is none.
    pub fn names(&self, path: &str) -> Vec<String> {
        let Some(host) = self.resolve(path) else { return Vec::new() };
        let Ok(entries) = fs::read_dir(host) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .take(MAX_ENTRIES)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_by(|a, b| natord::compare(a, b).then_with(|| a.cmp(b)));
        names
    }

    /// The last part of what a symbolic link points to, such as the driver behind `…/driver`.
    pub fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.walk(path, false)?).ok()?;
        clean(&target.file_name()?.to_string_lossy())
    }

    /// Whether a link is there that leads nowhere.
    pub fn dangling(&self, path: &str) -> bool {
        self.walk(path, false).is_some() && self.resolve(path).is_none()
    }
}

/// Parts of a path, without the root and without `.`.
fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// One line of bounded length; the rest of a longer one is skipped.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    let read = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', line)?;
    if read as u64 == MAX_LINE_BYTES && !line.ends_with(b"\n") {
        reader.skip_until(b'\n')?;
    }
    Ok(read)
}

/// Text that came from outside, fit to be shown: its first line, without control characters.
pub(crate) fn clean(text: &str) -> Option<String> {
    const MAX_CHARS: usize = 200;
    let line = text.trim_start_matches('\u{feff}').split(['\n', '\0']).next().unwrap_or_default();
    let printable = |c: &char| !c.is_control() && *c != char::REPLACEMENT_CHARACTER && !is_invisible(*c);
    let kept: String = line.chars().filter(printable).take(MAX_CHARS).collect();
    let kept = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    (!kept.is_empty()).then_some(kept)
}

/// Marks that turn the direction of writing or take no room: they can make one text look like another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(&folder.path().join("root"));
        fs::create_dir_all(folder.path().join("root/etc")).unwrap();
        fs::write(folder.path().join("secret"), "outside").unwrap();
        fs::write(folder.path().join("root/etc/name"), "inside\n").unwrap();
        (folder, root)
    }

    #[test]
    fn links_stay_inside_the_root() {
        let (folder, root) = tree();
        let link = |target: &str, name: &str| symlink(target, folder.path().join("root").join(name)).unwrap();
        link("/etc/name", "absolute");
        link("../../../../../etc/name", "above");
        link("../secret", "out");
        link(folder.path().join("secret").to_str().unwrap(), "out-absolute");
        link("etc", "folder");
        link("nowhere", "dangling");
        assert_eq!(root.text("absolute"), "inside");
        assert_eq!(root.text("/above"), "inside");
        assert_eq!(root.text("folder/name"), "inside");
        assert_eq!(root.inside("folder/name").unwrap(), "/etc/name");
        assert_eq!((root.text("out"), root.text("out-absolute")), (String::new(), String::new()));
        assert_eq!(root.text("../secret"), "");
        assert!(root.dangling("dangling") && !root.dangling("absolute") && !root.dangling("none"));
        assert_eq!(root.link_name("absolute").unwrap(), "name");
    }

    #[test]
    fn loops_pipes_and_folders_are_no_files() {
        let (folder, root) = tree();
        symlink("b", folder.path().join("root/a")).unwrap();
        symlink("a", folder.path().join("root/b")).unwrap();
        symlink("../etc", folder.path().join("root/etc/loop")).unwrap();
        let pipe = std::ffi::CString::new(folder.path().join("root/pipe").to_str().unwrap()).unwrap();
        // SAFETY: the path is a NUL-terminated string.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o644) }, 0);
        assert!(!root.exists("a"));
        assert_eq!((root.bytes("a"), root.bytes("pipe"), root.bytes("etc")), (vec![], vec![], vec![]));
        let deep = "etc/".to_owned() + &"loop/".repeat(39) + "name";
        assert_eq!(root.text(&deep), "inside");
        assert_eq!(root.text(&format!("etc/{}name", "loop/".repeat(41))), "");
    }

    #[test]
    fn reads_have_an_end() {
        let (folder, root) = tree();
        File::create(folder.path().join("root/huge")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(root.bytes("huge").len() as u64, MAX_FILE_BYTES);
        let mut lines = 0;
        root.lines("huge", |line| {
            lines += 1;
            line.len() as u64 <= MAX_LINE_BYTES
        });
        assert_eq!(lines, 1);
    }

    #[test]
    fn names_cannot_write_to_the_terminal() {
        assert_eq!(clean("NVIDIA\u{1b}[2J Jetson\u{202e} \0rest").unwrap(), "NVIDIA[2J Jetson");
        assert_eq!(clean("\0\0"), None);
        assert_eq!(clean(&"x".repeat(9999)).unwrap().len(), 200);
    }
}
