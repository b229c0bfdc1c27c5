//! Whether a program may open a device node, and what its user has to become a member of.

#[cfg(unix)]
use std::os::unix::fs::MetadataExt;

use super::root::{Root, clean};

/// Who wants to open device nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Access {
    /// This process: the kernel is asked, which knows access lists too.
    Process,
    /// Somebody by number, judged by owner, group and mode.
    User {
        /// User number.
        uid: u32,
        /// Group numbers.
        gids: Vec<u32>,
    },
    /// Nobody in particular, as for a captured tree, whose owners are those of the copy: not judged.
    #[default]
    Unknown,
}

/// Why a node cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denied {
    /// The node is not there.
    Absent,
    /// The node's group may open it, and the user is no member.
    Group(String),
    /// Only root may.
    RootOnly,
}

/// Whether `node` may be opened for reading and writing.
pub(super) fn check(root: &Root, node: &str, access: &Access) -> Result<(), Denied> {
    let path = root.resolve(node).ok_or(Denied::Absent)?;
    let Some(metadata) = root.metadata(node) else { return Err(Denied::Absent) };
    let allowed = match access {
        Access::Unknown => true,
        Access::Process => process_may_open(&path),
        Access::User { uid, gids } => user_may_open(&metadata, *uid, gids),
    };
    if allowed {
        return Ok(());
    }
    #[cfg(unix)]
    if metadata.gid() != 0 && metadata.mode() & 0o060 == 0o060 {
        return Err(Denied::Group(group_name(root, metadata.gid())));
    }
    Err(Denied::RootOnly)
}

#[cfg(unix)]
fn process_may_open(path: &std::path::Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path is a NUL-terminated string; access(2) changes nothing.
    unsafe { libc::access(path.as_ptr(), libc::R_OK | libc::W_OK) == 0 }
}

#[cfg(not(unix))]
fn process_may_open(_: &std::path::Path) -> bool {
    true
}

#[cfg(unix)]
fn user_may_open(metadata: &std::fs::Metadata, uid: u32, gids: &[u32]) -> bool {
    let mode = metadata.mode();
    // The first class that fits decides, as in path_resolution(7).
    let bits = match () {
        () if uid == 0 => return true,
        () if metadata.uid() == uid => mode >> 6,
        () if gids.contains(&metadata.gid()) => mode >> 3,
        () => mode,
    };
    bits & 0o6 == 0o6
}

#[cfg(not(unix))]
fn user_may_open(_: &std::fs::Metadata, _: u32, _: &[u32]) -> bool {
    true
}

/// The group's name in that root, else its number.
#[cfg(unix)]
fn group_name(root: &Root, gid: u32) -> String {
    let groups = root.text("etc/group");
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| clean(name)).flatten()
    });
    name.unwrap_or_else(|| gid.to_string())
}

/// How to get into a group.
pub(super) fn join_group(group: &str) -> String {
    format!("sudo usermod -aG {group} $USER, then log in again")
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn owner_group_and_others_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let node = folder.path().join("node");
        fs::write(&node, "").unwrap();
        let owner = fs::metadata(&node).unwrap();
        let stranger = Access::User { uid: 4242, gids: vec![4242] };
        let set = |mode| fs::set_permissions(&node, fs::Permissions::from_mode(mode)).unwrap();

        set(0o600);
        assert_eq!(check(&root, "node", &stranger), Err(Denied::RootOnly));
        assert_eq!(check(&root, "node", &Access::User { uid: owner.uid(), gids: vec![] }), Ok(()));
        assert_eq!(check(&root, "node", &Access::Unknown), Ok(()));
        assert_eq!(check(&root, "absent", &Access::Unknown), Err(Denied::Absent));
        set(0o666);
        assert_eq!(check(&root, "node", &stranger), Ok(()));
        assert_eq!(check(&root, "node", &Access::Process), Ok(()));
        set(0o660);
        let member = Access::User { uid: 4242, gids: vec![owner.gid()] };
        assert_eq!(check(&root, "node", &member), Ok(()));
    }

    #[test]
    fn groups_are_named_by_the_roots_own_list() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join("etc/group"), "root:x:0:\nbroken\nrender:x:992:technician\n").unwrap();
        let root = Root::new(folder.path());
        assert_eq!((group_name(&root, 992), group_name(&root, 7)), ("render".to_owned(), "7".to_owned()));
    }
}
