//! Finding shared libraries and programs by name, as the dynamic linker and a shell would, and in the folders
//! where vendors put them. Nothing is loaded: a library is judged by its header (ELF; Mach-O on a Mac).

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::apple;
use super::binary::Format;
use super::board::UNKNOWN_ARCH;
use super::root::Root;

/// Folders that `ld.so` searches on its own (ld.so(8)), besides the one of the architecture.
const SYSTEM_FOLDERS: [&str; 5] = ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib64"];
const LOCAL: &str = "/usr/local/lib";
/// Debian's folder names by architecture.
const TRIPLETS: [(&str, &[&str]); 5] = [
    ("x86_64", &["x86_64-linux-gnu"]),
    ("x86", &["i386-linux-gnu"]),
    ("aarch64", &["aarch64-linux-gnu"]),
    ("arm", &["arm-linux-gnueabihf", "arm-linux-gnueabi"]),
    ("riscv64", &["riscv64-linux-gnu"]),
];
/// Folders where vendors put their libraries without telling `ld.so`. `*` stands for any one name.
const VENDOR_FOLDERS: [&str; 14] = [
    "/usr/local/cuda/lib64",
    "/usr/local/cuda/targets/*/lib",
    "/usr/local/cuda-*/lib64",
    "/usr/local/cuda-*/targets/*/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/*/tegra",
    "/usr/lib/*/nvidia",
    "/opt/intel/openvino*/runtime/lib/*",
    "/opt/intel/openvino*/lib",
    "/opt/onnxruntime*/lib",
    "/usr/local/onnxruntime*/lib",
    "/usr/local/tensorrt/lib",
    "/opt/tensorrt*/lib",
    "/run/opengl-driver/lib",
];
/// Folders of the same on a Mac: Homebrew's (on Apple's and on Intel's processors) and MacPorts'.
const MAC_FOLDERS: [&str; 4] =
    ["/opt/homebrew/lib", "/opt/homebrew/opt/*/lib", "/usr/local/opt/*/lib", "/opt/local/lib"];
/// Folders of Python's packages, in which the libraries of those from PyPI lie.
const PYTHON_FOLDERS: [&str; 7] = [
    "/usr/lib/python3/dist-packages",
    "/usr/lib/python3*/dist-packages",
    "/usr/local/lib/python3*/dist-packages",
    "/usr/local/lib/python3*/site-packages",
    "/usr/lib/python3*/site-packages",
    "/opt/homebrew/lib/python3*/site-packages",
    "/Library/Frameworks/Python.framework/Versions/*/lib/python3*/site-packages",
];
/// Folders of libraries inside such packages.
const PYTHON_PACKAGES: [&str; 6] = [
    "onnxruntime/capi",
    "openvino/libs",
    "ai_edge_litert",
    "tflite_runtime",
    "tensorrt_libs",
    "nvidia/*/lib",
];
/// Folders of programs.
const PROGRAM_FOLDERS: [&str; 7] = [
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/src/tensorrt/bin",
    "/usr/local/cuda/bin",
    "/opt/tensorrt*/bin",
    "/usr/local/tensorrt/bin",
];
/// `include` lines of ld.so.conf inside each other.
const MAX_INCLUDES: usize = 8;
/// Folders that a search goes through.
const MAX_FOLDERS: usize = 512;

/// How a library was found that lies where the user says.
pub(super) const RUNTIME_PATH: &str = "runtime path";

/// A library or program that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Where, as the name that was looked for.
    pub path: String,
    /// The file's own name, links followed, which often holds the full version.
    pub file_name: String,
    /// How it was found.
    pub found_by: String,
    /// Why it cannot be used.
    pub unusable: Option<String>,
}

/// Where to search.
#[derive(Debug)]
pub(super) struct Libraries<'a> {
    root: &'a Root,
    arch: &'a str,
    format: Format,
    environment: &'a BTreeMap<String, String>,
    /// In the order of the search.
    folders: Vec<Folder>,
}

/// A folder with libraries.
#[derive(Debug)]
struct Folder {
    /// As it is called.
    path: String,
    /// Where it really is.
    inside: String,
    found_by: String,
    names: Vec<String>,
}

impl<'a> Libraries<'a> {
    pub fn new(
        root: &'a Root,
        arch: &'a str,
        environment: &'a BTreeMap<String, String>,
        named: &[PathBuf],
    ) -> Self {
        let format = if apple::is_macos(root) { Format::MachO } else { Format::Elf };
        let mut search = Self { root, arch, format, environment, folders: Vec::new() };
        for place in named.iter().filter_map(|place| std::path::absolute(place).ok()) {
            let place = place.to_string_lossy();
            // A file is named for its folder's sake; packages put libraries one or two folders below.
            let is_file = place.contains(format.ending());
            let folder = if is_file { place.rsplit_once('/').map_or("", |(f, _)| f) } else { &place };
            search.add(folder, RUNTIME_PATH);
            for below in PYTHON_PACKAGES.iter().chain(&["runtime/lib/*", "lib"]) {
                search.add_matching(&format!("{folder}/{below}"), RUNTIME_PATH);
            }
        }
        let path = if format == Format::MachO { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
        for folder in search.variable(path) {
            search.add(&folder, path);
        }
        for name in ["OPENVINO_INSTALL_DIR", "INTEL_OPENVINO_DIR"] {
            for folder in search.variable(name) {
                search.add_matching(&format!("{folder}/runtime/lib/*"), name);
            }
        }
        for folder in search.configured() {
            search.add(&folder, "library path");
        }
        for folder in system_folders(arch) {
            search.add(&folder, "library path");
        }
        let vendors: &[&str] = if format == Format::MachO { &MAC_FOLDERS } else { &VENDOR_FOLDERS };
        for pattern in vendors {
            search.add_matching(pattern, "known folder");
        }
        let mut python: Vec<String> = Vec::new();
        for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
            python.extend(
                search.variable(name).iter().map(|folder| format!("{folder}/lib/python3*/site-packages")),
            );
        }
        python.extend(PYTHON_FOLDERS.map(str::to_owned));
        for folder in python {
            for package in PYTHON_PACKAGES {
                search.add_matching(&format!("{folder}/{package}"), "Python package");
            }
        }
        search
    }

    /// Folders in a variable, separated by colons.
    fn variable(&self, name: &str) -> Vec<String> {
        let value = self.environment.get(name).map_or("", String::as_str);
        value.split(':').filter(|folder| folder.starts_with('/')).map(str::to_owned).collect()
    }

    fn add(&mut self, folder: &str, found_by: &str) {
        // `/lib` is often a link to `/usr/lib`: what was looked through once is not again.
        let Some(inside) = self.root.inside(folder) else { return };
        if self.folders.len() >= MAX_FOLDERS || self.folders.iter().any(|known| known.inside == inside) {
            return;
        }
        let mut names = self.root.names(folder);
        names.retain(|name| name.contains(self.format.ending()));
        let (path, found_by) = (folder.to_owned(), found_by.to_owned());
        self.folders.push(Folder { path, inside, found_by, names });
    }

    fn add_matching(&mut self, pattern: &str, found_by: &str) {
        for folder in expand(self.root, pattern) {
            self.add(&folder, found_by);
        }
    }

    /// Folders of `/etc/ld.so.conf` and the files that it includes.
    fn configured(&self) -> Vec<String> {
        let mut folders = Vec::new();
        let mut files = vec!["/etc/ld.so.conf".to_owned()];
        let mut read = 0;
        while let Some(file) = files.pop() {
            read += 1;
            if read > MAX_FOLDERS {
                break;
            }
            for line in self.root.text(&file).lines() {
                let line = line.split('#').next().unwrap_or_default().trim();
                if let Some(pattern) = line.strip_prefix("include ") {
                    let pattern = pattern.trim();
                    let pattern =
                        if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/{pattern}") };
                    if read <= MAX_INCLUDES {
                        // Taken from the end: the first in alphabetical order comes first.
                        files.extend(expand(self.root, &pattern).into_iter().rev());
                    }
                } else if line.starts_with('/') {
                    folders.push(line.to_owned());
                }
            }
        }
        folders.truncate(MAX_FOLDERS);
        folders
    }

    /// The best file for one of these libraries, which are named best first: of the first that can be used anywhere, the
    /// first in the order of the search; else the first file at all. A name is `libx`; the files are `libx.so`, `libx.so.1` and `libx.so.1.2.3`, on a Mac
    /// `libx.dylib` and `libx.1.2.3.dylib`.
    pub fn find(&self, names: &[&str]) -> Option<Found> {
        let mut unusable = None;
        for name in names {
            for Folder { path: folder, found_by, names: files, .. } in &self.folders {
                let version = |file: &str| self.format.version(file, name).map(str::len);
                // `libx.so.1` rather than `libx.so`, which in some packages is for compilers alone.
                let mut files: Vec<&String> = files.iter().filter(|file| version(file).is_some()).collect();
                files.sort_by_key(|file| (version(file) == Some(0), file.matches('.').count()));
                for file in files {
                    let found = self.judge(&format!("{folder}/{file}"), found_by);
                    if found.unusable.is_none() {
                        return Some(found);
                    }
                    unusable = unusable.or(Some(found));
                }
            }
        }
        unusable
    }

    /// The library of this name that a variable names, as endort would open it: a file of another name or none is passed
    /// over.
    pub fn named_by(&self, variable: &str, name: &str) -> Option<Found> {
        let path = self.environment.get(variable).filter(|path| !path.is_empty())?;
        let file = path.rsplit('/').next().unwrap_or_default();
        let is_there = self.root.metadata(path).is_some_and(|metadata| metadata.is_file());
        (is_there && self.format.version(file, name).is_some()).then(|| self.judge(path, variable))
    }

    /// A program by name, first along `PATH`.
    pub fn program(&self, name: &str) -> Option<Found> {
        let mut folders: Vec<(String, &str)> =
            self.variable("PATH").into_iter().map(|folder| (folder, "PATH")).collect();
        for pattern in PROGRAM_FOLDERS {
            folders.extend(expand(self.root, pattern).into_iter().map(|folder| (folder, "known folder")));
        }
        let (path, found_by) = folders
            .into_iter()
            .map(|(folder, by)| (format!("{folder}/{name}"), by))
            .find(|(path, _)| self.root.metadata(path).is_some_and(|metadata| metadata.is_file()))?;
        Some(Found { file_name: name.to_owned(), path, found_by: found_by.to_owned(), unusable: None })
    }

    fn judge(&self, path: &str, found_by: &str) -> Found {
        let real = self.root.inside(path);
        let file_name = real.as_deref().unwrap_or(path).rsplit('/').next().unwrap_or_default().to_owned();
        let unusable = match real {
            None if self.root.dangling(path) => Some("the link leads nowhere".to_owned()),
            None => Some("there is no such file".to_owned()),
            Some(_) => self.why_not_loadable(path),
        };
        Found { path: path.to_owned(), file_name, found_by: found_by.to_owned(), unusable }
    }

    fn why_not_loadable(&self, path: &str) -> Option<String> {
        let head = self.root.head(path, 64);
        if head.is_empty() {
            return Some("it is empty or cannot be read".to_owned());
        }
        let made_for = self.format.made_for(&head);
        match made_for[..] {
            [] => Some("it is no shared library".to_owned()),
            _ if made_for.contains(&self.arch) || self.arch == UNKNOWN_ARCH => None,
            _ => Some(format!("it is made for {}", made_for.join(" and "))),
        }
    }
}

/// The system's own folders for libraries on an architecture, best first.
pub(crate) fn system_folders(arch: &str) -> Vec<String> {
    let triplets = TRIPLETS.iter().filter(|(known, _)| *known == arch).flat_map(|(_, triplets)| *triplets);
    let debian = triplets
        .flat_map(|triplet| ["/usr/local/lib", "/lib", "/usr/lib"].map(|base| format!("{base}/{triplet}")));
    // What an administrator puts there comes before what the distribution has, as ld.so.conf usually says.
    std::iter::once(LOCAL.to_owned()).chain(debian).chain(SYSTEM_FOLDERS.map(str::to_owned)).collect()
}

/// Whether endort's runtimes look into this folder by themselves.
pub(super) fn is_system_folder(folder: &str) -> bool {
    TRIPLETS.iter().any(|(arch, _)| system_folders(arch).iter().any(|known| known == folder))
}

/// Paths that a pattern names, in natural order; a `*` stands for any part of one name.
pub(super) fn expand(root: &Root, pattern: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for path in paths {
            let Some((before, after)) = part.split_once('*') else {
                next.push(format!("{path}/{part}"));
                continue;
            };
            let fits = |name: &String| {
                name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
            };
            let names = root.names(if path.is_empty() { "/" } else { &path });
            next.extend(names.into_iter().filter(fits).map(|name| format!("{path}/{name}")));
        }
        next.truncate(MAX_FOLDERS);
        paths = next;
    }
    paths.retain(|path| root.exists(path));
    paths
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn elf(machine: u8) -> Vec<u8> {
        let mut head = vec![0_u8; 64];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = machine;
        head
    }

    fn write(folder: &std::path::Path, path: &str, content: &[u8]) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn the_linkers_order_holds_and_versions_come_from_file_names() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        write(folder.path(), "etc/ld.so.conf", b"include /etc/ld.so.conf.d/*.conf\n");
        write(folder.path(), "etc/ld.so.conf.d/b.conf", b"# none\n/opt/b/lib # here\n");
        write(folder.path(), "opt/b/lib/libx.so.2.1.0", &elf(62));
        symlink("libx.so.2.1.0", folder.path().join("opt/b/lib/libx.so.2")).unwrap();
        write(folder.path(), "usr/lib/libx.so.1.0.0", &elf(62));
        let environment = BTreeMap::new();
        let found = Libraries::new(&root, "x86_64", &environment, &[]).find(&["libx"]).unwrap();
        assert_eq!(
            (found.path.as_str(), found.file_name.as_str()),
            ("/opt/b/lib/libx.so.2", "libx.so.2.1.0")
        );
        assert_eq!(
            (crate::device::binary::version_in(&found.file_name).as_deref(), found.unusable),
            (Some("2.1.0"), None)
        );

        let environment = BTreeMap::from([("LD_LIBRARY_PATH".to_owned(), "relative:/usr/lib".to_owned())]);
        let found = Libraries::new(&root, "x86_64", &environment, &[]).find(&["libx"]).unwrap();
        assert_eq!(
            (found.path.as_str(), found.found_by.as_str()),
            ("/usr/lib/libx.so.1.0.0", "LD_LIBRARY_PATH")
        );
    }

    #[test]
    fn what_cannot_be_loaded_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let environment = ["ONE", "TWO", "THREE"].map(str::to_owned).into_iter();
        let named = ["/usr/lib/none.so", "/usr/lib/libb.so", "/usr/lib/liba.so"].map(str::to_owned);
        let environment = environment.zip(named).collect();
        write(folder.path(), "usr/lib/liba.so", &elf(62));
        write(folder.path(), "usr/lib/libb.so", b"GROUP ( libb.so.1 )");
        write(folder.path(), "usr/lib/libd.so", b"");
        symlink("libc.so.6", folder.path().join("usr/lib/libc.so")).unwrap();
        let search = Libraries::new(&root, "aarch64", &environment, &[]);
        let why = |name: &str| search.find(&[name]).unwrap().unusable.unwrap();
        assert_eq!(why("liba"), "it is made for x86_64");
        assert_eq!(why("libb"), "it is no shared library");
        assert_eq!(why("libc"), "the link leads nowhere");
        assert_eq!(why("libd"), "it is empty or cannot be read");
        // What is gone, or is called something else, is not opened either.
        assert_eq!(["ONE", "TWO"].map(|variable| search.named_by(variable, "liba")), [None, None]);
        assert_eq!(search.named_by("THREE", "liba").unwrap().unusable.unwrap(), "it is made for x86_64");
        assert_eq!(search.find(&["libe"]), None);
    }
}
