//! Versions of installed packages, for libraries whose file name does not tell theirs.

use std::collections::BTreeMap;

use super::root::{Root, clean};

/// Debian packages whose version is asked for.
const WANTED: [&str; 4] = ["libedgetpu1-std", "libedgetpu1-max", "libnvinfer8", "libnvinfer10"];

/// Versions of packages in Debian's database, by name: `1.2.3` of `1.2.3-1+cuda12.6`.
pub(super) fn installed(root: &Root) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let mut name = None;
    root.lines("var/lib/dpkg/status", |line| {
        if let Some(package) = line.strip_prefix("Package: ") {
            name = WANTED.iter().find(|wanted| **wanted == package.trim());
        } else if line.starts_with("Status: ") && !line.ends_with(" installed") {
            name = None;
        } else if let (Some(version), Some(name)) = (line.strip_prefix("Version: "), name) {
            let version = version.split_once(':').map_or(version, |(_, version)| version);
            let version = version.split(['-', '+', '~']).next().unwrap_or_default().trim();
            versions.extend(clean(version).map(|version| ((*name).to_owned(), version)));
        }
        versions.len() < WANTED.len()
    });
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_those_that_are_installed() {
        let folder = tempfile::tempdir().unwrap();
        let status = "Package: libedgetpu1-std\nStatus: install ok installed\nVersion: 16.0\n\n\
                      Package: libnvinfer10\nStatus: deinstall ok config-files\nVersion: 10.3.0.30-1+cuda12.5\n\n\
                      Package: bash\nStatus: install ok installed\nVersion: 5.2\n\n\
                      Package: libnvinfer8\nStatus: install ok installed\nVersion: 1:8.2.1-1+cuda10.2\n";
        std::fs::create_dir_all(folder.path().join("var/lib/dpkg")).unwrap();
        std::fs::write(folder.path().join("var/lib/dpkg/status"), status).unwrap();
        let found = installed(&Root::new(folder.path()));
        let expected = [("libedgetpu1-std", "16.0"), ("libnvinfer8", "8.2.1")];
        assert_eq!(found, expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
    }
}
