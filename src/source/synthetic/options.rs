//! What to render: `synthetic[:WxH@FPS][,key=value]…`.

use crate::error::{Error, Result};

/// Smallest side of a rendered picture, in pixels.
pub const MIN_SIDE: usize = 64;
/// Largest width of a rendered picture, in pixels.
pub const MAX_WIDTH: usize = 3840;
/// Largest height of a rendered picture, in pixels.
pub const MAX_HEIGHT: usize = 2160;
/// Highest frame rate.
pub const MAX_FPS: f64 = 240.0;

/// The shape of the endoscope's picture within the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// A square with cut corners, beside a text panel where the frame is wide enough.
    Octagon,
    /// A circle that the upper and lower edge of the frame cut.
    Circle,
    /// A rectangle with rounded corners that fills the frame.
    Full,
}

impl View {
    /// The view of that name: `octagon`, `circle` or `full`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "octagon" => Some(Self::Octagon),
            "circle" => Some(Self::Circle),
            "full" => Some(Self::Full),
            _ => None,
        }
    }
}

/// What to render. Equal options give equal frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Frames per second as a fraction: (numerator, denominator).
    pub fps: (i32, i32),
    /// Chooses the colon, its polyps, the camera's path and the noise.
    pub seed: u64,
    /// Number of frames; `None` never ends.
    pub frames: Option<u64>,
    /// Whether an endless source renders a short way once and then plays it to and fro from memory.
    pub looped: bool,
    /// Whether the colon has polyps. Everything else stays as it is without them.
    pub polyps: bool,
    /// Shape of the picture; `None` leaves it to the seed.
    pub view: Option<View>,
    /// Whether the frame shows a panel of (neutral) text beside the picture.
    pub panel: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            width: 1280,
            height: 720,
            fps: (30, 1),
            seed: 1,
            frames: None,
            looped: true,
            polyps: true,
            view: Some(View::Octagon),
            panel: true,
        }
    }
}

impl Options {
    /// Reads a source specification such as `synthetic:1280x720@30,seed=7,frames=300,polyps=off`.
    ///
    /// The size, the rate and each option may be left out. The rate is a number or a fraction
    /// (`30000/1001`); `view` is `octagon`, `circle`, `full` or `any`; `loop`, `polyps` and `panel` are `on` or `off`.
    pub fn from_spec(spec: &str) -> Result<Self> {
        let mut options = Self::default();
        let rest = spec.strip_prefix("synthetic").unwrap_or(spec);
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        for part in rest.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((key, value)) => options.set(spec, key.trim(), value.trim())?,
                None => options.set_size_and_rate(spec, part)?,
            }
        }
        options.check(spec)?;
        Ok(options)
    }

    /// Seconds per frame.
    pub fn frame_time(&self) -> f64 {
        f64::from(self.fps.1) / f64::from(self.fps.0)
    }

    fn set_size_and_rate(&mut self, spec: &str, part: &str) -> Result<()> {
        let wrong = || refuse(spec, "size", part, "WxH@FPS, WxH or @FPS is expected, such as 1280x720@30");
        let (size, rate) = part.split_once('@').map_or((part, None), |(size, rate)| (size, Some(rate)));
        if !size.is_empty() {
            let (width, height) = size.split_once(['x', 'X']).ok_or_else(wrong)?;
            self.width = width.parse().map_err(|_| wrong())?;
            self.height = height.parse().map_err(|_| wrong())?;
        }
        if let Some(rate) = rate {
            self.fps = parse_rate(rate).ok_or_else(wrong)?;
        }
        Ok(())
    }

    fn set(&mut self, spec: &str, key: &str, value: &str) -> Result<()> {
        let switch = || match value {
            "on" | "true" | "1" => Ok(true),
            "off" | "false" | "0" => Ok(false),
            _ => Err(refuse(spec, key, value, "on or off")),
        };
        match key {
            "seed" => {
                self.seed = value.parse().map_err(|_| refuse(spec, key, value, "a whole number from 0"))?;
            }
            "frames" => {
                let frames = value.parse().map_err(|_| refuse(spec, key, value, "a whole number from 0"))?;
                self.frames = Some(frames);
            }
            "loop" => self.looped = switch()?,
            "polyps" => self.polyps = switch()?,
            "panel" => self.panel = switch()?,
            "view" => {
                let named = View::named(value);
                if named.is_none() && value != "any" {
                    return Err(refuse(spec, key, value, "octagon, circle, full or any"));
                }
                self.view = named;
            }
            _ => {
                return Err(refuse(
                    spec,
                    key,
                    value,
                    "known options: seed, frames, loop, polyps, panel, view",
                ));
            }
        }
        Ok(())
    }

    /// Refuses impossible sizes and rates; `origin` is what the message names.
    pub fn check(&self, origin: &str) -> Result<()> {
        if !(MIN_SIDE..=MAX_WIDTH).contains(&self.width) || !(MIN_SIDE..=MAX_HEIGHT).contains(&self.height) {
            let allowed = format!("{MIN_SIDE}x{MIN_SIDE} to {MAX_WIDTH}x{MAX_HEIGHT} can be rendered");
            return Err(refuse(origin, "size", &format!("{}x{}", self.width, self.height), &allowed));
        }
        let (num, den) = self.fps;
        let rate = f64::from(num) / f64::from(den.max(1));
        if num <= 0 || den <= 0 || !(1.0..=MAX_FPS).contains(&rate) {
            let allowed = format!("1 to {MAX_FPS} frames per second");
            return Err(refuse(origin, "fps", &format!("{num}/{den}"), &allowed));
        }
        Ok(())
    }
}

/// A rate as a fraction: `30`, `30000/1001`, or a decimal number (`29.97` is taken as 30000/1001).
pub fn parse_rate(text: &str) -> Option<(i32, i32)> {
    if let Some((num, den)) = text.split_once('/') {
        return Some((num.parse().ok()?, den.parse().ok()?));
    }
    if let Ok(whole) = text.parse() {
        return Some((whole, 1));
    }
    let rate: f64 = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0)?;
    if rate > MAX_FPS {
        return None;
    }
    if rate.fract() == 0.0 {
        return Some((rate as i32, 1));
    }
    // NTSC rates are thousandths below a whole number.
    let ntsc = (rate * 1.001).round();
    if (ntsc / 1.001 - rate).abs() < 0.005 {
        return Some((ntsc as i32 * 1000, 1001));
    }
    Some(((rate * 1000.0).round() as i32, 1000))
}

fn refuse(origin: &str, key: &str, value: &str, allowed: &str) -> Error {
    Error::Setting {
        origin: origin.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
        allowed: allowed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_part_of_a_specification() {
        let options =
            Options::from_spec("synthetic:640x480@25,seed=9,frames=10,polyps=off,view=circle").unwrap();
        assert_eq!((options.width, options.height, options.fps), (640, 480, (25, 1)));
        assert_eq!((options.seed, options.frames, options.polyps), (9, Some(10), false));
        assert_eq!(options.view, Some(View::Circle));
        assert_eq!(Options::from_spec("synthetic").unwrap(), Options::default());
        assert_eq!(Options::from_spec("synthetic:@50").unwrap().fps, (50, 1));
    }

    #[test]
    fn rates_may_be_fractions() {
        assert_eq!(parse_rate("30000/1001"), Some((30000, 1001)));
        assert_eq!(parse_rate("29.97"), Some((30000, 1001)));
        assert_eq!(parse_rate("12.5"), Some((12500, 1000)));
        assert_eq!(["1.0", "5.0", "30.0"].map(parse_rate), [1, 5, 30].map(|rate| Some((rate, 1))));
        assert_eq!(parse_rate("fast"), None);
    }

    #[test]
    fn refuses_what_cannot_be_rendered() {
        for spec in [
            "synthetic:0x0@30",
            "synthetic:100000x100000@30",
            "synthetic:1280x720@0",
            "synthetic:1280x720@100000",
            "synthetic:1280x720@30/0",
            "synthetic:wide",
            "synthetic:colour=blue",
            "synthetic:seed=-1",
            "synthetic:polyps=maybe",
        ] {
            let error = Options::from_spec(spec).unwrap_err().to_string();
            assert!(error.contains(spec), "{error}");
        }
    }
}
