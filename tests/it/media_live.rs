//! Live sources: real senders on the loopback interface, loss, return, silence and cancellation.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use endort::Error;
use endort::cancel::Cancel;
use endort::source::{HwDecode, OpenOptions, SourceEvent, open};

use super::camera::Camera;
use super::media_clips::{clip, ffmpeg};

/// A port that nobody uses now.
fn port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

type Events = Arc<Mutex<Vec<SourceEvent>>>;

fn options(io_timeout: Duration, max_retries: u32) -> (OpenOptions, Events) {
    let events = Events::default();
    let sink = Arc::clone(&events);
    let options = OpenOptions {
        io_timeout,
        max_retries,
        hardware: HwDecode::Off,
        on_event: Some(Arc::new(move |event| sink.lock().unwrap().push(event.clone()))),
        ..OpenOptions::default()
    };
    (options, events)
}

#[test]
fn a_camera_that_goes_away_and_comes_back() {
    let port = port();
    let camera = Camera::new(port);
    let (options, events) = options(Duration::from_secs(2), 1000);
    let mut source = open(&format!("udp://127.0.0.1:{port}"), &options, &Cancel::new()).unwrap();
    assert!(source.info().live);
    assert_eq!((source.info().width, source.info().height), (160, 120));
    let mut frames = Vec::new();
    frames.extend((0..15).map(|_| source.next().unwrap().unwrap()));
    assert_eq!(*events.lock().unwrap(), []);
    drop(camera);
    let camera = std::thread::scope(|scope| {
        let returns = scope.spawn(|| {
            while !events.lock().unwrap().iter().any(|event| matches!(event, SourceEvent::Retrying { .. })) {
                std::thread::sleep(Duration::from_millis(20));
            }
            Camera::new(port)
        });
        // The first connection's last frames come first; then it is lost, and found again.
        while !events.lock().unwrap().iter().any(|event| matches!(event, SourceEvent::Back { .. })) {
            frames.push(source.next().unwrap().unwrap());
        }
        returns.join().unwrap()
    });
    frames.extend((0..5).map(|_| source.next().unwrap().unwrap()));
    drop(camera);
    let kinds: Vec<_> = events.lock().unwrap().iter().map(std::mem::discriminant).collect();
    let lost = std::mem::discriminant(&SourceEvent::Lost { detail: String::new() });
    assert_eq!(kinds.iter().filter(|kind| **kind == lost).count(), 1, "told once");
    assert_eq!(kinds[0], lost);
    assert!(frames.iter().enumerate().all(|(n, frame)| frame.id.0 == n as u64));
    assert!(frames.windows(2).all(|pair| pair[0].pts.as_ms() < pair[1].pts.as_ms()), "time goes on");
}

/// An RTSP server that plays the sample in real time to whoever asks; `None` where GStreamer's is not installed.
fn rtsp_server(port: u16) -> Option<Server> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new("/usr/bin/python3")
        .arg(root.join("tests/rtsp_server.py"))
        .arg(root.join("samples/colonoscopy-720p30.mp4"))
        .arg(port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut said = String::new();
    BufReader::new(child.stdout.take()?).read_line(&mut said).unwrap();
    if said.is_empty() && child.wait().unwrap().code() == Some(77) {
        eprintln!("skipped: GStreamer's RTSP server is not installed (see APT_TEST in the Makefile)");
        return None;
    }
    assert_eq!(said, "ready\n");
    Some(Server(child))
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn an_rtsp_camera_is_live_and_found_again_after_its_server_restarts() {
    let port = port();
    let Some(server) = rtsp_server(port) else { return };
    let (options, events) = options(Duration::from_secs(5), 1000);
    let address = format!("rtsp://127.0.0.1:{port}/live");
    let begin = Instant::now();
    let mut source = open(&address, &options, &Cancel::new()).unwrap();
    assert!(source.info().live);
    assert_eq!(
        (source.info().width, source.info().height, source.info().codec.as_str()),
        (1280, 720, "h264")
    );
    let first: Vec<_> = (0..60).map(|_| source.next().unwrap().unwrap()).collect();
    assert_eq!(*events.lock().unwrap(), []);
    assert!(begin.elapsed() > Duration::from_secs(1), "it comes as it is filmed");
    assert!(first.iter().enumerate().all(|(n, frame)| frame.id.0 == n as u64), "nothing is missing");
    let steps = first.windows(2).map(|pair| pair[1].pts.as_ms() - pair[0].pts.as_ms());
    assert!(steps.into_iter().all(|step| (step - 1e3 / 30.0).abs() < 1.0));

    drop(server);
    let mut last = first[59].pts.as_ms();
    let (server, found) = std::thread::scope(|scope| {
        let restart = scope.spawn(|| {
            while !events.lock().unwrap().iter().any(|event| matches!(event, SourceEvent::Retrying { .. })) {
                std::thread::sleep(Duration::from_millis(20));
            }
            rtsp_server(port)
        });
        let mut found = 0;
        while !events.lock().unwrap().iter().any(|event| matches!(event, SourceEvent::Back { .. }))
            || found < 30
        {
            let frame = source.next().unwrap().unwrap();
            assert!(frame.pts.as_ms() > last, "time goes on");
            last = frame.pts.as_ms();
            found += 1;
        }
        (restart.join().unwrap(), found)
    });
    assert!(server.is_some() && found >= 30);
}

#[test]
fn a_camera_that_stays_away_is_given_up() {
    let port = port();
    let camera = Camera::new(port);
    let (options, events) = options(Duration::from_secs(1), 1);
    let mut source = open(&format!("udp://127.0.0.1:{port}"), &options, &Cancel::new()).unwrap();
    source.next().unwrap().unwrap();
    drop(camera);
    let error = loop {
        match source.next() {
            Ok(frame) => assert!(frame.is_some(), "a live source has no end of its own"),
            Err(e) => break e,
        }
    };
    assert!(matches!(&error, Error::SourceLost { .. }), "{error:?}");
    let events = events.lock().unwrap();
    let wait = Duration::from_millis(500);
    let SourceEvent::Lost { detail } = &events[0] else { panic!("{events:?}") };
    assert_eq!(events[1..], [SourceEvent::Retrying { detail: detail.clone(), attempt: 1, wait }]);
}

#[test]
fn a_silent_address_is_an_error_and_can_be_cancelled() {
    let address = format!("udp://127.0.0.1:{}", port());
    let (options, _) = options(Duration::from_millis(300), 3);
    let error = open(&address, &options, &Cancel::new()).err().unwrap();
    assert!(matches!(&error, Error::SourceLost { .. }), "{error:?}");
    let patient = OpenOptions { io_timeout: Duration::from_secs(3600), ..options };
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| open(&address, &patient, &cancel).err());
        cancel.cancel();
        assert!(matches!(opening.join().unwrap(), Some(Error::Cancelled)));
    });
}

#[test]
fn secrets_stay_out_of_errors() {
    let (options, events) = options(Duration::from_millis(500), 1);
    let options = OpenOptions { retry_first_open: true, ..options };
    for address in [
        "rtsp://admin:hunter2@127.0.0.1:1/live?pwd=hunter2",
        "http://admin:hunter2@127.0.0.1:1/a?key=hunter2",
    ] {
        let error = open(address, &options, &Cancel::new()).err().unwrap();
        let told = format!("{error} {error:?} {:?}", events.lock().unwrap());
        assert!(told.contains("127.0.0.1:1"), "{told}");
        assert!(!told.contains("hunter2") && !told.contains("admin"), "{told}");
    }
}

/// Serves one file over HTTP, to each who connects, until the test ends.
pub fn serve(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 2048];
            let _ = stream.read(&mut request);
            let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
            let _ = stream.write_all(header.as_bytes()).and_then(|()| stream.write_all(&bytes));
        }
    });
    format!("http://{address}/exam.mkv")
}

/// Sends what `send` writes to each who connects.
fn sender(send: impl Fn(&mut TcpStream) -> std::io::Result<()> + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, send) = (stream.unwrap(), send.clone());
            // Whoever has seen enough leaves.
            std::thread::spawn(move || send(&mut stream));
        }
    });
    port
}

#[test]
fn pictures_that_are_coded_out_of_order_come_in_order() {
    for codec in ["mpeg2video", "mpeg4"] {
        let ramp = "color=black:size=160x120:rate=25:duration=3,format=gray,geq=lum='20+2*N',format=yuv420p";
        let rest = ["-c:v", codec, "-bf", "2", "-q:v", "2", "-f", "mpegts", "-"];
        let bytes = ffmpeg([&["-f", "lavfi", "-i", ramp][..], &rest].concat());
        let port = sender(move |stream| {
            stream.write_all(&bytes)?;
            std::thread::sleep(Duration::from_secs(20));
            Ok(())
        });
        let (options, _) = options(Duration::from_secs(10), 0);
        let mut source = open(&format!("tcp://127.0.0.1:{port}"), &options, &Cancel::new()).unwrap();
        let frames: Vec<_> = (0..40).map(|_| source.next().unwrap().unwrap()).collect();
        let luma = |frame: &endort::frame::Frame| u64::from(frame.picture.plane(0).row(60)[80]);
        for pair in frames.windows(2) {
            assert!(luma(&pair[0]) < luma(&pair[1]), "{codec}: {} {}", luma(&pair[0]), luma(&pair[1]));
            assert!(pair[0].pts.as_ms() < pair[1].pts.as_ms(), "{codec}");
        }
    }
}

#[test]
fn a_camera_without_times_has_those_of_arrival() {
    let picture =
        ffmpeg(["-f", "lavfi", "-i", "testsrc2=size=160x120", "-frames:v", "1", "-f", "mjpeg", "-"]);
    let port = sender(move |stream| {
        let mut request = [0; 2048];
        let _ = stream.read(&mut request)?;
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n",
        )?;
        for _ in 0..100 {
            let head =
                format!("--next\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
            stream.write_all(&[head.as_bytes(), &picture, b"\r\n"].concat())?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    });
    let (options, _) = options(Duration::from_secs(10), 0);
    let mut source = open(&format!("http://127.0.0.1:{port}/mjpg"), &options, &Cancel::new()).unwrap();
    assert!(source.info().live && source.info().fps.is_none());
    // What had come before the stream was known comes at once.
    (0..10).for_each(|_| drop(source.next().unwrap().unwrap()));
    let times: Vec<f64> = (0..20).map(|_| source.next().unwrap().unwrap().pts.as_ms()).collect();
    // At 25 frames a second, as FFmpeg counts, it would be 760.
    assert!(times[19] - times[0] > 1700.0, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn a_live_clock_that_starts_again_goes_on() {
    let part = std::fs::read(clip("h264_long.ts")).unwrap();
    let port = sender(move |stream| {
        stream.write_all(&[&part[..], &part].concat())?;
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    });
    let (options, events) = options(Duration::from_secs(10), 0);
    let mut source = open(&format!("tcp://127.0.0.1:{port}"), &options, &Cancel::new()).unwrap();
    // What comes while the streams are found out about is not kept: of the first 90 frames some are missing.
    let times: Vec<f64> = (0..110).map(|_| source.next().unwrap().unwrap().pts.as_ms()).collect();
    let steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step| (1.0..200.0).contains(step)), "{steps:?}");
    assert_eq!(*events.lock().unwrap(), []);
}

#[test]
fn a_recording_on_a_web_server_is_not_live() {
    let (options, _) = options(Duration::from_secs(10), 0);
    let file = clip("h264_bframes.mkv");
    // Written to a pipe, it does not say how long it is; nor does MPEG-TS where the server cannot seek.
    let streamed = ffmpeg(["-i", file.to_str().unwrap(), "-c", "copy", "-f", "matroska", "-"]);
    for bytes in [std::fs::read(&file).unwrap(), streamed, std::fs::read(clip("h264.ts")).unwrap()] {
        let mut source = open(&serve(bytes), &options, &Cancel::new()).unwrap();
        assert!(!source.info().live);
        let frames = std::iter::from_fn(|| source.next().unwrap()).take(100).count();
        assert_eq!(frames, 25);
    }
}

#[test]
fn a_machine_without_a_decoder_falls_back_to_software_and_says_so_once() {
    let (options, events) = options(Duration::from_secs(5), 0);
    let path = clip("h264.mp4");
    let decode = |hardware| {
        let options = OpenOptions { hardware, ..options.clone() };
        let mut source = open(path.to_str().unwrap(), &options, &Cancel::new()).unwrap();
        std::iter::from_fn(|| source.next().unwrap()).count()
    };
    assert_eq!(decode(HwDecode::Off), 30);
    assert_eq!(*events.lock().unwrap(), []);
    assert_eq!(decode(HwDecode::Auto), 30);
    let events = events.lock().unwrap();
    // With a device there is nothing to say.
    assert!(events.len() <= 1, "{events:?}");
    assert!(
        events.iter().all(|event| matches!(event, SourceEvent::HardwareUnavailable { .. })),
        "{events:?}"
    );
}
