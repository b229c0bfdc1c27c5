//! Bad input: one clear error, no panic, no hang, bounded memory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use endort::cancel::Cancel;
use endort::source::{OpenOptions, Source, SourceEvent, open, picture};
use endort::{Error, Result};

use super::media_clips::{self, clip};

fn open_path(path: &Path) -> Result<Box<dyn Source>> {
    open(path.to_str().unwrap(), &OpenOptions::default(), &Cancel::new())
}

/// Frames until the end or an error.
fn drain(mut source: Box<dyn Source>) -> (usize, Option<Error>) {
    let mut frames = 0;
    loop {
        match source.next() {
            Ok(Some(_)) => frames += 1,
            Ok(None) => return (frames, None),
            Err(e) => return (frames, Some(e)),
        }
    }
}

fn file(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn ffmpeg(args: &str, out: &Path) {
    media_clips::ffmpeg(args.split_whitespace().map(OsStr::new).chain([out.as_os_str()]));
}

#[test]
fn files_that_hold_no_video() {
    let folder = tempfile::tempdir().unwrap();
    let gone = open_path(&folder.path().join("gone.mp4")).err().unwrap();
    assert!(matches!(&gone, Error::Read { .. }), "{gone}");
    let text = "This is a text file.\n".repeat(100);
    for (name, content) in [
        ("empty.mp4", &b""[..]),
        ("empty.png", b""),
        ("text.txt", text.as_bytes()),
        ("text.mp4", text.as_bytes()),
        ("zeros.mkv", &[0; 10_000]),
        ("start.png", b"\x89PNG\r\n\x1a\n"),
        ("start.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
    ] {
        let error = open_path(&file(&folder, name, content)).map(drain).err();
        let error = error.unwrap_or_else(|| panic!("{name} was opened"));
        assert!(matches!(&error, Error::Media { .. } | Error::Picture { .. }), "{name}: {error:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(error.remedy().is_some(), "{error}");
    }
}

#[test]
fn sound_and_cover_art_are_no_video() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.m4a");
    ffmpeg("-f lavfi -i sine=duration=0.2 -c:a aac", &sound);
    let cover = folder.path().join("cover.m4a");
    let args = "-f lavfi -i sine=duration=0.2 -f lavfi -i testsrc2=size=64x64:rate=1:duration=1 \
                -map 0 -map 1 -c:a aac -c:v mjpeg -disposition:v attached_pic";
    ffmpeg(args, &cover);
    for path in [sound, cover] {
        let error = open_path(&path).err().unwrap();
        assert!(error.to_string().ends_with("has no video"), "{error}");
    }
}

#[test]
fn truncated_recordings() {
    let folder = tempfile::tempdir().unwrap();
    // Without its index, which is at the end, an MP4 says nothing.
    let bytes = std::fs::read(clip("h264_audio_long.mp4")).unwrap();
    let error = open_path(&file(&folder, "no_index.mp4", &bytes[..bytes.len() / 2])).err().unwrap();
    assert!(error.to_string().contains("moov atom not found"), "{error}");
    // With its index first, it has the frames that are there, and breaks off.
    let whole = folder.path().join("whole.mp4");
    ffmpeg(&format!("-i {} -c copy -movflags +faststart", clip("h264_audio_long.mp4").display()), &whole);
    let bytes = std::fs::read(&whole).unwrap();
    let source = open_path(&file(&folder, "half.mp4", &bytes[..bytes.len() / 2])).unwrap();
    let (frames, error) = drain(source);
    assert!((1..90).contains(&frames), "{frames} frames");
    let error = error.expect("a recording that breaks off is not whole");
    assert!(error.to_string().contains("breaks off after"), "{error}");
    // Matroska states its length and may end anywhere.
    let whole = folder.path().join("whole.mkv");
    ffmpeg(&format!("-i {} -c copy", clip("h264_audio_long.mp4").display()), &whole);
    let bytes = std::fs::read(&whole).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&told);
    let options = OpenOptions {
        on_event: Some(Arc::new(move |event: &SourceEvent| {
            events.lock().unwrap().push(format!("{event:?}"))
        })),
        ..OpenOptions::default()
    };
    let half = file(&folder, "half.mkv", &bytes[..bytes.len() / 2]);
    let (frames, error) = drain(open(half.to_str().unwrap(), &options, &Cancel::new()).unwrap());
    assert!((1..90).contains(&frames) && error.is_none(), "{frames} frames, {error:?}");
    let told = told.lock().unwrap().join("\n");
    assert!(told.contains("its pictures end at 1.") && told.contains("of the 3.0"), "{told}");
    // A stream format has no length to miss.
    let bytes = std::fs::read(clip("h264.ts")).unwrap();
    let (frames, _) = drain(open_path(&file(&folder, "half.ts", &bytes[..bytes.len() / 2])).unwrap());
    assert!((1..25).contains(&frames), "{frames} frames");
}

/// A PNG that states a size and holds next to nothing.
fn png_that_claims(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let checksum = header.iter().fold(u32::MAX, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
        crc
    });
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(header);
    png.extend((!checksum).to_be_bytes());
    png.extend(b"\0\0\0\x04IDAT\0\0\0\0");
    png
}

#[test]
fn pictures_that_claim_too_much() {
    let folder = tempfile::tempdir().unwrap();
    for (width, height) in [(100_000, 100_000), (1, 100_000), (20_000, 20_000)] {
        let png = png_that_claims(width, height);
        let error = open_path(&file(&folder, "huge.png", &png)).err().unwrap();
        assert!(matches!(&error, Error::TooLarge { .. }), "{error:?}");
        assert!(matches!(picture::decode(&png, "huge"), Err(Error::TooLarge { .. })));
        let video = format!("YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420\nFRAME\n");
        let error = open_path(&file(&folder, "huge.y4m", video.as_bytes())).err().unwrap();
        assert!(matches!(&error, Error::TooLarge { .. } | Error::Media { .. }), "{error:?}");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    for name in ["h264.mp4", "mpeg2_interlaced.mpg", "vp9.webm", "palette.gif", "mjpeg.avi"] {
        let whole = std::fs::read(clip(name)).unwrap();
        for _ in 0..12 {
            let mut bytes = whole.clone();
            for _ in 0..bytes.len() / 500 + 1 {
                let at = random() % bytes.len();
                bytes[at] = random() as u8;
            }
            if let Ok(source) = open_path(&file(&folder, name, &bytes)) {
                let (frames, _) = drain(source);
                assert!(frames < 10_000, "{name}: {frames} frames");
            }
        }
    }
    let jpeg =
        endort::sink::picture::encode_jpeg(&picture::decode(&picture_bytes(), "p").unwrap(), 80).unwrap();
    for whole in [jpeg, picture_bytes()] {
        for _ in 0..200 {
            let mut bytes = whole.clone();
            let at = random() % bytes.len();
            bytes[at] = random() as u8;
            bytes.truncate(random() % (bytes.len() + bytes.len() / 2) + 1);
            let _ = picture::decode(&bytes, "damaged");
        }
    }
}

/// A small PNG.
fn picture_bytes() -> Vec<u8> {
    let image = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 99]));
    let mut bytes = Vec::new();
    image.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

#[test]
fn folders_and_devices_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let empty = open_path(folder.path()).err().unwrap();
    assert!(matches!(&empty, Error::NoInput { .. }), "{empty}");
    let device = open("/dev/video97", &OpenOptions::default(), &Cancel::new()).err().unwrap();
    assert!(matches!(&device, Error::Read { .. }), "{device}");
}

fn fifo(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

#[test]
fn a_pipe_is_read_like_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder);
    let mut writer = Command::new("sh")
        .arg("-c")
        .arg(format!("cat {} > {}", clip("h264_bframes.mkv").display(), path.display()))
        .spawn()
        .unwrap();
    let (frames, error) = drain(open_path(&path).unwrap());
    writer.wait().unwrap();
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames, 25);
}

#[test]
fn a_pipe_without_a_writer_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions { io_timeout: Duration::from_millis(200), ..OpenOptions::default() };
    let error = open(fifo(&folder).to_str().unwrap(), &options, &Cancel::new()).err().unwrap();
    assert!(matches!(&error, Error::SourceLost { .. }), "{error:?}");
    assert!(error.to_string().contains("nothing came for 0.2 s"), "{error}");
}

#[test]
fn cancellation_reaches_a_pipe_that_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions { io_timeout: Duration::from_secs(3600), ..OpenOptions::default() };
    let cancel = Cancel::new();
    let path = fifo(&folder);
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| open(path.to_str().unwrap(), &options, &cancel).err());
        cancel.cancel();
        assert!(matches!(opening.join().unwrap(), Some(Error::Cancelled)));
    });
}
