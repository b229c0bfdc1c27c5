//! Capture devices: `/dev/video*` that the kernel's video4linux class names.

use super::access::{self, Denied, join_group};
use super::info::{Camera, Problem};
use super::probe::Probe;

/// Beginnings of names that are parts of the chip (codecs, image processors), not cameras.
const NOT_CAMERAS: [&str; 7] =
    ["bcm2835-codec", "bcm2835-isp", "pispbe", "rpi-hevc-dec", "rpivid", "tegra-video-decoder", "hantro-vpu"];
/// Devices that are listed.
const MAX_CAMERAS: usize = 64;

/// The capture devices of a machine.
pub(super) fn find(probe: &Probe, problems: &mut Vec<Problem>) -> Vec<Camera> {
    let base = "sys/class/video4linux";
    let names = probe.root.names(base).into_iter().filter(|name| name.starts_with("video"));
    let mut cameras = Vec::new();
    for number in names {
        let name = probe.root.word(&format!("{base}/{number}/name")).unwrap_or_else(|| "camera".to_owned());
        // The second node of a camera delivers metadata.
        let index = probe.root.number(&format!("{base}/{number}/index")).unwrap_or(0);
        if index > 0
            || NOT_CAMERAS.iter().any(|known| name.starts_with(known))
            || cameras.len() >= MAX_CAMERAS
        {
            continue;
        }
        let node = format!("/dev/{number}");
        let denied = access::check(probe.root, &node, probe.access).err();
        if let Some(denied) = &denied {
            let (why, remedy) = match denied {
                Denied::Absent if probe.in_container() => (
                    format!("{node} is not in this container"),
                    format!("start the container with --device {node}"),
                ),
                Denied::Absent => (format!("{node} is not there"), "plug it in again".to_owned()),
                Denied::Group(group) => (
                    format!("{node} may be opened by the group {group} alone, and you are no member"),
                    join_group(group),
                ),
                Denied::RootOnly => (
                    format!("{node} may be opened by root alone"),
                    format!("sudo chgrp video {node}; sudo chmod 660 {node}"),
                ),
            };
            problems.push(Problem::new(format!("camera {name}"), why, remedy));
        }
        cameras.push(Camera { node, name, ready: denied.is_none() });
    }
    cameras
}
