//! A decoded frame: its picture as the decoder gave it, its identity and its times.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Number of a frame within its source, counted from 0 in presentation order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct FrameId(pub u64);

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point on the pipeline's monotonic clock: time since that clock started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0 + rhs)
    }
}

/// A presentation time in the ticks of its stream, kept exactly so that outputs repeat it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Ticks since the stream's origin.
    pub ticks: i64,
    /// Seconds per tick as (numerator, denominator).
    pub base: (i32, i32),
}

impl Timestamp {
    /// A time stamp counted in milliseconds.
    pub fn from_ms(ms: i64) -> Self {
        Self { ticks: ms, base: (1, 1000) }
    }

    /// Milliseconds since the stream's origin.
    pub fn as_ms(self) -> f64 {
        self.ticks as f64 * 1e3 * f64::from(self.base.0) / f64::from(self.base.1)
    }
}

/// Ticks of `base` that a frame lasts at so many frames per second; at least one.
pub fn ticks_per_frame((num, den): (i32, i32), fps: f64) -> i64 {
    (f64::from(den) / f64::from(num) / fps).round().max(1.0) as i64
}

/// Sample layout of a picture. Eight bits per sample throughout; sources convert deeper video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// One luma plane.
    Gray8,
    /// Planar Y, Cb, Cr; chroma at half width and half height (rounded up).
    Yuv420,
    /// Planar Y, Cb, Cr; chroma at half width (rounded up).
    Yuv422,
    /// Planar Y, Cb, Cr at full size.
    Yuv444,
    /// A Y plane and one plane of interleaved Cb, Cr at half width and half height (rounded up).
    Nv12,
    /// One plane of interleaved R, G, B.
    Rgb24,
}

impl PixelFormat {
    /// Number of planes.
    pub fn planes(self) -> usize {
        match self {
            Self::Gray8 | Self::Rgb24 => 1,
            Self::Nv12 => 2,
            Self::Yuv420 | Self::Yuv422 | Self::Yuv444 => 3,
        }
    }

    /// Bytes per row and rows of plane `index` in a picture of `width` × `height`.
    pub fn plane_size(self, index: usize, width: usize, height: usize) -> (usize, usize) {
        let (half_w, half_h) = (width.div_ceil(2), height.div_ceil(2));
        match (self, index) {
            (Self::Rgb24, _) => (width * 3, height),
            (_, 0) | (Self::Yuv444, _) => (width, height),
            (Self::Nv12, _) => (half_w * 2, half_h),
            (Self::Yuv420, _) => (half_w, half_h),
            (Self::Yuv422, _) => (half_w, height),
            (Self::Gray8, _) => (width, height),
        }
    }
}

/// Coefficients between RGB and YCbCr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Matrix {
    /// ITU-R BT.601: standard definition, JPEG.
    Bt601,
    /// ITU-R BT.709: high definition.
    #[default]
    Bt709,
}

/// Which part of 0..=255 the samples use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Range {
    /// Luma 16..=235, chroma 16..=240.
    #[default]
    Limited,
    /// 0..=255.
    Full,
}

/// How a picture's samples map to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Color {
    /// Coefficients of luma and chroma.
    pub matrix: Matrix,
    /// Value range of the samples.
    pub range: Range,
}

/// Bytes that something else owns (a decoder's reference-counted buffer).
pub type ForeignBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

#[derive(Clone)]
enum Storage {
    Own(Arc<Vec<u8>>),
    Foreign(ForeignBytes),
}

/// One plane of samples: rows of `width_bytes` bytes, `stride` bytes apart.
///
/// Cloning shares the bytes; writing copies them first where they are shared.
#[derive(Clone)]
pub struct Plane {
    storage: Storage,
    stride: usize,
    width_bytes: usize,
    rows: usize,
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plane({} bytes x {} rows, stride {})", self.width_bytes, self.rows, self.stride)
    }
}

impl Plane {
    /// A plane over tightly packed bytes.
    ///
    /// Returns `None` unless `bytes` holds exactly `width_bytes * rows` bytes.
    pub fn from_vec(bytes: Vec<u8>, width_bytes: usize, rows: usize) -> Option<Self> {
        (width_bytes.checked_mul(rows) == Some(bytes.len())).then(|| Self {
            storage: Storage::Own(Arc::new(bytes)),
            stride: width_bytes,
            width_bytes,
            rows,
        })
    }

    /// A plane over bytes that a decoder owns.
    ///
    /// Returns `None` unless every row lies inside `bytes`.
    pub fn from_foreign(bytes: ForeignBytes, stride: usize, width_bytes: usize, rows: usize) -> Option<Self> {
        let needed = match rows {
            0 => 0,
            n => stride.checked_mul(n - 1)?.checked_add(width_bytes)?,
        };
        let fits = stride >= width_bytes && needed <= (*bytes).as_ref().len();
        fits.then_some(Self { storage: Storage::Foreign(bytes), stride, width_bytes, rows })
    }

    /// Bytes in a row.
    pub fn width_bytes(&self) -> usize {
        self.width_bytes
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Distance between the starts of two rows, in bytes.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// All bytes from the first row's start; rows are [`stride`](Self::stride) apart.
    pub fn bytes(&self) -> &[u8] {
        match &self.storage {
            Storage::Own(bytes) => bytes,
            Storage::Foreign(bytes) => (**bytes).as_ref(),
        }
    }

    /// Row `y`, exactly [`width_bytes`](Self::width_bytes) long.
    pub fn row(&self, y: usize) -> &[u8] {
        let start = y * self.stride;
        &self.bytes()[start..start + self.width_bytes]
    }

    /// The rows one after another, without what pads them.
    pub fn packed(&self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(self.width_bytes * self.rows);
        for y in 0..self.rows {
            packed.extend_from_slice(self.row(y));
        }
        packed
    }

    /// The bytes for writing, with the stride to step by; copies them first if anybody else holds them.
    pub fn to_mut(&mut self) -> (&mut [u8], usize) {
        if let Storage::Foreign(_) = self.storage {
            let packed = self.packed();
            self.stride = self.width_bytes;
            self.storage = Storage::Own(Arc::new(packed));
        }
        match &mut self.storage {
            Storage::Own(bytes) => (Arc::make_mut(bytes).as_mut_slice(), self.stride),
            Storage::Foreign(_) => (&mut [], self.stride),
        }
    }
}

/// A picture as it was decoded: upright, eight bits per sample, planes untouched.
///
/// Cloning is cheap: planes are shared until written to.
#[derive(Debug, Clone)]
pub struct Picture {
    width: usize,
    height: usize,
    format: PixelFormat,
    color: Color,
    planes: Vec<Plane>,
}

impl Picture {
    /// A picture over `planes`.
    ///
    /// Returns `None` if their number or size does not fit `format`, `width` and `height`.
    pub fn new(
        width: usize,
        height: usize,
        format: PixelFormat,
        color: Color,
        planes: Vec<Plane>,
    ) -> Option<Self> {
        let fits = planes.len() == format.planes()
            && planes
                .iter()
                .enumerate()
                .all(|(i, plane)| format.plane_size(i, width, height) == (plane.width_bytes, plane.rows));
        fits.then_some(Self { width, height, format, color, planes })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Sample layout.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Colour coefficients and range.
    pub fn color(&self) -> Color {
        self.color
    }

    /// Plane `index`; see [`PixelFormat::planes`] for how many there are.
    pub fn plane(&self, index: usize) -> &Plane {
        &self.planes[index]
    }

    /// All planes.
    pub fn planes(&self) -> &[Plane] {
        &self.planes
    }

    /// All planes, for drawing on.
    pub fn planes_mut(&mut self) -> &mut [Plane] {
        &mut self.planes
    }
}

/// One frame on its way through the pipeline.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its number within the source.
    pub id: FrameId,
    /// The source's name as records show it.
    pub source: Arc<str>,
    /// When it is to be shown, in the source's own ticks.
    pub pts: Timestamp,
    /// How long it is to be shown, in the ticks of `pts`, where the source says so.
    pub duration: Option<i64>,
    /// When it was captured: set by the pipeline as the source hands it over.
    pub captured: Moment,
    /// Time that decoding took.
    pub decode: Duration,
    /// The picture.
    pub picture: Picture,
}

impl Frame {
    /// A single picture as a frame: number 0 at time 0.
    pub fn still(source: impl Into<Arc<str>>, picture: Picture) -> Self {
        Self {
            id: FrameId(0),
            source: source.into(),
            pts: Timestamp::from_ms(0),
            duration: None,
            captured: Moment::default(),
            decode: Duration::ZERO,
            picture,
        }
    }
}
